"""Long results: a few lines are shown, and the rest is kept for `/output` and Ctrl-O."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from kheish.cli.rendering import Line

#: results that are kept, and lines of each
_KEPT = 50
_LINES = 20_000


@dataclass(frozen=True, slots=True)
class Fold:
    """A result that was shown in part."""

    number: int
    call: str
    lines: tuple[Line, ...]


class Folds:
    """The newest results that were shown in part."""

    def __init__(self) -> None:
        self._folds: OrderedDict[int, Fold] = OrderedDict()
        self._newest = 0

    def keep(self, call: str, lines: list[Line]) -> Fold:
        """Keep a whole result; the oldest one is forgotten."""
        self._newest += 1
        fold = self._folds[self._newest] = Fold(self._newest, call, tuple(lines[:_LINES]))
        if len(self._folds) > _KEPT:
            self._folds.popitem(last=False)
        return fold

    def find(self, number: int | None = None) -> Fold | None:
        """Return a result by its number, the newest without one; None if it is not kept."""
        return self._folds.get(self._newest if number is None else number)
