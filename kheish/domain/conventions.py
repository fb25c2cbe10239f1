"""A file's own conventions, kept when a part of it changes: the ends of its lines, and the mark before its first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

#: what some editors put before the first line of a UTF-8 file
BOM = b"\xef\xbb\xbf"
LF, CRLF = b"\n", b"\r\n"
#: a line without its end, and its end (nothing at the end of a file)
Line = tuple[bytes, bytes]
_BREAK = re.compile(rb"\r?\n")


@dataclass(frozen=True, slots=True)
class Replaced:
    """The content with a text in the place of another, and in how many places; `lines` are where it stands."""

    content: bytes
    count: int
    lines: tuple[int, ...]


def split(content: bytes) -> list[Line]:
    """Return the lines of a file with their ends: a lone `\\r` stays in its line."""
    pieces = content.split(LF)
    lines = [(piece[:-1], CRLF) if piece.endswith(b"\r") else (piece, LF) for piece in pieces[:-1]]
    return [*lines, (pieces[-1], b"")] if pieces[-1] else lines


def joined(lines: list[Line]) -> bytes:
    """Return the content that the lines are."""
    return b"".join(text + end for text, end in lines)


def replaced(content: bytes, old: bytes, new: bytes) -> Replaced:
    """Put one text in the place of another. `\\n` stands for the end that a line has there, unless `new` says CRLF."""
    spans = _spans(content, old)
    keeps = CRLF in new and (b"\r" not in old or old in content)
    parts: list[bytes] = []
    at = 0
    for start, end in spans:
        parts += [content[at:start], new if keeps else _ended(new, _ends(content, start, end))]
        at = end
    lines = tuple(content.count(LF, 0, start) + 1 for start, _ in spans[:8])
    return Replaced(b"".join([*parts, content[at:]]), len(spans), lines)


def _spans(content: bytes, old: bytes) -> list[tuple[int, int]]:
    """Return where the text stands, exactly so if it does anywhere, else with other ends of lines."""
    exact = re.compile((rb"(?<!\r)" if old.startswith(LF) else b"") + re.escape(old))  # no CRLF is cut in two
    spans = [found.span() for found in exact.finditer(content)]
    if spans or b"\n" not in old:
        return spans
    pattern = re.compile(rb"\r?\n".join(map(re.escape, _BREAK.split(old))))
    return [found.span() for found in pattern.finditer(content)]


def _ends(content: bytes, start: int, end: int) -> list[bytes]:
    """Return the ends of the lines in a piece of the content; where it has none, that of its line or the one before."""
    inside = _BREAK.findall(content, start, end)
    if inside:
        return inside
    at = content.find(LF, end)
    at = at if at >= 0 else content.rfind(LF, 0, start)
    return [CRLF if at > 0 and content[at - 1 : at] == b"\r" else LF]


def _ended(text: bytes, ends: list[bytes]) -> bytes:
    pieces = _BREAK.split(text)

    def parts() -> Iterator[bytes]:
        for number, piece in enumerate(pieces[:-1]):
            yield piece
            yield ends[min(number, len(ends) - 1)]
        yield pieces[-1]

    return b"".join(parts())


def is_text(content: bytes) -> bool:
    """Return whether the content is UTF-8."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
