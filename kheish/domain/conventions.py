"""A file's own conventions, kept when part of it changes: its line ends, and its byte order mark."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

#: the byte order mark that some editors write at the start of a UTF-8 file
BOM = b"\xef\xbb\xbf"
LF, CRLF = b"\n", b"\r\n"
#: a line without its end, and the end (empty at the end of a file)
Line = tuple[bytes, bytes]
_BREAK = re.compile(rb"\r?\n")


@dataclass(frozen=True, slots=True)
class Replaced:
    """The content after a replacement, the number of replacements, and their `lines`."""

    content: bytes
    count: int
    lines: tuple[int, ...]


def split(content: bytes) -> list[Line]:
    r"""Return the lines of a file with their ends; a lone `\r` does not end a line."""
    pieces = content.split(LF)
    lines = [(piece[:-1], CRLF) if piece.endswith(b"\r") else (piece, LF) for piece in pieces[:-1]]
    return [*lines, (pieces[-1], b"")] if pieces[-1] else lines


def joined(lines: list[Line]) -> bytes:
    """Return the content that consists of the lines."""
    return b"".join(text + end for text, end in lines)


def replaced(content: bytes, old: bytes, new: bytes) -> Replaced:
    r"""Replace one text by another. `\n` stands for the line end at that place, unless `new` contains CRLF."""
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
    """Return the places of the text: exact matches if there are any, else matches with other line ends."""
    exact = re.compile((rb"(?<!\r)" if old.startswith(LF) else b"") + re.escape(old))  # does not split a CRLF
    spans = [match.span() for match in exact.finditer(content)]
    if spans or b"\n" not in old:
        return spans
    pattern = re.compile(rb"\r?\n".join(map(re.escape, _BREAK.split(old))))
    return [match.span() for match in pattern.finditer(content)]


def _ends(content: bytes, start: int, end: int) -> list[bytes]:
    """Return the line ends within a piece of the content; if it has none, the end of its own or the previous line."""
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
