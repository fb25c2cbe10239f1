"""The write-ahead log: the only place where an event becomes durable.

A *group* (events that belong together, possibly in several journals) is a single line:

  {"b":12,"rest":0,"sum":"9f86d081884c7d65","group":[["sessions/2026-11-22/fix-it",{…journal line…}],…]}

All groups that arrive while the disk is busy form a *batch*: one write, one fdatasync. `b` numbers the batches of a
segment, from 1; `rest` is the number of lines left in the batch. They distinguish a torn end from damage. A batch is
only written when the batch before it is on disk. So a bad line that is followed only by lines of its own batch was
never acknowledged, and is cut. A bad line that is followed by a later batch is damage, and is reported.

Only the log's own thread touches the files while the daemon serves. A failed write or fsync is never retried (the
kernel may have dropped the dirty pages: a second fsync would lie); the log has failed for good.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import orjson

from kheish.errors import StoreFailed
from kheish.store import files
from kheish.store.log import spills

SEGMENT_BYTES = 4 * 1024 * 1024

#: the journal of an entry, and the entry itself as a journal line without the newline
Line = tuple[str, bytes]
#: the same as read from the log
Entries = list[tuple[str, dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Group:
    """Encoded entries `first..last` (event numbers), and the files that must be on disk before the line that names
    them."""

    body: bytes
    first: int
    last: int
    spills: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Recovered:
    """The content of a log folder: good groups in order, the bytes cut off its torn end, and the damaged lines
    inside."""

    groups: list[Entries] = field(default_factory=list)
    cut_bytes: int = 0
    damaged: list[str] = field(default_factory=list)
    last: int = 0


def encode(lines: Sequence[Line]) -> bytes:
    """Return the `group` part of a log line."""
    return b"[" + b",".join(b'["' + journal.encode() + b'",' + line + b"]" for journal, line in lines) + b"]"


def _digest(batch: int, rest: int, body: bytes) -> str:
    return blake2b(b"%d %d %s" % (batch, rest, body), digest_size=8).hexdigest()


def _line(batch: int, rest: int, body: bytes) -> bytes:
    return b'{"b":%d,"rest":%d,"sum":"%s","group":%s}\n' % (batch, rest, _digest(batch, rest, body).encode(), body)


def _parse(raw: bytes) -> tuple[int, int, Entries] | None:
    """Return batch, rest and entries of a line, or None if it is torn or damaged."""
    start = raw.find(b'"group":')
    if start < 0 or not raw.endswith(b"]}"):
        return None
    body = raw[start + 8 : -1]
    try:
        value = orjson.loads(raw)
        batch, rest = value["b"], value["rest"]
        if value["sum"] != _digest(batch, rest, body):
            return None
        return batch, rest, [(journal, line) for journal, line in value["group"]]
    except (ValueError, KeyError, TypeError):
        return None


def segments(folder: Path) -> list[Path]:
    """Return the log's files, oldest first; the name is the first event number that a file can hold."""
    return sorted(folder.glob("*.log"))


def recover(folder: Path, *, cut: bool = True) -> Recovered:
    """Read the whole log, and cut its torn end off. This runs before the log is opened, with the root's lock held. With
    `cut=False` it may run at any time, and skips lines that are being written."""
    groups: list[Entries] = []
    damaged: list[str] = []
    lost = 0
    listed = segments(folder)
    if cut and listed:
        files.fsync_file(listed[-1])  # a killed daemon may have written entries without fsync
    for path in listed:
        try:
            raw = path.read_bytes()
        except FileNotFoundError:  # dropped at this moment: a commit holds all of it
            continue
        lines = list(_lines(raw))
        keep = _torn_at(lines) if path == listed[-1] else None
        if keep is not None:
            lost += len(raw) - keep
            if cut:
                _truncate(path, keep)
            lines = [line for line in lines if line.offset < keep]
        groups += [line.group for line in lines if line.group]
        damaged += [f"{path.name}:{line.number}: a damaged line in the log" for line in lines if not line.group]
    last = max((group[-1][1]["n"] for group in groups), default=0)
    # The name of a segment is the first number that it can hold: all lower numbers were assigned, even if unreadable.
    named = int(listed[-1].stem) - 1 if listed else 0
    return Recovered(groups, lost, damaged, max(last, named))


@dataclass(frozen=True, slots=True)
class _Read:
    """A line of the log. For a torn or damaged line `group` is empty, and `batch` is the earliest possible batch."""

    offset: int
    number: int
    batch: int
    group: Entries


def _lines(raw: bytes) -> Iterator[_Read]:
    offset, expected = 0, 1
    for number, text in enumerate(raw.split(b"\n"), start=1):
        whole = offset + len(text) < len(raw)  # a complete line ends with a newline
        if text:
            parsed = _parse(text) if whole else None
            if parsed:
                batch, rest, group = parsed
                yield _Read(offset, number, batch, group)
                expected = batch if rest else batch + 1
            else:
                yield _Read(offset, number, expected, [])
        offset += len(text) + 1


def _torn_at(lines: list[_Read]) -> int | None:
    """Return the offset of the first bad line that no later batch follows, or None."""
    newest = max((line.batch for line in lines if line.group), default=0)
    return next((line.offset for line in lines if not line.group and line.batch >= newest), None)


def _truncate(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)
        os.fsync(file.fileno())


class Log:
    """The open log. The event loop calls `submit`; a thread writes, and calls `on_batch`.

    `on_batch(groups, text)` gets the groups that became durable and their raw lines. `on_failure(error)` is called
    once; from then on `submit` raises StoreFailed.
    """

    def __init__(
        self,
        root: Path,
        *,
        on_batch: Callable[[Sequence[Group], bytes], None],
        on_failure: Callable[[StoreFailed], None],
        durability: Literal["fsync", "os"] = "fsync",
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self._root = root
        self._folder = root / ".git" / "kheish" / "wal"
        self._on_batch = on_batch
        self._on_failure = on_failure
        self._fsync = durability == "fsync"
        self._segment_bytes = segment_bytes
        self._wake = threading.Condition()
        self._pending: list[Group] = []
        self._drop_to = 0
        self._stopping = False
        self._failed: StoreFailed | None = None
        self._thread: threading.Thread | None = None
        self._handle = -1
        self._path = self._folder
        self._size = 0
        self._batch = 0
        self._last = 0

    def open(self, next_n: int) -> None:
        """Start a new segment for entries from `next_n` on. The segments that `recover` read stay until they are
        committed."""
        for folder in (self._folder, self._root / spills.FOLDER):
            files.durable_folder(folder, upto=self._root)
        self._open_segment(next_n)
        self._thread = threading.Thread(target=self._run, name="kheish-log", daemon=True)
        self._thread.start()

    @property
    def is_open(self) -> bool:
        """Return whether entries can be written."""
        return self._thread is not None and self._failed is None

    def submit(self, group: Group) -> None:
        """Queue a group for writing; it is durable once `on_batch` reports its last number."""
        with self._wake:
            if self._failed:
                raise self._failed
            self._pending.append(group)
            self._wake.notify()

    def drop(self, committed: int) -> None:
        """Remove segments without entries newer than `committed`, up to which a commit holds all entries."""
        with self._wake:
            self._drop_to = max(self._drop_to, committed)
            self._wake.notify()

    def close(self) -> None:
        """Write all pending groups and stop."""
        if self._thread is None:
            return
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join()
        self._thread = None
        os.close(self._handle)

    def _open_segment(self, first: int) -> None:
        self._path = path = self._folder / f"{first:016d}.log"
        if self._handle >= 0:
            os.close(self._handle)
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._handle).st_size
        self._batch = 0
        files.fsync_folder(self._folder)

    def _run(self) -> None:
        try:
            while self._step():
                pass
        except OSError as error:
            self._fail(StoreFailed.of("The log cannot be written", error))

    def _step(self) -> bool:
        with self._wake:
            while not (self._pending or self._stopping or self._drop_to):
                self._wake.wait()
            batch, self._pending = self._pending, []
            drop, self._drop_to = self._drop_to, 0
            stopping = self._stopping
        if batch:
            self._write(batch)
        if drop:
            self._drop(drop)
        return bool(batch) or not stopping

    def _write(self, batch: list[Group]) -> None:
        for group in batch:
            for path, content in group.spills:
                spills.place(self._root, path, content, fsync=self._fsync)
        if self._size and self._size + sum(len(group.body) for group in batch) > self._segment_bytes:
            self._open_segment(batch[0].first)
        self._check()
        self._batch += 1
        last = len(batch) - 1
        text = b"".join(_line(self._batch, last - place, group.body) for place, group in enumerate(batch))
        view = memoryview(text)
        while view:
            view = view[os.write(self._handle, view) :]
        if self._fsync:
            os.fdatasync(self._handle)
        self._size += len(text)
        self._last = batch[-1].last
        self._on_batch(batch, text)

    def _check(self) -> None:
        """Raise OSError if the log is not where the next start looks for it, because the state root was moved."""
        if not self._path.exists() or not os.path.samestat(self._path.stat(), os.fstat(self._handle)):
            raise OSError(errno.ESTALE, "the state root was moved away")

    def _drop(self, committed: int) -> None:
        files = segments(self._folder)
        for path, following in pairwise(files):
            if int(following.stem) <= committed + 1:
                path.unlink()
        if self._last and self._last <= committed and self._size:
            # All entries of the open segment are committed: a new segment keeps the next start short.
            current = files[-1]
            self._open_segment(self._last + 1)
            current.unlink()

    def _fail(self, error: StoreFailed) -> None:
        with self._wake:
            self._failed = error
            self._pending.clear()
        self._on_failure(error)
