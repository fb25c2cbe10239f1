"""Files of the state root: replaced whole, never outside of it, never too many in one folder."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from kheish.errors import FileRefused, Invalid
from kheish.store import door, names

#: entries in a folder of the daemon before it is continued in a numbered sibling
FOLDER_LIMIT = 4096
#: bytes of free space: below this new work is refused, so that active work can still be recorded
LOW_SPACE = 64 * 1024 * 1024
_REMEMBERED = 20_000
#: characters of a name that are kept when a suffix is added: names have 255 bytes at most
_SHORT = 40
#: bytes of a work tree file that are read whole to compare it with git's version
_COMPARED = 512 * 1024 * 1024
_ODD = re.compile(r"[^A-Za-z0-9._-]")
_serial = itertools.count()


def atomic_write(
    path: Path, data: bytes, *, fsync: bool, mode: int = 0o644, scratch: Path | None = None
) -> os.stat_result:
    """Replace `path` with `data` atomically and return the new file's stat; missing folders are created.

    `scratch` is a folder of the same file system for the temporary file (default: beside `path`, hidden). Raises
    OSError; the old file is then unchanged.
    """
    name = f".{path.name[:_SHORT]}.{os.getpid()}.{next(_serial)}.kheish-tmp"
    temporary = os.fspath((scratch or path.parent) / name)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        descriptor = os.open(temporary, flags, mode)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, flags, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        if fsync:
            os.fsync(descriptor)
        _rename(temporary, path)
        if fsync:
            fsync_folder(path.parent)
        return os.fstat(descriptor)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def _rename(temporary: str, path: Path) -> None:
    try:
        Path(temporary).rename(path)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        Path(temporary).rename(path)


def fsync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def durable_folder(path: Path, *, upto: Path) -> None:
    """Create `path` if missing, and make its names durable up to the folder `upto`. Otherwise a power cut could remove
    a folder with all the fsynced files in it."""
    path.mkdir(parents=True, exist_ok=True)
    for folder in (path, *path.parents):
        fsync_folder(folder)
        if folder == upto:
            return


def sync_tree(folder: Path) -> None:
    """Make all files and names under `folder` durable, if they were written without fsync."""
    for path in folder.rglob("*"):
        if path.is_dir():
            fsync_folder(path)
        elif path.is_file():
            fsync_file(path)
    fsync_folder(folder)


def remove_tree(folder: Path) -> None:
    """Remove a folder, if it exists, with all that is in it, also where its folders are read-only. Links are not
    followed; what cannot be removed stays."""
    with suppress(OSError):
        for *_, descriptor in os.fwalk(folder):
            os.fchmod(descriptor, 0o700)
    shutil.rmtree(folder, ignore_errors=True)


def fsync_file(path: Path) -> None:
    """Make a file's content durable, even if another process wrote it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def there(root: Path, path: str) -> bytes | None:
    """Return the content of a work tree file. Return None if it is missing or not a regular file; writing replaces such
    an entry. Raises FileRefused if the file is too large, OSError."""
    try:
        return door.read(root, path, most=_COMPARED)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except FileRefused:
        if names.within(root, path).is_file():
            raise
        return None


def put_aside(root: Path, path: str, content: bytes, *, scratch: Path | None = None) -> str:
    """Keep foreign content of a file of the daemon; return the path of the copy."""
    name = _ODD.sub("_", path.replace("/", "_"))[-150:]
    copy = f"conflicts/{name}.{blob_id(content)[:12]}"
    if not (root / copy).exists():
        atomic_write(root / copy, content, fsync=True, scratch=scratch)
    return copy


def remove(root: Path, relative: str) -> None:
    """Remove a file and the folders that become empty, up to `root`. A missing file is no error."""
    path = names.within(root, relative)
    path.unlink(missing_ok=True)
    for folder in path.parents:
        if folder == root:
            return
        try:
            folder.rmdir()
        except OSError:
            return


def inside(root: Path, relative: str) -> Path:
    """Return the path of `relative` in `root`. Raises Invalid if it is absolute, escapes (by `..` or a symbolic link),
    touches `.git`, or differs from an existing name only by case."""
    contained(root, relative)
    path = root
    for part in names.disk(relative).split("/"):
        parent, path = path, path / part
        if not path.exists():
            _refuse_twin(parent, part)
            break
    return names.within(root, relative)


def contained(root: Path, relative: str) -> Path:
    """Return the path as `inside` does, without the check for a name that differs by case only (which lists a
    folder)."""
    parts = names.disk(relative).split("/")
    if not relative or any(part in ("", ".", "..") or "\0" in part or "\\" in part for part in parts):
        raise Invalid(f"The path {relative!r} leaves its folder or is not a plain relative path.")
    if any(part.lower().rstrip(". ") == ".git" for part in parts):
        raise Invalid(f"The path {relative!r} touches git's own folder.")
    path = os.fspath(root)
    for part in parts:
        path = f"{path}/{part}"
        try:
            if stat.S_ISLNK(os.lstat(path).st_mode):
                raise Invalid(f"The path {relative!r} goes through a symbolic link ({names.text(part)}).")
        except (FileNotFoundError, NotADirectoryError):
            break
    return names.within(root, relative)


def _refuse_twin(parent: Path, name: str) -> None:
    """Raise Invalid for a name that differs from an existing name only by case: on some systems both are one file, so
    the second is refused everywhere."""
    try:
        twin = next((entry.name for entry in parent.iterdir() if entry.name.casefold() == name.casefold()), None)
    except (FileNotFoundError, NotADirectoryError):
        return
    if twin is not None and twin != name:
        raise Invalid(f"{names.text(name)!r} differs from {names.text(twin)!r} only by case; choose another name.")


def free_bytes(path: Path) -> int:
    """Return the bytes that this user can still write on the file system of `path`."""
    return shutil.disk_usage(path).free


def blob_id(data: bytes) -> str:
    """Return the git blob id of `data` (the ETag of a Definition), without git."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


class Folders:
    """The folders of new entries: `sessions/2026-11-22`, and when that is full `….1`, `….2`.

    A commit rewrites a folder's tree object whole, so a flat folder of 100,000 entries would cost 76 ms a commit.
    Counts are kept in memory, and read from disk at the first use of a folder.
    """

    def __init__(self, root: Path, *, limit: int = FOLDER_LIMIT) -> None:
        self._root = root
        self._limit = limit
        self._known: dict[str, tuple[int, int]] = {}

    def place(self, parent: str) -> str:
        """Return the folder, relative to the root, for a new entry of `parent`; the entry is counted at once."""
        if len(self._known) > _REMEMBERED:
            self._known.clear()
        number, count = self._known.get(parent) or self._look(parent)
        if count >= self._limit:
            number, count = number + 1, 0
        self._known[parent] = (number, count + 1)
        return _sibling(parent, number)

    def _look(self, parent: str) -> tuple[int, int]:
        number = 0
        while (self._root / _sibling(parent, number + 1)).is_dir():
            number += 1
        try:
            return number, sum(1 for _ in (self._root / _sibling(parent, number)).iterdir())
        except FileNotFoundError:
            return number, 0


def _sibling(parent: str, number: int) -> str:
    return f"{parent}.{number}" if number else parent
