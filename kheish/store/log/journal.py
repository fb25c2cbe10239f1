"""Journals: append-only JSONL in segments. This module reads and checks them, and appends what the log made durable.

A journal is a folder of `000001.jsonl`, `000002.jsonl`, …. A segment is closed at 64 KiB and never changes after that,
since git stores a changed file whole at each commit (2,000 commits of one growing file: 891 MB of loose objects, with
64 KiB segments 65 MB).
"""

from __future__ import annotations

import os
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from kheish.errors import Damaged
from kheish.store.log.segments import (
    Extent as Extent,
    extent as extent,
    hash_of,
    name as name,
    parse as parse,
    parse_lines as parse_lines,
    segments as segments,
)

SEGMENT_BYTES = 64 * 1024
OPEN_FILES = 256


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a journal: its newest segment (1…), that segment's size in bytes, and the last `seq` and `n`."""

    segment: int
    size: int
    seq: int
    n: int


def read(root: Path, journal: str, *, from_seq: int = 1) -> Iterator[dict[str, Any]]:
    """Yield all entries from `from_seq` on. Raises Damaged at the first unreadable line or gap."""
    return Segments(root, journal).read(from_seq)


def read_lines(root: Path, journal: str, *, from_seq: int = 1) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Yield all entries from `from_seq` on, each with its line as stored. Raises as `read`."""
    files = segments(root / journal)
    start = _segment_of(files, from_seq)
    expect = 1 if start == 0 else None
    for path in files[start:]:
        entries = parse_lines(path.read_bytes(), f"{journal}/{path.name}", expect)
        yield from (one for one in entries if one[0]["seq"] >= from_seq)
        expect = entries[-1][0]["seq"] + 1 if entries else expect


def portions(root: Path, journal: str, *, from_seq: int, size: int) -> Iterator[list[tuple[dict[str, Any], bytes]]]:
    """Yield the results of `read_lines` in lists of `size`. Raises Damaged before the first list, or not at all."""
    lines = read_lines(root, journal, from_seq=from_seq)
    portion = list(islice(lines, size))
    if len(portion) == size:
        deque(read_lines(root, journal, from_seq=from_seq), maxlen=0)
    while portion:
        yield portion
        portion = list(islice(lines, size))


class Segments:
    """A single pass over a journal, first from its end and then forward. Each file is read and parsed at most once."""

    def __init__(self, root: Path, journal: str) -> None:
        self._journal = journal
        self._files = segments(root / journal)
        self._parsed: dict[int, list[dict[str, Any]]] = {}

    def back(self) -> Iterator[list[dict[str, Any]]]:
        """Yield the entries by segment, newest segment first."""
        for position in reversed(range(len(self._files))):
            yield self._entries(position)

    def read(self, from_seq: int = 1) -> Iterator[dict[str, Any]]:
        """Yield all entries from `from_seq` on, once. Raises Damaged at the first unreadable line or gap."""
        start = self._position(from_seq)
        expect = 1 if start == 0 else None
        for position in range(start, len(self._files)):
            entries = self._entries(position, expect)
            del self._parsed[position]  # a long journal must not be in memory as a whole
            for entry in entries:
                if entry["seq"] >= from_seq:
                    yield entry
            if entries:
                expect = entries[-1]["seq"] + 1

    def _position(self, seq: int) -> int:
        """Return the position of the segment with `seq`. Segments that are already parsed answer first, so that no
        older file is read."""
        for position in sorted(self._parsed, reverse=True):
            entries = self._parsed[position]
            if entries and entries[0]["seq"] <= seq:
                return position
        return _segment_of(self._files, seq)

    def _entries(self, position: int, expect: int | None = None) -> list[dict[str, Any]]:
        where = f"{self._journal}/{self._files[position].name}"
        entries = self._parsed.get(position)
        if entries is None:
            self._parsed[position] = entries = parse(self._files[position].read_bytes(), where, expect)
        elif entries and expect is not None and entries[0]["seq"] != expect:
            raise Damaged(f"{where}:1: seq {entries[0]['seq']} where {expect} follows", path=where, line=1)
        return entries


def _segment_of(files: list[Path], seq: int) -> int:
    """Return the position of the segment that holds `seq`, by its first line."""
    low, high = 0, len(files) if seq > 1 else 0
    while high - low > 1:
        middle = (low + high) // 2
        if _first_seq(files[middle]) <= seq:
            low = middle
        else:
            high = middle
    return low


def _first_seq(path: Path) -> int:
    with path.open("rb") as file:
        try:
            return int(orjson.loads(file.readline())["seq"])
        except (ValueError, KeyError) as error:
            raise Damaged(f"{path.name}:1: not a journal line", path=str(path), line=1) from error


def tail(folder: Path) -> Tail:
    """Return the end of a journal. A last line without a newline is damage here: only the log may be torn."""
    files = segments(folder)
    if not files:
        return Tail(1, 0, 0, 0)
    path = files[-1]
    raw = path.read_bytes()
    if not raw:
        previous = files[-2] if len(files) > 1 else None
        last = parse(previous.read_bytes(), previous.name)[-1] if previous else {"seq": 0, "n": 0}
        return Tail(int(path.stem), 0, last["seq"], last["n"])
    line = raw[raw.rfind(b"\n", 0, -1) + 1 :]
    try:
        entry = orjson.loads(line)
        if not line.endswith(b"\n"):
            raise ValueError("no newline")
        return Tail(int(path.stem), len(raw), entry["seq"], entry["n"])
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{folder.name}/{path.name}: the last line cannot be read", path=str(path)) from error


def continued(segments: Mapping[str, bytes], lines: Sequence[tuple[int, bytes]], where: str) -> dict[str, bytes]:
    """Return whole segments by name, followed by `(seq, line)`s as a Writer would have appended them: the expected
    contents of the files. Raises Damaged if the lines would leave a gap."""
    contents = dict(sorted(segments.items()))
    number = int(max(contents, default=name(1)).removesuffix(".jsonl"))
    entries = [entry for file in reversed(contents) for entry in parse(contents[file], f"{where}/{file}")[-1:]]
    last = entries[0]["seq"] if entries else 0
    content = bytearray(contents.get(name(number), b""))
    for seq, line in lines:
        if seq <= last:
            continue
        if seq != last + 1:
            raise Damaged(f"{where}: seq {seq} where {last + 1} follows", path=where)
        if len(content) >= SEGMENT_BYTES:
            contents[name(number)] = bytes(content)
            number, content = number + 1, bytearray()
        content += line + b"\n"
        last = seq
    if content:
        contents[name(number)] = bytes(content)
    return contents


def cut_torn(folder: Path) -> None:
    """Cut a last line without a newline (a kill in the middle of an append); the log still has it whole.

    A newest segment without a whole line is removed. A power cut may keep its name and lose the end of the segment
    before it, where the journal then continues.
    """
    for path in reversed(files := segments(folder)):
        raw = path.read_bytes()
        keep = raw.rfind(b"\n") + 1
        if keep or path == files[0]:
            if keep < len(raw):
                os.truncate(path, keep)
            break
        path.unlink()


def _from(folder: Path, seq: int) -> dict[Path, bytes]:
    """Return the segments from the one with entry `seq` on; none if that cannot be determined."""
    files = segments(folder)
    try:
        return {path: path.read_bytes() for path in files[_segment_of(files, seq) :]}
    except (FileNotFoundError, Damaged):
        return {}


class Replaced(Exception):
    """The error that another process replaced or changed the open segment of `journal` (stash, checkout, reset, an
    editor)."""

    def __init__(self, journal: str) -> None:
        super().__init__(journal)
        self.journal = journal


@dataclass(slots=True)
class _Open:
    handle: int
    inode: tuple[int, int]
    segment: int
    size: int
    seq: int
    digest: blake2b  # of its whole content
    written: int  # mtime in nanoseconds after the last append


class Writer:
    """A writer that appends to many journals. It keeps a bounded number of files open. Before each write it checks that
    they are still the files at their paths, with the size and the time of its last write."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._unsynced: set[Path] = set()
        #: segments written since the last cut, and how far: the content of the next commit
        self.dirty: dict[str, Extent] = {}

    def append(self, journal: str, lines: Sequence[tuple[int, bytes]]) -> None:
        """Append `(seq, line without newline)`s; skip entries that the journal already has.

        Raises Replaced if the file is not as this writer left it, Damaged if the journal cannot be read or would get a
        gap, OSError if the disk fails.
        """
        state = self._state(journal)
        fresh = [(seq, line) for seq, line in lines if seq > state.seq]
        if not fresh:
            return
        if fresh[0][0] != state.seq + 1:
            raise Damaged(f"{journal}: seq {fresh[0][0]} where {state.seq + 1} follows", path=journal)
        try:
            self._append(journal, state, fresh)
        except OSError:
            self.forget(journal)  # its end is read from the file
            raise

    def _append(self, journal: str, state: _Open, lines: Sequence[tuple[int, bytes]]) -> None:
        buffer: list[bytes] = []
        room = SEGMENT_BYTES - state.size
        for seq, line in lines:
            if room <= 0:
                self._write(journal, state, b"".join(buffer))
                buffer = []
                state = self._next_segment(journal, state)
                room = SEGMENT_BYTES
            buffer += (line, b"\n")
            room -= len(line) + 1
            state.seq = seq
        self._write(journal, state, b"".join(buffer))

    def _write(self, journal: str, state: _Open, data: bytes) -> None:
        if not data:
            return
        view = memoryview(data)
        while view:
            view = view[os.write(state.handle, view) :]
        state.size += len(data)
        state.digest.update(data)
        state.written = os.fstat(state.handle).st_mtime_ns
        relative = f"{journal}/{name(state.segment)}"
        self.dirty[relative] = (state.size, state.digest.hexdigest())
        self._unsynced.add(self._root / relative)

    def _state(self, journal: str) -> _Open:
        state = self._open.get(journal)
        if state is None:
            return self._remember(journal, self._open_tail(journal))
        self._open.move_to_end(journal)
        try:
            status = (self._root / journal / name(state.segment)).stat()
        except FileNotFoundError:
            raise Replaced(journal) from None
        expected = (*state.inode, state.size, state.written)
        if (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns) != expected:
            raise Replaced(journal)
        return state

    def _open_tail(self, journal: str) -> _Open:
        folder = self._root / journal
        folder.mkdir(parents=True, exist_ok=True)
        try:
            cut_torn(folder)
            end = tail(folder)
            return self._open_segment(journal, end.segment, end.seq)
        except FileNotFoundError:  # removed at this moment
            raise Replaced(journal) from None

    def _open_segment(self, journal: str, segment: int, seq: int) -> _Open:
        path = self._root / journal / name(segment)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        handle = os.open(path, flags, 0o644)
        status = os.fstat(handle)
        content = path.read_bytes() if status.st_size else b""
        inode = status.st_dev, status.st_ino
        return _Open(handle, inode, segment, len(content), seq, hash_of(content), status.st_mtime_ns)

    def _next_segment(self, journal: str, state: _Open) -> _Open:
        following = self._open_segment(journal, state.segment + 1, state.seq)
        os.close(state.handle)
        return self._remember(journal, following)

    def _remember(self, journal: str, state: _Open) -> _Open:
        self._open[journal] = state
        self._open.move_to_end(journal)
        while len(self._open) > OPEN_FILES:
            _, old = self._open.popitem(last=False)
            os.close(old.handle)
        return state

    def forget(self, journal: str) -> None:
        """Close a journal; the next append reads its files from scratch."""
        state = self._open.pop(journal, None)
        if state is not None:
            os.close(state.handle)

    def clean(self, journal: str) -> None:
        """Exclude this journal from the next cut."""
        for path in [path for path in self.dirty if path.rpartition("/")[0] == journal]:
            del self.dirty[path]

    def close(self) -> None:
        """Close all journals."""
        for journal in list(self._open):
            self.forget(journal)

    def mark(self, journal: str, lines: Sequence[tuple[int, bytes]]) -> bool:
        """Mark the segments that hold `lines`, which must be the journal's last, as changed since the last cut. Return
        whether the files end with exactly these lines.

        The open segment alone does not prove it: git restores a segment that it tracks to its committed content, and
        leaves a newer segment that it does not track.
        """
        contents = _from(self._root / journal, lines[0][0])
        if not b"".join(contents.values()).endswith(b"".join(line + b"\n" for _, line in lines)):
            return False
        for path, content in contents.items():
            self.dirty[f"{journal}/{path.name}"] = extent(content)
            self._unsynced.add(path)
        return True

    def changed(self) -> Iterator[str]:
        """Yield the journals written since the last cut whose open segment another process has changed since."""
        for journal in sorted({path.rpartition("/")[0] for path in self.dirty}):
            if journal in self._open:
                try:
                    self._state(journal)
                except Replaced:
                    yield journal

    def take_dirty(self) -> dict[str, Extent]:
        """Return the segments written since the last call, fsynced."""
        self.sync()
        dirty, self.dirty = self.dirty, {}
        return dirty

    def sync(self) -> None:
        """Make everything appended durable in the journals too."""
        for path in self._unsynced:
            try:
                handle = os.open(path, os.O_RDONLY)
            except FileNotFoundError:
                continue  # replaced meanwhile: the next append restores it from the log
            try:
                os.fdatasync(handle)
            finally:
                os.close(handle)
        self._unsynced.clear()
