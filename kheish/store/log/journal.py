"""Journals: append-only JSONL in segments. Reading them, checking them, and appending what the log made durable.

A journal is a folder of `000001.jsonl`, `000002.jsonl`, …; a segment is closed at 64 KiB and never changes again, since
git stores a changed file whole at each commit (2,000 commits of one growing file: 891 MB of loose objects, with 64 KiB
segments 65 MB).
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
from kheish.store.log.segments import Extent as Extent
from kheish.store.log.segments import extent as extent
from kheish.store.log.segments import hash_of
from kheish.store.log.segments import name as name
from kheish.store.log.segments import parse as parse
from kheish.store.log.segments import parse_lines as parse_lines
from kheish.store.log.segments import segments as segments

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
    """All entries from `from_seq` on. Raises Damaged at the first line that cannot be read, or a gap."""
    return Segments(root, journal).read(from_seq)


def read_lines(root: Path, journal: str, *, from_seq: int = 1) -> Iterator[tuple[dict[str, Any], bytes]]:
    """All entries from `from_seq` on, each with its line as it stands there. Raises as `read`."""
    files = segments(root / journal)
    start = _segment_of(files, from_seq)
    expect = 1 if start == 0 else None
    for path in files[start:]:
        found = parse_lines(path.read_bytes(), f"{journal}/{path.name}", expect)
        yield from (one for one in found if one[0]["seq"] >= from_seq)
        expect = found[-1][0]["seq"] + 1 if found else expect


def portions(root: Path, journal: str, *, from_seq: int, size: int) -> Iterator[list[tuple[dict[str, Any], bytes]]]:
    """Yield what `read_lines` does in lists of `size`. Raises Damaged before the first of them, or not at all."""
    lines = read_lines(root, journal, from_seq=from_seq)
    portion = list(islice(lines, size))
    if len(portion) == size:
        deque(read_lines(root, journal, from_seq=from_seq), maxlen=0)
    while portion:
        yield portion
        portion = list(islice(lines, size))


class Segments:
    """One reading of a journal, from its end and then forward: each file is read and parsed at most once."""

    def __init__(self, root: Path, journal: str) -> None:
        self._journal = journal
        self._files = segments(root / journal)
        self._parsed: dict[int, list[dict[str, Any]]] = {}

    def back(self) -> Iterator[list[dict[str, Any]]]:
        """The entries by segment, newest segment first."""
        for position in reversed(range(len(self._files))):
            yield self._entries(position)

    def read(self, from_seq: int = 1) -> Iterator[dict[str, Any]]:
        """All entries from `from_seq` on, once. Raises Damaged at the first line that cannot be read, or a gap."""
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
        """Where the segment with `seq` is: by what is read already, so that no older file is looked at."""
        for position in sorted(self._parsed, reverse=True):
            entries = self._parsed[position]
            if entries and entries[0]["seq"] <= seq:
                return position
        return _segment_of(self._files, seq)

    def _entries(self, position: int, expect: int | None = None) -> list[dict[str, Any]]:
        where = f"{self._journal}/{self._files[position].name}"
        found = self._parsed.get(position)
        if found is None:
            self._parsed[position] = found = parse(self._files[position].read_bytes(), where, expect)
        elif found and expect is not None and found[0]["seq"] != expect:
            raise Damaged(f"{where}:1: seq {found[0]['seq']} where {expect} follows", path=where, line=1)
        return found


def _segment_of(files: list[Path], seq: int) -> int:
    """The position of the segment that holds `seq`, by its first line."""
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
    """Where a journal ends. A last line without its newline is damage here: only the log may be torn."""
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
    """Whole segments by name, with `(seq, line)`s after them as a Writer would have appended them: what files must
    hold. Raises Damaged where the lines would leave a gap."""
    found = dict(sorted(segments.items()))
    number = int(max(found, default=name(1)).removesuffix(".jsonl"))
    entries = [entry for file in reversed(found) for entry in parse(found[file], f"{where}/{file}")[-1:]]
    last = entries[0]["seq"] if entries else 0
    content = bytearray(found.get(name(number), b""))
    for seq, line in lines:
        if seq <= last:
            continue
        if seq != last + 1:
            raise Damaged(f"{where}: seq {seq} where {last + 1} follows", path=where)
        if len(content) >= SEGMENT_BYTES:
            found[name(number)] = bytes(content)
            number, content = number + 1, bytearray()
        content += line + b"\n"
        last = seq
    if content:
        found[name(number)] = bytes(content)
    return found


def cut_torn(folder: Path) -> None:
    """Cut a last line that has no newline (a kill in the middle of an append); the log still has it whole.

    A newest segment that has no whole line goes: a power cut may leave its name and take the end of the one before it,
    which is where the journal then goes on.
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
    """The segments from the one with entry `seq` on; none where that cannot be told."""
    files = segments(folder)
    try:
        return {path: path.read_bytes() for path in files[_segment_of(files, seq) :]}
    except (FileNotFoundError, Damaged):
        return {}


class Replaced(Exception):
    """Somebody replaced or changed the open segment of `journal` (stash, checkout, reset, an editor)."""

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
    digest: blake2b  # of all that is in it
    written: int  # mtime in nanoseconds, as the last append left it


class Writer:
    """Appends to many journals. Keeps a bounded number of files open; checks before each write that they are still
    the files at their paths, with the size and the time that it left them with."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._unsynced: set[Path] = set()
        #: segments written since the last cut, and how far: what the next commit holds
        self.dirty: dict[str, Extent] = {}

    def append(self, journal: str, lines: Sequence[tuple[int, bytes]]) -> None:
        """Append `(seq, line without newline)`s; what the journal already has is passed over.

        Raises Replaced where the file is not what was left, Damaged where the journal cannot be read or would get a
        gap, OSError where the disk fails.
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
            self.forget(journal)  # how far it came is read from the file
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
            found = (self._root / journal / name(state.segment)).stat()
        except FileNotFoundError:
            raise Replaced(journal) from None
        left = (*state.inode, state.size, state.written)
        if (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns) != left:
            raise Replaced(journal)
        return state

    def _open_tail(self, journal: str) -> _Open:
        folder = self._root / journal
        folder.mkdir(parents=True, exist_ok=True)
        try:
            cut_torn(folder)
            end = tail(folder)
            return self._open_segment(journal, end.segment, end.seq)
        except FileNotFoundError:  # taken away at this moment
            raise Replaced(journal) from None

    def _open_segment(self, journal: str, segment: int, seq: int) -> _Open:
        path = self._root / journal / name(segment)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        handle = os.open(path, flags, 0o644)
        found = os.fstat(handle)
        content = path.read_bytes() if found.st_size else b""
        inode = found.st_dev, found.st_ino
        return _Open(handle, inode, segment, len(content), seq, hash_of(content), found.st_mtime_ns)

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
        """Close a journal; the next append looks at the files afresh."""
        state = self._open.pop(journal, None)
        if state is not None:
            os.close(state.handle)

    def clean(self, journal: str) -> None:
        """Nothing of this journal is for the next cut."""
        for path in [path for path in self.dirty if path.rpartition("/")[0] == journal]:
            del self.dirty[path]

    def close(self) -> None:
        """Close all of them."""
        for journal in list(self._open):
            self.forget(journal)

    def mark(self, journal: str, lines: Sequence[tuple[int, bytes]]) -> bool:
        """Count the segments that hold `lines`, which must be the journal's last, as changed since the last cut.

        False where the files do not end with exactly these: the open segment alone does not tell, since git takes a
        segment that it tracks back to what was committed, and leaves a newer one that it does not know.
        """
        found = _from(self._root / journal, lines[0][0])
        if not b"".join(found.values()).endswith(b"".join(line + b"\n" for _, line in lines)):
            return False
        for path, content in found.items():
            self.dirty[f"{journal}/{path.name}"] = extent(content)
            self._unsynced.add(path)
        return True

    def changed(self) -> Iterator[str]:
        """Journals that were written since the last cut, and whose open segment somebody else has touched since."""
        for journal in sorted({path.rpartition("/")[0] for path in self.dirty}):
            if journal in self._open:
                try:
                    self._state(journal)
                except Replaced:
                    yield journal

    def take_dirty(self) -> dict[str, Extent]:
        """What was written since the last call, fsynced."""
        self.sync()
        dirty, self.dirty = self.dirty, {}
        return dirty

    def sync(self) -> None:
        """Make all that was appended durable in the journals too."""
        for path in self._unsynced:
            try:
                handle = os.open(path, os.O_RDONLY)
            except FileNotFoundError:
                continue  # replaced meanwhile: the next append puts it back from the log
            try:
                os.fdatasync(handle)
            finally:
                os.close(handle)
        self._unsynced.clear()
