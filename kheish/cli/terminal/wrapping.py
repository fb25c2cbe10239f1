"""Lines wrapped at words, by the columns that they take on a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kheish.cli.cells import width_of

_WORD = re.compile(r"\S+\s*")
_INDENT = re.compile(r"\s*")
_TAB = 8
#: indents deeper than this share of the line are not repeated
_DEEPEST = 2


def wrap(line: str, width: int) -> list[str]:
    """Return a line as lines of at most `width` columns, with its indent repeated. Longer words are split."""
    text = line.expandtabs(_TAB)
    if width_of(text) <= width:
        return [text]
    indent = _INDENT.match(text)[0]  # type: ignore[index]  # it matches any text
    if len(indent) > width // _DEEPEST:
        indent = ""
    lines, current = [], indent
    for word in _pieces(text[len(indent) :], width - len(indent)):
        if current.strip() and width_of(current + word.rstrip()) > width:
            lines.append(current.rstrip())
            current = indent
        current += word
    return [*lines, current.rstrip()]


def _pieces(text: str, width: int) -> Iterator[str]:
    """Yield the words with the blanks after them; a word that is too wide for a line comes in parts."""
    for match in _WORD.finditer(text):
        part = ""
        for char in match[0]:
            if part.strip() and not char.isspace() and width_of(part + char) > width:
                yield part
                part = ""
            part += char
        yield part
