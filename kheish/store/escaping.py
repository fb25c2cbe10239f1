"""Text without characters that a reader does not see: as escapes on one line, or removed from what a model reads."""

from __future__ import annotations

import re

from kheish.store.git.textconv import HIDDEN

#: characters that a terminal would interpret, or that would begin another line of the log
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
_CONTROLS |= {0x09: "\t", 0x0A: "\\n", 0x0D: "\\r"}
_ASCII_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f]")


def visible(text: str) -> str:
    """Return the text on one line, with every control character as an escape."""
    if text.isascii() and text.isprintable():
        return text
    return HIDDEN.sub(_escaped, text.translate(_CONTROLS))


def plain(text: str) -> str:
    """Return the text without control and invisible characters; line breaks and tabs stay.

    Everything that other authors wrote about themselves is cleaned by it before a model reads it.
    """
    text = text.replace("\r\n", "\n")
    if text.isascii() and _ASCII_CONTROL.search(text) is None:  # ten times as fast
        return text
    return HIDDEN.sub("", text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
