r"""Names of files as text: `shown` writes any name as plain UTF-8, `meant` reads it back, byte for byte.

A name on disk is bytes. What is no UTF-8, and what a terminal or a model could take for something else (control
characters, changes of direction, characters without width), is written as `\xHH`; a backslash before something that
could be read so is doubled. `menu_\xe9t\xe9.txt` names the file with the bytes E9.
"""

from __future__ import annotations

import os
import re

#: what is never shown as it is; the last range is how Python holds bytes that are no UTF-8
_ODD = (
    "\x00-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u08e2\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff\udc80-\udcff"
)
_ESCAPED = re.compile(rf"\\(?=[\\x{_ODD}])|[{_ODD}]")
_ESCAPE = re.compile(rb"\\\\|\\x([0-9a-fA-F]{2})")


def shown(name: str) -> str:
    """Return a name or path, as `os` gives it, in a form that is UTF-8 and stands on one line."""
    return _ESCAPED.sub(_written, name)


def meant(text: str) -> str:
    """Return the name or path that a text means, as `os` takes it. Raises ValueError for what no file is called."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("a lone surrogate is no character of a file name")
    raw = text.encode()
    if b"\\" in raw:
        raw = _ESCAPE.sub(lambda found: bytes([int(found[1], 16)]) if found[1] else b"\\", raw)
    if b"\0" in raw:
        raise ValueError("a path cannot contain a NUL character")
    return os.fsdecode(raw)


def _written(found: re.Match[str]) -> str:
    character = found[0]
    if character == "\\":
        return "\\\\"
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))
