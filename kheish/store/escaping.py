"""Text on one line, with control characters as escapes, since file names may contain any character."""

from __future__ import annotations

import re

from kheish.store.git.textconv import HIDDEN

#: characters that a terminal would interpret, or that would begin another line of the log
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
_CONTROLS |= {0x09: "\t", 0x0A: "\\n", 0x0D: "\\r"}


def visible(text: str) -> str:
    """Return the text on one line, with every control character as an escape."""
    if text.isascii() and text.isprintable():
        return text
    return HIDDEN.sub(_escaped, text.translate(_CONTROLS))


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
