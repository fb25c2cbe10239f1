"""The only way to read files of the state root that other processes may have written: regular files, bounded, without
blocking.

The file at a path may be a FIFO, which blocks its reader; a device; a link that leads outside; or sparse, so that
reading it never ends. So each folder on the way and the file itself are opened without following links and without
waiting, and no more than a bound is read. *Rejected:* a check by path before the open, since the file may be replaced
in between.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from kheish.errors import FileRefused
from kheish.store import names

#: bytes of a file that is read whole, unless its reader sets another bound
MOST = 4 * 1024 * 1024
_CHUNK = 1 << 20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_LINK = "is a link, or lies behind one; put the file itself there"
_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISLNK, _LINK),
    (stat.S_ISDIR, "is a folder, not a file"),
    (stat.S_ISFIFO, "is a pipe (FIFO), not a plain file"),
    (stat.S_ISSOCK, "is a socket, not a plain file"),
    (stat.S_ISCHR, "is a device, not a plain file"),
    (stat.S_ISBLK, "is a device, not a plain file"),
)


def read(root: Path, path: str, *, most: int = MOST) -> bytes:
    """Return the content of a regular file. Raises FileNotFoundError, FileRefused, OSError."""
    with opened(root, path) as descriptor:
        raw = bounded(descriptor, most)
    if len(raw) > most:
        raise refused(path, f"is larger than {_size(most)}")
    return raw


def begin(root: Path, path: str, *, most: int = MOST) -> bytes:
    """Return at most `most + 1` bytes of a regular file, so that the caller can detect a longer file. Raises as
    `read`."""
    with opened(root, path) as descriptor:
        return bounded(descriptor, most)


def walk(
    root: Path, folder: str, *, skip: Callable[[str], bool] = lambda path: False
) -> Iterator[tuple[str, os.stat_result]]:
    """Yield `(path, lstat)` of everything beneath a folder except folders. Links are included, paths that `skip`
    matches are not. Unlistable folders are skipped. There is no recursion: folders may be nested deeper than Python's
    limit."""
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        try:
            with os.scandir(names.within(root, place)) as entries:
                children = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            continue
        inner = list[str]()
        for entry in children:
            path = f"{place}/{names.text(entry.name)}"
            with contextlib.suppress(OSError):
                if skip(path):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    inner.append(path)
                else:
                    yield path, entry.stat(follow_symlinks=False)
        waiting += reversed(inner)


def bounded(descriptor: int, most: int) -> bytes:
    """Return the rest of an open file, `most + 1` bytes at most."""
    parts, remaining = list[bytes](), most + 1
    while remaining and (chunk := os.read(descriptor, min(remaining, _CHUNK))):
        parts.append(chunk)
        remaining -= len(chunk)
    return b"".join(parts)


@contextlib.contextmanager
def opened(root: Path, path: str) -> Iterator[int]:
    """Open a regular file for reading, with no link on the way. Raises FileNotFoundError, FileRefused, OSError."""
    *folders, name = names.disk(path).split("/")
    with _within(root, folders, path) as folder:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        _refuse(status.st_mode, path)  # before the open, which alone would rewind a tape
        try:
            descriptor = os.open(name, _FILE, dir_fd=folder)
        except OSError as error:
            raise _translated(error, path) from error
        try:
            _refuse(os.fstat(descriptor).st_mode, path)
            yield descriptor
        finally:
            os.close(descriptor)


def read_own(path: Path, *, most: int = MOST) -> tuple[bytes, int]:
    """Return the content and mode of a regular file that only this user writes: a key, or a file of the daemon in
    `.git/kheish`, which may lie behind a link. Raises FileNotFoundError, FileRefused, OSError."""
    try:
        descriptor = os.open(path, _FILE & ~os.O_NOFOLLOW)
    except OSError as error:
        raise _translated(error, str(path)) from error
    try:
        mode = os.fstat(descriptor).st_mode
        _refuse(mode, str(path))
        raw = bounded(descriptor, most)
    finally:
        os.close(descriptor)
    if len(raw) > most:
        raise refused(str(path), f"is larger than {_size(most)}")
    return raw, mode


@contextlib.contextmanager
def _within(root: Path, folders: list[str], path: str) -> Iterator[int]:
    """Open the folder at the end of `folders`, step by step."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in folders:
            if name in ("", ".", ".."):
                raise FileRefused(f"The path {path!r} is not a plain relative path.", reason="has no plain path")
            try:
                inner = os.open(name, _FOLDER, dir_fd=descriptor)
            except OSError as error:
                raise _translated(error, path, at=(name, descriptor)) from error
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def _translated(error: OSError, path: str, at: tuple[str, int] | None = None) -> OSError | FileRefused:
    """Return the error for a refused open: a link gives ELOOP, or ENOTDIR in place of a folder; a socket gives
    ENXIO."""
    if error.errno == errno.ELOOP:
        return refused(path, _LINK)
    if error.errno == errno.ENXIO:
        return refused(path, "is not a plain file")
    if error.errno == errno.ENOTDIR and at is not None:
        name, folder = at
        with contextlib.suppress(OSError):
            if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                return refused(path, _LINK)
    return error


def refused(path: str, reason: str) -> FileRefused:
    """Return the error for a file that is not read; `reason` continues the sentence after its name."""
    return FileRefused(f"{path} {reason}.", reason=reason)


def kind(mode: int) -> str | None:
    """Return the reason why a file with this mode is not read; None for a regular file."""
    if stat.S_ISREG(mode):
        return None
    return next((reason for is_kind, reason in _KINDS if is_kind(mode)), "is not a plain file")


def _refuse(mode: int, path: str) -> None:
    if (reason := kind(mode)) is not None:
        raise refused(path, reason)


def _size(most: int) -> str:
    return f"{most // 1024**2} MiB" if most >= 1024**2 else f"{most // 1024} KiB"
