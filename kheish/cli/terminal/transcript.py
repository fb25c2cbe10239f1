"""The conversation above the edited line: Markdown in place of plain words, wrapped lines, folded results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kheish.cli.output import paint
from kheish.cli.rendering import WHOLE, Data, Line, Rendering
from kheish.cli.terminal import markdown
from kheish.cli.terminal.folding import Fold, Folds
from kheish.cli.terminal.wrapping import wrap

#: characters of an unfinished block of which the end is shown
_TAIL = 4000


class Transcript(Rendering):
    """The output of one followed run for a terminal that is `columns()` wide."""

    def __init__(self, columns: Callable[[], int], folds: Folds) -> None:
        super().__init__(self._wrapped, asks=True)
        self._columns = columns
        self._folds = folds
        self._blocks = markdown.Blocks()

    def words(self, text: str) -> str:
        """Return the blocks that the next words complete; the rest is in `live`."""
        blocks = [self._render(block) for block in self._blocks.feed(text)]
        return "".join(f"{block}\n" for block in blocks if block)

    def fresh_line(self) -> str:
        """Return the unfinished block, which is complete now."""
        return self._render(self._blocks.flush())

    def live(self, rows: int) -> tuple[str, ...]:
        """Return the last lines of the unfinished block."""
        text = self._blocks.rest[-_TAIL:].strip("\n")
        lines = [part for line in text.split("\n") for part in wrap(line, self._columns())] if text else []
        return tuple(lines[-rows:]) if rows > 0 else ()

    def outcome(self, call: str, data: Data) -> list[Line]:
        """Return a result, with how to see the rest."""
        shown, whole = super().outcome(call, data), self.result(data, WHOLE)
        if [text for text, _ in shown] == [text for text, _ in whole]:
            return shown
        fold = self._folds.keep(call, whole)
        return [*shown, (f"  (Ctrl-O or /output {fold.number} shows all {len(whole)} lines)", {"dim": True})]

    def unfolded(self, fold: Fold) -> str:
        """Return a whole result."""
        return self.block([(f"── {fold.call}", {"bold": True}), *fold.lines])

    def _render(self, block: str) -> str:
        return markdown.render(block, self._columns())

    def _wrapped(self, text: str, **style: Any) -> str:
        return "\n".join(paint(part, **style) for line in text.split("\n") for part in wrap(line, self._columns()))
