"""Locks: a single daemon for a state root (an flock), and notes about the git locks that the worker takes."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from urllib.parse import quote, unquote

import orjson

from kheish import ids
from kheish.errors import LockHeld, StoreFailed, Unavailable
from kheish.store import files

#: seconds between a note and its lock: a later lock belongs to another process
_NOTE_SECONDS = 600.0
_NOTE = ".ours"


def private(root: Path) -> Path:
    """Return `.git/kheish` of a state root, which no git command and no `git clean` touches."""
    return root / ".git" / "kheish"


class RootLock:
    """A context manager during which this process serves `root`. Raises LockHeld with the holder's pid and start time.

    The kernel releases the lock when the process ends, however it ends. Children do not inherit the descriptor.
    """

    def __init__(self, root: Path) -> None:
        self._path = private(root) / "lock"
        self._descriptor: int | None = None

    def __enter__(self) -> RootLock:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise _unwritable(self._path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 4096, 0)
            os.close(descriptor)
            raise _held(holder) from None
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, orjson.dumps({"pid": os.getpid(), "since": ids.now()}) + b"\n", 0)
        except OSError as error:
            os.close(descriptor)
            raise _unwritable(self._path, error) from error
        self._descriptor = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(OSError):  # the disk failed; the lock is released all the same
                os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None


def _unwritable(path: Path, error: OSError) -> Unavailable:
    return Unavailable(f"The state root cannot be written: {path}: {error.strerror}.")


def still_held(root: Path) -> None:
    """Raise StoreFailed if the root was moved away, since the next start would not find later writes."""
    try:
        raw = (private(root) / "lock").read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raw = b""
    if not raw.startswith(b'{"pid":%d,' % os.getpid()):
        raise StoreFailed(
            f"The state root was moved away from {root}; the daemon stops. Move it back, or serve it where it is now. "
            "Nothing that was acknowledged is lost."
        )


def _held(raw: bytes) -> LockHeld:
    try:
        holder = orjson.loads(raw)
        pid, since = holder["pid"], holder["since"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return LockHeld("Another daemon serves this state root (its pid is not recorded yet).")
    return LockHeld(f"Another daemon serves this state root: pid {pid}, since {since}.", pid=pid, since=since)


@contextlib.contextmanager
def worker_lock(root: Path, name: str = "worker") -> Iterator[None]:
    """Wait until an older child of that name (git worker, scribe) has finished, then exclude others."""
    folder = private(root)
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def note_of(root: Path, lock: str) -> Path:
    """Return the path of the note by which `noted` marks a lock file (relative to .git) as ours."""
    return private(root) / "locks" / (quote(lock, safe="") + _NOTE)


@contextlib.contextmanager
def noted(root: Path, *locks: str) -> Iterator[None]:
    """Mark lock files (relative to .git) as ours in `.git/kheish/locks/`, before they are taken.

    A note is an empty file named after the lock. Its name reaches the disk before the lock does; a note's content might
    not. A lock that exists already belongs to another process, and gets no note.
    """
    (private(root) / "locks").mkdir(parents=True, exist_ok=True)
    notes = [note_of(root, lock) for lock in locks if not (root / ".git" / lock).exists()]
    for note in notes:
        note.touch()
    files.fsync_folder(private(root) / "locks")  # a power cut must not leave the lock without its note
    try:
        yield
    finally:
        for note in notes:
            note.unlink(missing_ok=True)


def sweep(root: Path) -> list[str]:
    """Remove exactly the locks that a killed worker noted, and its temporary files; return the locks' names.

    Call this only if no worker runs (under `worker_lock`) and no other git process writes here.
    """
    removed = []
    for note in (private(root) / "locks").glob("*"):
        name = unquote(note.name.removesuffix(_NOTE))
        lock = root / ".git" / name
        if lock.exists() and 0 <= lock.stat().st_mtime - note.stat().st_mtime + 1 < _NOTE_SECONDS:
            lock.unlink(missing_ok=True)
            removed.append(name)
        note.unlink(missing_ok=True)
    for leftover in (private(root) / "tmp").glob(".*"):
        leftover.unlink(missing_ok=True)
    return removed
