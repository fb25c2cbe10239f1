r"""File names as text: `shown` writes any name as plain UTF-8, `meant` reads it back, byte for byte.

A name on disk is bytes. Bytes that are not UTF-8 are written as `\xHH`, as are characters that a terminal or a model
could miss or mistake (control characters, changes of direction, characters without width, a blank at either end). A
backslash before text that would read like an escape is doubled. `menu_\xe9t\xe9.txt` names the file with the bytes E9.
"""

from __future__ import annotations

import os
import re

#: letters that print as nothing
_INVISIBLE = frozenset("\u115f\u1160\u3164\uffa0")
#: characters of a printable name that need another check
_SPECIAL = re.compile(rf"[\\{''.join(_INVISIBLE)}]|(?:^|/) | (?:/|\Z)")
#: names, in small letters, that belong to git and to daemons
_KEPT = frozenset({".git", ".kheish"})
_ESCAPE = re.compile(rb"\\\\|\\x([0-9a-fA-F]{2})")


def shown(name: str) -> str:
    """Return a name or path, as `os` gives it, in UTF-8 on a single line."""
    if name.isprintable() and not _SPECIAL.search(name):
        return name
    return "".join(_written(name, at) for at in range(len(name)))


def as_path(name: str) -> str:
    """Return a path from the workspace as `shown` does, in a form that tools open: `~` alone stands for the home."""
    text = shown(name)
    return f"./{text}" if text == "~" or text.startswith("~/") else text


def is_kept(name: str) -> bool:
    """Return whether only git or a daemon may have a file or folder of this name: no tool writes it."""
    return name.casefold() in _KEPT


def kept_words(name: str) -> str:
    """Return the reason for a name that `is_kept`."""
    if name.casefold() == ".git":
        return ".git belongs to git; change it with git commands in bash"
    return ".kheish belongs to the daemon; choose another name"


def meant(text: str) -> str:
    """Return the name or path that a text means, in the form of `os`. Raises ValueError for a text that cannot be a
    file name."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("a lone surrogate cannot be part of a file name")
    raw = text.encode()
    if b"\\" in raw:
        raw = _ESCAPE.sub(lambda found: bytes([int(found[1], 16)]) if found[1] else b"\\", raw)
    if b"\0" in raw:
        raise ValueError("a path cannot contain a NUL character")
    return os.fsdecode(raw)


def _written(name: str, at: int) -> str:
    character = name[at]
    if _is_odd(name, at):
        return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))
    if character == "\\" and at + 1 < len(name) and (name[at + 1] in "\\x" or _is_odd(name, at + 1)):
        return "\\\\"
    return character


def _is_odd(name: str, at: int) -> bool:
    character = name[at]
    if character == " ":
        return at == 0 or name[at - 1] == "/" or name[at + 1 : at + 2] in ("", "/")
    return not character.isprintable() or character in _INVISIBLE
