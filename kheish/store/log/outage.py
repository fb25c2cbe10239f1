"""After the machine went down: what was not fsynced may be lost, torn or zeros, also where it looks unchanged.

The daemon notes which start of the machine it saw. Where that is another, scribe and git worker trust less at their
start: neither the lines behind a journal's last fsync, nor loose objects, nor what git's index says of files.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from hashlib import sha1
from pathlib import Path

from kheish.store import files, lock

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_NOTE = "boot"


def suspected(root: Path) -> bool:
    """Whether the machine was started again since the last daemon was ready (True too where nobody can tell)."""
    now = _boot()
    try:
        return not now or (lock.private(root) / _NOTE).read_text() != now
    except (OSError, UnicodeDecodeError):
        return True


def over(root: Path) -> None:
    """Note that this start of the machine was seen, and all is looked at."""
    if suspected(root):
        files.atomic_write(lock.private(root) / _NOTE, _boot().encode(), fsync=True)


def expect(root: Path) -> None:
    """Have the next start trust as little as after an outage: an fsync failed."""
    (lock.private(root) / _NOTE).unlink(missing_ok=True)


def _boot() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def damaged(root: Path) -> Iterator[Path]:
    """Loose objects that cannot be read."""
    return (path for path in _loose(root) if not _is_whole(path))


def put_aside(root: Path) -> list[str]:
    """Move damaged objects out of git's way, to `.git/kheish/damaged/`; returns their ids.

    git takes an object that is there for written: one that a power cut left empty would be in every later commit.
    """
    aside, found = lock.private(root) / "damaged", []
    for path in damaged(root):
        aside.mkdir(exist_ok=True)
        path.replace(aside / _id(path))
        found.append(_id(path))
    return found


def _loose(root: Path) -> Iterator[Path]:
    return (root / ".git" / "objects").glob("[0-9a-f][0-9a-f]/" + "[0-9a-f]" * 38)


def _id(path: Path) -> str:
    return path.parent.name + path.name


def _is_whole(path: Path) -> bool:
    """Whether the object is the one that its name says. Raises OSError."""
    try:
        return sha1(zlib.decompress(path.read_bytes()), usedforsecurity=False).hexdigest() == _id(path)
    except zlib.error:
        return False
