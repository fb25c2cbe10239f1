"""The results of the tool `memory`, worded as those of the public memory tool, which models are trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kheish.domain.memory.names import Place
from kheish.runtime.memory import scopes
from kheish.runtime.memory.catalog import Catalog
from kheish.runtime.tools.base import ToolError

_AROUND = 4  # lines of a snippet before and after the change


def listing(path: str, catalog: Catalog, places: Mapping[str, Place], place: Place | None) -> str:
    """Return the listing of a folder: of all places without a place, with sizes."""
    chosen = [one for one in places.values() if place in (None, one)]
    rows: list[tuple[str, int]] = []
    for one in chosen:
        notes = catalog.of(one)
        if place is None:
            rows.append((scopes.shown(places, one), sum(note.bytes for note in notes.values())))
        rows += [(scopes.shown(places, one, name), notes[name].bytes) for name in sorted(notes)]
    total = sum(note.bytes for one in chosen for note in catalog.of(one).values())
    lines = [f"{size(total)}\t{path}", *(f"{size(count)}\t{shown}" for shown, count in rows)]
    head = f"Here're the files and directories up to 2 levels deep in {path}, excluding hidden items and node_modules:"
    return "\n".join([head, *lines])


def size(count: int) -> str:
    """Return a size as `du -h` does: `0`, `512`, `1.5K`."""
    if count < 1024:
        return str(count)
    return f"{count / 1024:.1f}K" if count < 1024**2 else f"{count / 1024**2:.1f}M"


def content(path: str, text: str, view_range: Sequence[int] | None) -> str:
    """Return a file's lines with their numbers. Raises ToolError for a range outside of the file."""
    lines = text.split("\n")
    if len(lines) > 1 and not lines[-1]:
        del lines[-1]
    first, last = 1, len(lines)
    if view_range is not None:
        first, last = view_range[0], view_range[1] if view_range[1] != -1 else len(lines)
        if not 1 <= first <= len(lines) or last < first:
            raise ToolError(
                f"Error: Invalid `view_range` parameter: {list(view_range)}. It should be within the range of lines of "
                f"the file: [1, {len(lines)}]"
            )
    return f"Here's the content of {path} with line numbers:\n{numbered(lines, first, last)}"


def numbered(lines: Sequence[str], first: int, last: int) -> str:
    """Return some lines with their numbers, from 1."""
    return "\n".join(f"{number:>6}\t{line}" for number, line in enumerate(lines[first - 1 : last], first))


def replaced(path: str, text: str, old: str, new: str) -> tuple[str, str]:
    """Return the text with its only occurrence of `old` replaced, and the result for the model. Raises ToolError."""
    count = text.count(old)
    if count == 0:
        raise ToolError(f"No replacement was performed, old_str `{old}` did not appear verbatim in {path}.")
    if count > 1:
        numbers = ", ".join(str(number) for number in _line_numbers(text, old))
        raise ToolError(
            f"No replacement was performed. Multiple occurrences of old_str `{old}` in lines: {numbers}. "
            "Please ensure it is unique"
        )
    at = text.index(old)
    after = f"{text[:at]}{new}{text[at + len(old) :]}"
    line = text.count("\n", 0, at) + 1
    lines = after.split("\n")
    snippet = numbered(lines, max(1, line - _AROUND), line + new.count("\n") + _AROUND)
    head = "The memory file has been edited."
    return after, f"{head} Here's the result of running `cat -n` on a snippet of {path}:\n{snippet}"


def _line_numbers(text: str, old: str) -> list[int]:
    """Return the line in which each occurrence begins."""
    numbers: list[int] = []
    at = text.find(old)
    while at >= 0 and len(numbers) < 50:
        numbers.append(text.count("\n", 0, at) + 1)
        at = text.find(old, at + len(old))
    return numbers


def inserted(text: str, line: int, new: str) -> str:
    """Return the text with new lines after a line (0: at the beginning). Raises ToolError."""
    lines = text.splitlines(keepends=True)
    if not 0 <= line <= len(lines):
        raise ToolError(
            f"Error: Invalid `insert_line` parameter: {line}. It should be within the range of lines of the file: "
            f"[0, {len(lines)}]"
        )
    if line and not lines[line - 1].endswith("\n"):
        lines[line - 1] += "\n"
    return "".join([*lines[:line], new if new.endswith("\n") else f"{new}\n", *lines[line:]])
