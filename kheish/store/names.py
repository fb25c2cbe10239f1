r"""File names as text that JSON, SQLite and git's messages can hold, whatever bytes Linux allows in a name.

Everywhere inside of Kheish a path of the state root is such a text. A UTF-8 name is its own text; in any other name
each byte that is not UTF-8 is written as `\xe9`. Only `disk` turns a text back into the form for system calls.
*Rejected:* Python's own way (half surrogates), since JSON and SQLite refuse it, and each place that forgets this takes
the daemon down; bytes, since every path is compared with texts.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

#: an escaped byte, or the backslash of a name that would read like an escape
_ESCAPE = re.compile(rb"\\x([89a-f][0-9a-f]|5c)")
_LIKE_ONE = re.compile(rb"\\(?=x(?:[89a-f][0-9a-f]|5c))")


def text(name: str | bytes) -> str:
    """Return a name (or path) from the system as text; `disk` is the inverse."""
    if isinstance(name, str) and name.isascii() and "\\" not in name:
        return name
    raw = os.fsencode(name)
    if b"\\" in raw:
        raw = _LIKE_ONE.sub(rb"\\x5c", raw)
    return raw.decode("utf-8", errors="backslashreplace")


def disk(path: str) -> str:
    """Return a text as the system needs it; a text that `text` never made stays as it is."""
    if "\\x" not in path:
        return path
    name = os.fsdecode(_ESCAPE.sub(lambda match: bytes((int(match[1], 16),)), path.encode()))
    return name if text(name) == path else path


def lstat(root: str, path: str) -> os.stat_result:
    """Return the status of a path of the state root, given as text; for scans of many paths. Raises OSError."""
    return os.lstat(f"{root}/{disk(path)}")


def is_text(path: str) -> bool:
    """Return whether the name on disk is UTF-8, so that it equals its text."""
    return disk(path) == path


def within(root: Path, path: str) -> Path:
    """Return the path on disk of a path of the state root, given as text."""
    return root / disk(path)


def relative(path: Path, root: Path) -> str:
    """Return the text of a path on disk, relative to the state root, with `/`."""
    return text(path.relative_to(root).as_posix())
