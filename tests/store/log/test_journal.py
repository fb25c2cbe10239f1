"""Journals: segments, `seq` without gaps, and files that somebody else changed."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

import orjson
import pytest

from kheish.errors import Damaged
from kheish.store.log import journal
from kheish.store.log.journal import Replaced, Writer

NAME = "sessions/2026-11-22/fix-it/journal"


def line(seq: int, size: int = 0) -> tuple[int, bytes]:
    return seq, orjson.dumps({"v": 1, "n": seq * 10, "seq": seq, "pad": "x" * size})


def lines(first: int, last: int, size: int = 0) -> list[tuple[int, bytes]]:
    return [line(seq, size) for seq in range(first, last + 1)]


def seqs(root: Path, **options: Any) -> list[int]:
    return [entry["seq"] for entry in journal.read(root, NAME, **options)]


def first_file(root: Path) -> Path:
    return root / NAME / "000001.jsonl"


def test_entries_come_back_in_order(tmp_path: Path) -> None:
    Writer(tmp_path).append(NAME, lines(1, 3))
    assert seqs(tmp_path) == [1, 2, 3]
    assert first_file(tmp_path).read_bytes() == b"".join(raw + b"\n" for _, raw in lines(1, 3))
    assert journal.tail(tmp_path / NAME) == journal.Tail(1, first_file(tmp_path).stat().st_size, 3, 30)


def test_what_is_there_already_is_passed_over(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.append(NAME, lines(1, 3))
    writer.append(NAME, lines(1, 4))
    Writer(tmp_path).append(NAME, lines(2, 5))
    assert seqs(tmp_path) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_segment_is_closed_at_64_kib_and_never_changes_again(tmp_path: Path, at_once: bool) -> None:
    writer = Writer(tmp_path)
    wanted = lines(1, 300, 1000)
    for part in [wanted] if at_once else [[one] for one in wanted]:
        writer.append(NAME, part)
    files = journal.segments(tmp_path / NAME)
    assert [path.name for path in files] == [journal.name(number) for number in range(1, len(files) + 1)]
    longest = max(len(raw) + 1 for _, raw in wanted)
    assert all(64 * 1024 <= path.stat().st_size < 64 * 1024 + longest for path in files[:-1])
    before = [path.read_bytes() for path in files[:-1]]
    Writer(tmp_path).append(NAME, lines(301, 400, 1000))
    assert [path.read_bytes() for path in files[:-1]] == before
    assert seqs(tmp_path) == list(range(1, 401))


def test_reading_from_a_seq_opens_only_what_it_needs(tmp_path: Path) -> None:
    Writer(tmp_path).append(NAME, lines(1, 400, 1000))
    files = journal.segments(tmp_path / NAME)
    starts = [orjson.loads(path.read_bytes().split(b"\n")[0])["seq"] for path in files]
    for seq in (1, starts[1] - 1, starts[1], starts[2] + 5, 400):
        assert seqs(tmp_path, from_seq=seq) == list(range(seq, 401))
    assert seqs(tmp_path, from_seq=401) == []
    files[1].write_bytes(b"not a journal\n")
    assert seqs(tmp_path, from_seq=starts[3])[0] == starts[3]


def test_reading_back_gives_the_newest_segment_first(tmp_path: Path) -> None:
    Writer(tmp_path).append(NAME, lines(1, 200, 1000))
    parts = [[entry["seq"] for entry in part] for part in journal.Segments(tmp_path, NAME).back()]
    assert [seq for part in reversed(parts) for seq in part] == list(range(1, 201))
    assert len(parts) == len(journal.segments(tmp_path / NAME)) > 2


def test_a_gap_is_damage_with_file_and_line(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.append(NAME, lines(1, 2))
    with pytest.raises(Damaged, match="seq 4 where 3 follows"):
        writer.append(NAME, lines(4, 5))
    assert seqs(tmp_path) == [1, 2]
    first_file(tmp_path).write_bytes(b"".join(raw + b"\n" for _, raw in (line(1), line(2), line(4))))
    with pytest.raises(Damaged, match=r"000001\.jsonl:3: seq 4 where 3 follows"):
        seqs(tmp_path)


def test_a_repetition_over_segments_is_damage(tmp_path: Path) -> None:
    Writer(tmp_path).append(NAME, lines(1, 100, 1000))
    second = tmp_path / NAME / "000002.jsonl"
    second.write_bytes(line(1)[1] + b"\n" + second.read_bytes())
    with pytest.raises(Damaged, match=r"000002\.jsonl:1: seq 1 where"):
        seqs(tmp_path)


def test_a_line_that_is_no_json_is_damage(tmp_path: Path) -> None:
    Writer(tmp_path).append(NAME, lines(1, 3))
    first_file(tmp_path).write_bytes(line(1)[1] + b"\n{oops\n" + line(3)[1] + b"\n")
    with pytest.raises(Damaged, match=r"fix-it/journal/000001\.jsonl:2: not a journal line"):
        seqs(tmp_path)


def test_a_torn_last_line_is_cut_when_the_journal_is_opened(tmp_path: Path) -> None:
    Writer(tmp_path).append(NAME, lines(1, 3))
    whole = first_file(tmp_path).read_bytes()
    for cut in range(1, len(line(3)[1]) + 1):
        first_file(tmp_path).write_bytes(whole[:-cut])
        Writer(tmp_path).append(NAME, lines(3, 4))
        assert seqs(tmp_path) == [1, 2, 3, 4]


def test_an_empty_new_segment_goes_on_where_the_one_before_ends(tmp_path: Path) -> None:
    Writer(tmp_path).append(NAME, lines(1, 70, 1000))
    following = journal.segments(tmp_path / NAME)[-1]
    following.write_bytes(b"")
    end = journal.tail(tmp_path / NAME)
    assert (end.segment, end.size) == (int(following.stem), 0)
    Writer(tmp_path).append(NAME, lines(1, 80, 1000))
    assert seqs(tmp_path) == list(range(1, 81))


def test_a_segment_whose_end_a_power_cut_took_goes_on_before_the_next_one_is_begun(tmp_path: Path) -> None:
    Writer(tmp_path).append(NAME, lines(1, 80, 1000))
    whole = [path.read_bytes() for path in journal.segments(tmp_path / NAME)]
    assert len(whole) == 2
    for torn in (-1, -1500, -5000):
        for left in (b"", whole[1][:10]):  # of the next segment its name was kept, and no line
            first_file(tmp_path).write_bytes(whole[0][:torn])
            journal.segments(tmp_path / NAME)[-1].write_bytes(left)
            Writer(tmp_path).append(NAME, lines(50, 80, 1000))
            assert [path.read_bytes() for path in journal.segments(tmp_path / NAME)] == whole


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.replace(path)


def lengthen(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"# a note\n")


def shorten(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


@pytest.mark.parametrize("change", [replace, lengthen, shorten, Path.unlink])
def test_a_file_that_is_not_what_was_left_is_noticed_before_the_write(tmp_path: Path, change: Any) -> None:
    writer = Writer(tmp_path)
    writer.append(NAME, lines(1, 3))
    change(first_file(tmp_path))
    before = first_file(tmp_path).read_bytes() if first_file(tmp_path).exists() else None
    with pytest.raises(Replaced):
        writer.append(NAME, lines(4, 4))
    assert (first_file(tmp_path).read_bytes() if first_file(tmp_path).exists() else None) == before


def test_many_journals_are_written_with_few_open_files(tmp_path: Path) -> None:
    writer, before = Writer(tmp_path), len(os.listdir("/proc/self/fd"))
    names = [f"sessions/2026-11-22/s{number}/journal" for number in range(journal.OPEN_FILES + 40)]
    for seq in (1, 2):
        for name in names:
            writer.append(name, lines(seq, seq))
    assert len(os.listdir("/proc/self/fd")) - before <= journal.OPEN_FILES
    assert all([entry["seq"] for entry in journal.read(tmp_path, name)] == [1, 2] for name in names)


def test_a_write_that_fails_half_way_is_taken_up_again(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.append(NAME, lines(1, 3))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (first_file(tmp_path).stat().st_size + 500, hard))
    try:
        with pytest.raises(OSError, match="large"):
            writer.append(NAME, lines(4, 8, 400))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    writer.append(NAME, lines(4, 9, 400))
    assert seqs(tmp_path) == list(range(1, 10))


def test_dirty_names_what_changed_since_the_last_cut(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.append(NAME, lines(1, 100, 1000))
    taken = writer.take_dirty()
    files = journal.segments(tmp_path / NAME)
    assert taken == {f"{NAME}/{path.name}": journal.extent(path.read_bytes()) for path in files}
    assert writer.take_dirty() == {}
    assert writer.mark(NAME, lines(99, 100, 1000))
    assert list(writer.take_dirty()) == [f"{NAME}/000002.jsonl"]


def test_a_journal_is_not_written_through_a_symbolic_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"")
    (tmp_path / NAME).mkdir(parents=True)
    first_file(tmp_path).symlink_to(outside)
    with pytest.raises(OSError, match="symbolic link"):
        Writer(tmp_path).append(NAME, lines(1, 1))
    assert outside.read_bytes() == b""
