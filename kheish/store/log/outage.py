"""Recovery after the machine went down: data that was not fsynced may be lost, torn or zeroed, even if it looks
unchanged.

The daemon records the boot that it ran in. If the boot differs, scribe and git worker trust less at their start:
neither the lines after a journal's last fsync, nor loose objects, nor git's index about files.
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
    """Return whether the machine was rebooted since the last daemon was ready (True also if that is unknown)."""
    now = _boot()
    try:
        return not now or (lock.private(root) / _NOTE).read_text() != now
    except (OSError, UnicodeDecodeError):
        return True


def over(root: Path) -> None:
    """Record this boot as seen, now that everything is checked."""
    if suspected(root):
        files.atomic_write(lock.private(root) / _NOTE, _boot().encode(), fsync=True)


def expect(root: Path) -> None:
    """Make the next start trust as little as after an outage, because an fsync failed."""
    (lock.private(root) / _NOTE).unlink(missing_ok=True)


def _boot() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def damaged(root: Path) -> Iterator[Path]:
    """Yield the loose objects that cannot be read."""
    return (path for path in _loose(root) if not _is_whole(path))


def put_aside(root: Path) -> list[str]:
    """Move damaged objects out of git's way, to `.git/kheish/damaged/`; return their ids.

    git treats an existing object as written: an object that a power cut left empty would be part of every later commit.
    """
    aside, ids = lock.private(root) / "damaged", []
    for path in damaged(root):
        aside.mkdir(exist_ok=True)
        path.replace(aside / _id(path))
        ids.append(_id(path))
    return ids


def _loose(root: Path) -> Iterator[Path]:
    return (root / ".git" / "objects").glob("[0-9a-f][0-9a-f]/" + "[0-9a-f]" * 38)


def _id(path: Path) -> str:
    return path.parent.name + path.name


def _is_whole(path: Path) -> bool:
    """Return whether the object's content matches its name. Raises OSError."""
    try:
        return sha1(zlib.decompress(path.read_bytes()), usedforsecurity=False).hexdigest() == _id(path)
    except zlib.error:
        return False
