"""The log: a group is there whole or not at all, and nothing that was acknowledged is ever dropped."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from kheish.errors import StoreFailed
from kheish.store.log import spills, wal
from kheish.store.log.wal import Group, Log

JOURNAL = "sessions/2026-11-22/fix-it/journal"


def group(first: int, count: int = 1, *, spills: tuple[tuple[str, bytes], ...] = ()) -> Group:
    lines = [(JOURNAL, orjson.dumps({"v": 1, "n": n, "seq": n, "kind": "x"})) for n in range(first, first + count)]
    return Group(wal.encode(lines), first, first + count - 1, spills)


def folder_of(root: Path) -> Path:
    return root / ".git" / "kheish" / "wal"


def numbers(found: wal.Recovered) -> list[list[int]]:
    return [[entry["n"] for _, entry in entries] for entries in found.groups]


class Writing:
    """A log that is written batch by batch: the next only when the one before is durable."""

    def __init__(self, root: Path, **options: Any) -> None:
        self.failed: list[StoreFailed] = []
        self.batches: list[list[int]] = []
        self._done = threading.Semaphore(0)
        self.seen: Callable[[], None] = lambda: None
        self.log = Log(root, on_batch=self._batch, on_failure=self._fail, **options)

    def _batch(self, groups: Sequence[Group], text: bytes) -> None:
        self.seen()
        self.batches.append([one.last for one in groups])
        for _ in groups:
            self._done.release()

    def _fail(self, error: StoreFailed) -> None:
        self.failed.append(error)
        self._done.release()

    def write(self, *groups: Group) -> None:
        with self.log._wake:  # held, so that the groups are one batch
            self.log._pending.extend(groups)
            self.log._wake.notify()
        for _ in groups:
            assert self._done.acquire(timeout=10)

    def wait(self) -> None:
        assert self._done.acquire(timeout=10)


def written(root: Path, batches: Sequence[Sequence[Group]], **options: Any) -> Path:
    """A log with these batches, closed; its only segment."""
    it = Writing(root, **options)
    it.log.open(1)
    for batch in batches:
        it.write(*batch)
    it.log.close()
    return wal.segments(folder_of(root))[0]


def raw_log(batches: Sequence[Sequence[Group]]) -> bytes:
    return b"".join(
        wal._line(number, len(batch) - 1 - place, one.body)
        for number, batch in enumerate(batches, 1)
        for place, one in enumerate(batch)
    )


def test_groups_come_back_in_order_and_whole(tmp_path: Path) -> None:
    path = written(tmp_path, [[group(1, 3), group(4)], [group(5, 2)]])
    found = wal.recover(folder_of(tmp_path))
    assert numbers(found) == [[1, 2, 3], [4], [5, 6]]
    assert (found.cut_bytes, found.damaged, found.last) == (0, [], 6)
    assert path.read_bytes() == raw_log([[group(1, 3), group(4)], [group(5, 2)]])


BATCHES = [[group(1, 2), group(3)], [group(4)], [group(5), group(6, 2), group(8)]]
LAST = raw_log(BATCHES[2:])  # as long as the real one: both batch numbers have one digit


@pytest.mark.parametrize("kept", range(len(LAST)))
def test_a_torn_last_batch_is_cut_at_every_offset_and_all_before_it_is_kept(tmp_path: Path, kept: int) -> None:
    whole = raw_log(BATCHES)
    size = len(whole) - len(LAST) + kept
    folder_of(tmp_path).mkdir(parents=True)
    path = folder_of(tmp_path) / f"{1:016d}.log"
    path.write_bytes(whole[:size])
    found = wal.recover(folder_of(tmp_path))
    assert numbers(found)[:3] == [[1, 2], [3], [4]]
    assert numbers(found)[3:] == [[5], [6, 7], [8]][: LAST[:kept].count(b"\n")]
    assert not found.damaged
    assert found.cut_bytes == len(LAST[:kept]) - LAST[:kept].rfind(b"\n") - 1
    assert numbers(wal.recover(folder_of(tmp_path))) == numbers(found)
    assert path.stat().st_size == size - found.cut_bytes


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_is_cut_only_where_nothing_later_was_acknowledged(tmp_path: Path, data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    firsts = iter(range(1, 100))
    lines = [
        (number, wal._line(number, size - 1 - place, group(next(firsts)).body))
        for number, size in enumerate(sizes, 1)
        for place in range(size)
    ]
    bad = data.draw(st.integers(0, len(lines) - 1))
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(lines[bad][1]) - 1)] * 2)))
    raw = bytearray(lines[bad][1])
    raw[start : end + 1] = bytes(end + 1 - start)
    folder = folder_of(tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{1:016d}.log"
    path.write_bytes(b"".join(bytes(raw) if at == bad else line for at, (_, line) in enumerate(lines)))
    found = wal.recover(folder)
    kept = [n for entries in numbers(found) for n in entries]
    if lines[bad][0] == len(sizes):  # of the last batch: never acknowledged
        assert kept == list(range(1, bad + 1))
        assert not found.damaged and found.cut_bytes > 0
    else:  # the two lines may have lost the newline between them
        lost = {bad + 1} if raw.endswith(b"\n") else {bad + 1, bad + 2}
        rest = [n for n in range(1, len(lines) + 1) if n not in lost]
        if raw.endswith(b"\n"):
            assert kept == rest
            assert len(found.damaged) == 1 and not found.cut_bytes
        else:
            assert kept == rest or (bad + 2 == len(lines) and found.cut_bytes)


def test_a_torn_end_behind_damage_is_cut_and_the_damage_reported(tmp_path: Path) -> None:
    path = written(tmp_path, BATCHES)
    raw = path.read_bytes().split(b"\n")
    raw[1] = b"\0" * len(raw[1])
    path.write_bytes(b"\n".join(raw)[:-9])
    found = wal.recover(folder_of(tmp_path))
    assert numbers(found) == [[1, 2], [4], [5], [6, 7]]
    assert found.damaged == [f"{path.name}:2: a damaged line in the log"]
    assert found.cut_bytes > 0


def test_a_changed_batch_number_is_damage(tmp_path: Path) -> None:
    path = written(tmp_path, BATCHES)
    path.write_bytes(path.read_bytes().replace(b'{"b":2,', b'{"b":9,'))
    found = wal.recover(folder_of(tmp_path))
    assert numbers(found) == [[1, 2], [3], [5], [6, 7], [8]]
    assert len(found.damaged) == 1


def test_the_first_batch_of_a_later_segment_may_be_torn_too(tmp_path: Path) -> None:
    it = Writing(tmp_path, segment_bytes=300)
    it.log.open(1)
    for n in range(1, 9):
        it.write(group(n))
    it.write(group(9), group(10), group(11))
    it.log.close()
    path = wal.segments(folder_of(tmp_path))[-1]
    raw = path.read_bytes().split(b"\n")
    at = next(place for place, line in enumerate(raw) if b'"n":9,' in line)
    raw[at] = b"\0" * len(raw[at])
    path.write_bytes(b"\n".join(raw))
    found = wal.recover(folder_of(tmp_path))
    assert numbers(found) == [[n] for n in range(1, 9)]
    assert not found.damaged and found.cut_bytes > 0


def test_reading_without_cutting_leaves_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, BATCHES)
    path.write_bytes(path.read_bytes()[:-5])
    size = path.stat().st_size
    assert wal.recover(folder_of(tmp_path), cut=False).cut_bytes > 0
    assert path.stat().st_size == size


def test_segments_go_only_when_all_their_entries_are_committed(tmp_path: Path) -> None:
    it = Writing(tmp_path, segment_bytes=200)
    it.log.open(1)
    for n in range(1, 7):
        it.write(group(n, 2) if n == 6 else group(n))
    before = [int(path.stem) for path in wal.segments(folder_of(tmp_path))]
    assert len(before) > 2

    def first_after_drop(committed: int, n: int) -> int:
        it.log.drop(committed)
        it.write(group(n))  # may come before the drop
        it.write(group(n + 1))
        return int(wal.segments(folder_of(tmp_path))[0].stem)

    assert first_after_drop(before[1] - 2, 8) == before[0]  # the first segment has one more
    assert first_after_drop(before[1] - 1, 10) == before[1]
    it.log.drop(11)
    it.log.close()
    assert numbers(wal.recover(folder_of(tmp_path))) == []
    assert wal.recover(folder_of(tmp_path)).last == 11


def test_a_new_log_goes_on_beside_what_is_not_committed(tmp_path: Path) -> None:
    written(tmp_path, [[group(1), group(2)]])
    it = Writing(tmp_path)
    it.log.open(wal.recover(folder_of(tmp_path)).last + 1)
    it.write(group(3))
    it.log.close()
    assert numbers(wal.recover(folder_of(tmp_path))) == [[1], [2], [3]]


def test_numbers_of_an_unreadable_segment_are_not_given_again(tmp_path: Path) -> None:
    path = written(tmp_path, [[group(1)], [group(2)]])
    (folder_of(tmp_path) / f"{3:016d}.log").touch()
    path.write_bytes(b"\0" * path.stat().st_size)
    found = wal.recover(folder_of(tmp_path))
    assert found.last == 2
    assert len(found.damaged) == 1


def test_spills_are_on_disk_before_the_line_that_names_them(tmp_path: Path) -> None:
    it = Writing(tmp_path)
    it.log.open(1)
    name = "sessions/2026-11-22/fix-it/spill/abc"
    found: list[bytes] = []
    it.seen = lambda: found.append((tmp_path / name).read_bytes())
    it.write(group(1, spills=((name, b"large"),)))
    it.write(group(2, spills=((name, b"large"),)))
    it.log.close()
    assert found == [b"large", b"large"]
    assert [path.name for path in (tmp_path / name).parent.iterdir()] == ["abc"]


@pytest.mark.parametrize("is_placed", [False, True])
def test_a_payload_whose_line_was_never_written_is_swept(tmp_path: Path, is_placed: bool) -> None:
    lost, named, committed = (f"sessions/2026-11-22/{name}/spill/abc" for name in ("lost", "named", "committed"))
    for path in (lost, named, committed):
        spills.place(tmp_path, path, b"large", fsync=True)
    if not is_placed:  # the kill came before it had its place in the tree
        (tmp_path / lost).unlink()
    (tmp_path / spills.FOLDER / ".unfinished").touch()

    swept = spills.sweep(tmp_path, {named}, lambda path: path == committed)

    assert swept == [lost]
    assert not (tmp_path / lost).exists() and not spills.exists(tmp_path, lost)
    assert (tmp_path / named).read_bytes() == (tmp_path / committed).read_bytes() == b"large"
    assert sorted(spills.kept(tmp_path)) == sorted([named, committed])
    assert not list((tmp_path / spills.FOLDER).glob(".*"))


def test_a_spill_that_cannot_be_written_keeps_its_line_out(tmp_path: Path) -> None:
    (tmp_path / "sessions").write_text("a file where a folder must be")
    it = Writing(tmp_path)
    it.log.open(1)
    it.log.submit(group(1, spills=(("sessions/spill/abc", b"large"),)))
    it.wait()
    assert it.failed and not it.batches
    it.log.close()
    assert numbers(wal.recover(folder_of(tmp_path))) == []


def test_durability_os_writes_the_same_without_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int) -> None:
        raise OSError(5, "must not be called")

    monkeypatch.setattr(os, "fdatasync", refuse)
    it = Writing(tmp_path, durability="os")
    it.log.open(1)
    it.write(group(1))
    it.log.close()
    assert not it.failed
    assert numbers(wal.recover(folder_of(tmp_path))) == [[1]]


def test_a_failed_fsync_is_for_good_and_never_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def fail(handle: int) -> None:
        calls.append(handle)
        raise OSError(5, "Input/output error")

    it = Writing(tmp_path)
    it.log.open(1)
    it.write(group(1))
    monkeypatch.setattr(os, "fdatasync", fail)
    it.log.submit(group(2))
    it.wait()
    monkeypatch.undo()
    assert it.batches == [[1]] and len(it.failed) == 1 and not it.log.is_open
    with pytest.raises(StoreFailed):
        it.log.submit(group(3))
    it.log.close()
    assert len(calls) == 1


def test_a_full_disk_fails_the_log_and_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    """In a process of its own, with a limit on the size of files that stands for a full disk."""
    code = f"import tests.store.log.test_wal as t; from pathlib import Path; t.fill(Path({str(tmp_path)!r}))"
    limits = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # noqa: E731
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}  # else it would keep the first 1,000 bytes of bytecode
    done = subprocess.run(
        [sys.executable, "-c", code], preexec_fn=limits, capture_output=True, text=True, check=False, env=env
    )
    assert done.returncode == 0, done.stderr
    acknowledged = int(done.stdout)
    found = wal.recover(folder_of(tmp_path))
    assert 2 < acknowledged == found.last
    assert found.cut_bytes > 0 and not found.damaged


def fill(root: Path) -> None:
    """Write until it fails; print the last number that was acknowledged."""
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    it = Writing(root)
    it.log.open(1)
    number = 0
    while not it.failed:
        number += 1
        it.write(group(number))
    try:
        it.log.submit(group(number))
    except StoreFailed:
        print(it.batches[-1][-1])
