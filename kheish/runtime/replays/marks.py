"""The position of a replay: how far a run and its recording were compared, and the entries up to the next answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from kheish.errors import Damaged
from kheish.runtime.replays import comparing
from kheish.state.event import Spilled
from kheish.state.state import State

ANSWER = "model.responded"
_ROWS = 500
_REFERENCE = frozenset({"sha256", "bytes", "preview"})


@dataclass(frozen=True, slots=True)
class Side:
    """A run, and where its files are."""

    run_id: str
    folder: str
    workspace: str

    @property
    def places(self) -> tuple[str, ...]:
        """The folders that its texts may name."""
        return (self.workspace,) if len(self.workspace) > 1 else ()


@dataclass(frozen=True, slots=True)
class Mark:
    """The entries after which turn `turn` begins: of the recorded run and of this one.

    `passed` counts the answers of this run between its entry and the turn: an answer has no number when its turn is
    compared.
    """

    turn: int
    recorded: int
    ours: int
    passed: int = 0


@dataclass(frozen=True, slots=True)
class Stretch:
    """The entries between two answers, the answer at their end (None: there is none), and its number."""

    lines: list[dict[str, Any]]
    answer: dict[str, Any] | None
    end: int


def find(state: State, run_id: str, turn: int) -> int | None:
    """Return the number of the answer before turn `turn` (from 0); None if there are fewer answers."""
    after = 0
    while turn > 0:
        rows = state.index.events(after, limit=min(turn, _ROWS), run=run_id, kinds=(ANSWER,))
        if not rows:
            return None
        turn, after = turn - len(rows), rows[-1][0]
    return after


def read(state: State, side: Side, after: int, passed: int = 0) -> Stretch:
    """Return what follows an entry, up to the next answer after `passed` ones. Blocks on disk."""
    lines: list[dict[str, Any]] = []
    while True:
        rows = state.index.events(after, limit=_ROWS, run=side.run_id, kinds=(*comparing.KINDS, ANSWER))
        for after, kind, text in rows:
            line = orjson.loads(text)
            line["data"] = _whole(state, side.folder, line["data"])
            if kind == ANSWER and passed:
                passed -= 1
                continue
            if kind == ANSWER:
                return Stretch(lines, line["data"], after)
            lines.append(line)
        if len(rows) < _ROWS:
            return Stretch(lines, None, after)


def _whole(state: State, folder: str, value: Any, *, key: str = "") -> Any:
    """Return data with its payloads in full."""
    if isinstance(value, dict):
        if value.keys() == _REFERENCE:
            return _read(state, folder, value, is_text=key not in ("calls", "arguments", "opaque"))
        return {name: _whole(state, folder, item, key=name) for name, item in value.items()}
    if isinstance(value, list):
        return [_whole(state, folder, item, key=key) for item in value]
    return value


def _read(state: State, folder: str, value: Mapping[str, Any], *, is_text: bool) -> Any:
    try:
        raw = state.payloads.read(folder, Spilled(**value))
        return raw.decode(errors="replace") if is_text else orjson.loads(raw)
    except (Damaged, ValueError):
        return value["preview"]
