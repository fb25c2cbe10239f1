"""Copies of the folders of skills, by content: what a command sees of a skill, and what a user's trust is bound to.

A skill's own folder may change at any time, and a workspace's may become a link that leads elsewhere. So a skill in use
is copied, through the door, and commands get the copy: what was read is what runs. *Rejected:* mounting the folder
itself, since bubblewrap follows links on the way to it.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from kheish.beneath import Door, files, names, pool
from kheish.beneath.door import Root, opened
from kheish.errors import NotBeneath
from kheish.store.files import remove_tree

#: what is copied of a folder
FILES = 2000
BYTES = 64 * 1024 * 1024
DEPTH = 8
#: copies that no run used for this time are removed
_KEPT_SECONDS = 14 * 86400.0
_CHUNK = 1024 * 1024
_SKIPPED = frozenset({".git", "__pycache__", "node_modules"})


@dataclass(frozen=True, slots=True)
class File:
    """A file of a skill, by its path in the folder (as shown)."""

    path: str
    is_program: bool
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The files of a skill. `digest` covers names, contents and whether a file is a program; `left_out` says what is
    not part of it."""

    files: tuple[File, ...]
    digest: str
    left_out: tuple[str, ...] = ()


def read(door: Door) -> Content:
    """Return the content of a skill's folder, to which the door leads. Blocks on disk. Raises NotBeneath."""
    with opened(door) as root:
        return _content(root, None)


class Copies:
    """The copies of one daemon, each in a folder named after its digest."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def place(self, digest: str) -> Path:
        """Return the folder of a copy."""
        return self._folder / digest

    def make(self, door: Door) -> Content:
        """Copy a skill's folder, unless the copy exists. Blocks on disk. Raises NotBeneath, OSError."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        scratch = Path(tempfile.mkdtemp(prefix=".new-", dir=self._folder))
        try:
            with opened(door) as root:
                content = _content(root, scratch)
            place = self.place(content.digest)
            if self.is_there(content.digest):
                return content
            _seal(scratch)
            with suppress(OSError):  # another thread made the same one
                scratch.rename(place)
            return content
        finally:
            remove_tree(scratch)

    def is_there(self, digest: str) -> bool:
        """Return whether a copy exists, and note that it is used. Blocks on disk."""
        try:
            os.utime(self.place(digest))
        except OSError:
            return False
        return True

    def prune(self) -> None:
        """Remove the copies that have not been used for long. Blocks on disk."""
        with suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(OSError):
                    if entry.stat(follow_symlinks=False).st_mtime < time.time() - _KEPT_SECONDS:
                        remove_tree(Path(entry.path))


def _content(root: Root, target: Path | None) -> Content:
    """Return the files of a folder, and copy them to `target`."""
    made: list[File] = []
    left_out: list[str] = []
    room = BYTES
    for path, name, mode in _entries(root, left_out):
        if len(made) >= FILES:
            left_out.append(f"more than {FILES} files")
            break
        try:
            with files.open_file(root, path) as (handle, real):
                if real != path:  # it is a link by now
                    continue
                if os.fstat(handle.fileno()).st_size > room:  # a sparse file may be of any size
                    left_out.append(_too_large(path))
                    continue
                digest, size = _copy(handle, target / name if target is not None else None, room, mode)
        except (NotBeneath, OSError) as error:
            left_out.append(error.detail if isinstance(error, NotBeneath) else f"{path}: {error.strerror}")
            continue
        if digest is None:
            left_out.append(_too_large(path))
            continue
        room -= size
        made.append(File(path, bool(mode & 0o100), digest))
    made.sort(key=lambda one: one.path)
    whole = hashlib.sha256()
    for one in made:
        whole.update(f"{one.path}\0{one.is_program:d}\0{one.sha256}\n".encode())
    return Content(files=tuple(made), digest=whole.hexdigest(), left_out=tuple(left_out[:20]))


def _too_large(path: str) -> str:
    return f"{path}: the files are larger than {BYTES // 1024**2} MiB together"


def _entries(root: Root, left_out: list[str]) -> Iterator[tuple[str, Path, int]]:
    """Yield the regular files below a folder: the path as shown, the path on disk, the mode. Links are left out."""
    waiting = deque([(".", Path())])
    count = 0
    while waiting:
        pool.check()
        place, disk = waiting.popleft()
        try:
            with files.open_folder(root, place) as (descriptor, _), os.scandir(descriptor) as entries:
                # the folder must be open for that
                children = sorted(
                    (entry.name, entry.stat(follow_symlinks=False).st_mode) for entry in islice(entries, FILES + 1)
                )
        except (NotBeneath, OSError):
            left_out.append(f"{place}: cannot be listed")
            continue
        for child, mode in children:
            count += 1
            if count > 2 * FILES:
                left_out.append(f"more than {FILES} files")
                return
            path = names.as_path(child) if place == "." else f"{place}/{names.shown(child)}"
            if stat.S_ISREG(mode):
                yield path, disk / child, mode
            elif not stat.S_ISDIR(mode):
                left_out.append(f"{path}: is no plain file")
            elif child in _SKIPPED:
                continue
            elif len(disk.parts) < DEPTH:
                waiting.append((path, disk / child))
            else:
                left_out.append(f"{path}: lies too deep")


def _copy(handle: BinaryIO, target: Path | None, room: int, mode: int) -> tuple[str | None, int]:
    """Hash a file, and copy it if there is a target; None for one that is larger than the room."""
    content, size = hashlib.sha256(), 0
    out = None
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        out = target.open("wb")
    try:
        while chunk := handle.read(_CHUNK):
            pool.check()
            size += len(chunk)
            if size > room:
                break
            content.update(chunk)
            if out is not None:
                out.write(chunk)
    finally:
        if out is not None:
            out.close()
    if size > room:
        if target is not None:
            target.unlink()
        return None, size
    if target is not None:
        target.chmod(0o555 if mode & 0o100 else 0o444)
    return content.hexdigest(), size


def _seal(folder: Path) -> None:
    """Make the folders of a copy read-only."""
    for place, _, _ in os.walk(folder, topdown=False):
        if Path(place) != folder:
            Path(place).chmod(0o555)
    folder.chmod(0o755)
