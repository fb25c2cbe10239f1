"""The write-ahead log: the one place where an event becomes durable.

A *group* (events that belong together, over several journals if need be) is one line:

    {"b":12,"rest":0,"sum":"9f86d081884c7d65","group":[["sessions/2026-11-22/fix-it",{…journal line…}],…]}

All groups that arrive while the disk is busy are one *batch*: one write, one fdatasync. `b` counts the batches of a
segment, from 1; `rest` is how many lines of the batch follow. They tell a torn end from damage: a batch is only written
when the one before is on disk, so a bad line with nothing but its own batch behind it was never acknowledged, and is
cut; a bad line with a later batch behind it is damage, and is reported.

Only the log's own thread touches the files while the daemon serves. After a failed write or fsync nothing is tried
again (the kernel may have dropped the dirty pages: a second fsync would lie); the log is failed for good.
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

#: where a group's entry goes, and the entry itself as a journal line without the newline
Line = tuple[str, bytes]
#: the same as read back
Entries = list[tuple[str, dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Group:
    """Encoded entries `first..last` (event numbers), and the files that must be on disk before the line names them."""

    body: bytes
    first: int
    last: int
    spills: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a log folder held: good groups in order, bytes cut off its torn end, and lines that are damaged inside."""

    groups: list[Entries] = field(default_factory=list)
    cut_bytes: int = 0
    damaged: list[str] = field(default_factory=list)
    last: int = 0


def encode(lines: Sequence[Line]) -> bytes:
    """The `group` part of a log line."""
    return b"[" + b",".join(b'["' + journal.encode() + b'",' + line + b"]" for journal, line in lines) + b"]"


def _digest(batch: int, rest: int, body: bytes) -> str:
    return blake2b(b"%d %d %s" % (batch, rest, body), digest_size=8).hexdigest()


def _line(batch: int, rest: int, body: bytes) -> bytes:
    return b'{"b":%d,"rest":%d,"sum":"%s","group":%s}\n' % (batch, rest, _digest(batch, rest, body).encode(), body)


def _parse(raw: bytes) -> tuple[int, int, Entries] | None:
    """Batch, rest and entries of a line, or None where it is torn or damaged."""
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
    """The log's files, oldest first; a name is the first event number that it can hold."""
    return sorted(folder.glob("*.log"))


def recover(folder: Path, *, cut: bool = True) -> Recovered:
    """Read the whole log, and cut its torn end off. Called before the log is opened, with the root's lock held;
    with `cut=False` at any time: a reader passes over what is being written."""
    found: list[Entries] = []
    damaged: list[str] = []
    lost = 0
    listed = segments(folder)
    if cut and listed:
        files.fsync_file(listed[-1])  # a daemon that was killed may have written what it never came to fsync
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
        found += [line.group for line in lines if line.group]
        damaged += [f"{path.name}:{line.number}: a damaged line in the log" for line in lines if not line.group]
    last = max((group[-1][1]["n"] for group in found), default=0)
    # A segment's name is the first number that it can hold: all below were given, even where they cannot be read.
    named = int(listed[-1].stem) - 1 if listed else 0
    return Recovered(found, lost, damaged, max(last, named))


@dataclass(frozen=True, slots=True)
class _Read:
    """A line as found; `group` is empty where it is torn or damaged, `batch` then the earliest that it can be of."""

    offset: int
    number: int
    batch: int
    group: Entries


def _lines(raw: bytes) -> Iterator[_Read]:
    offset, expected = 0, 1
    for number, text in enumerate(raw.split(b"\n"), start=1):
        whole = offset + len(text) < len(raw)  # the newline is part of a line
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
    """The offset of the first bad line where nothing of a later batch stands behind it, else None."""
    newest = max((line.batch for line in lines if line.group), default=0)
    return next((line.offset for line in lines if not line.group and line.batch >= newest), None)


def _truncate(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)
        os.fsync(file.fileno())


class Log:
    """The open log. `submit` is called on the event loop; a thread writes; `on_batch` is called by that thread.

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
        """Start a new segment for entries from `next_n` on. What `recover` returned stays until it is committed."""
        for folder in (self._folder, self._root / spills.FOLDER):
            files.durable_folder(folder, upto=self._root)
        self._open_segment(next_n)
        self._thread = threading.Thread(target=self._run, name="kheish-log", daemon=True)
        self._thread.start()

    @property
    def is_open(self) -> bool:
        """Whether entries can be written."""
        return self._thread is not None and self._failed is None

    def submit(self, group: Group) -> None:
        """Hand over a group; it is durable when `on_batch` reports its last number."""
        with self._wake:
            if self._failed:
                raise self._failed
            self._pending.append(group)
            self._wake.notify()

    def drop(self, committed: int) -> None:
        """A commit holds all entries up to `committed`: segments that hold nothing newer may go."""
        with self._wake:
            self._drop_to = max(self._drop_to, committed)
            self._wake.notify()

    def close(self) -> None:
        """Write what is pending and stop."""
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
        """Raises OSError where the log is not where the next start looks for it: the state root was moved away."""
        if not self._path.exists() or not os.path.samestat(self._path.stat(), os.fstat(self._handle)):
            raise OSError(errno.ESTALE, "the state root was moved away")

    def _drop(self, committed: int) -> None:
        files = segments(self._folder)
        for path, following in pairwise(files):
            if int(following.stem) <= committed + 1:
                path.unlink()
        if self._last and self._last <= committed and self._size:
            # All that the open segment holds is committed: a new one keeps the next start short.
            current = files[-1]
            self._open_segment(self._last + 1)
            current.unlink()

    def _fail(self, error: StoreFailed) -> None:
        with self._wake:
            self._failed = error
            self._pending.clear()
        self._on_failure(error)
