"""One daemon for one state root (an flock), and the notes of git locks that the worker takes."""

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

#: a lock that was taken longer than this after its note is somebody else's
_NOTE_SECONDS = 600.0
_NOTE = ".ours"


def private(root: Path) -> Path:
    """`.git/kheish` of a state root: where no git command and no `git clean` reaches."""
    return root / ".git" / "kheish"


class RootLock:
    """Context manager: this process serves `root`. Raises LockHeld with the holder's pid and since when.

    The kernel gives the lock back when the process ends, however it ends; children do not inherit the descriptor.
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
            with contextlib.suppress(OSError):  # a disk that failed; the lock is given back all the same
                os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None


def _unwritable(path: Path, error: OSError) -> Unavailable:
    return Unavailable(f"The state root cannot be written: {path}: {error.strerror}.")


def still_held(root: Path) -> None:
    """Raises StoreFailed where the root was moved away: what is written then, no start finds."""
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
        return LockHeld("Another daemon serves this state root (it has not yet said its pid).")
    return LockHeld(f"Another daemon serves this state root: pid {pid}, since {since}.", pid=pid, since=since)


@contextlib.contextmanager
def worker_lock(root: Path, name: str = "worker") -> Iterator[None]:
    """Wait until an older child of that name (git worker, scribe) has finished, then keep others out."""
    folder = private(root)
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def note_of(root: Path, lock: str) -> Path:
    """Where `noted` says that a lock file (relative to .git) is ours."""
    return private(root) / "locks" / (quote(lock, safe="") + _NOTE)


@contextlib.contextmanager
def noted(root: Path, *locks: str) -> Iterator[None]:
    """Say in `.git/kheish/locks/`, before they are taken, which lock files (relative to .git) are ours.

    A note is an empty file named after the lock: its name is on the disk before the lock, where
    a note's content might not be. A lock that is there already is somebody else's, and gets no note.
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

    Only where no worker runs (call it under `worker_lock`) and no other git process writes here.
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
