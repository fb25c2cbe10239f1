"""The scribe, as a real process: what the log has goes into journals and index, also after a kill, and is put back."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from kheish.store import pipes
from kheish.store.log import journal, wal
from kheish.store.log.index import Reader
from tests.store import roots

JOURNAL = "sessions/2026-11-22/fix-it/journal"
FILE = f"{JOURNAL}/000001.jsonl"


class Fixture:
    """A state root with a log, and a scribe that hears of it."""

    def __init__(self, tmp_path: Path) -> None:
        self.root = roots.make(tmp_path)
        self.notices: list[dict[str, Any]] = []
        args = [sys.executable, "-m", "kheish.store.log.scribe", os.fspath(self.root)]
        self.noticed = asyncio.Event()
        self.scribe = pipes.Child(args, on_notice=self._note)
        self.batch = 0
        self.last = 0
        self.log_file = self.root / ".git" / "kheish" / "wal" / f"{1:016d}.log"
        self.log_file.parent.mkdir(parents=True)

    def _note(self, notice: dict[str, Any]) -> None:
        self.notices.append(notice)
        self.noticed.set()

    def log(self, count: int = 1, pad: int = 0, where: str = JOURNAL, said: str = "x") -> str:
        """Put entries into the log, one batch; its text."""
        lines = []
        for n in range(self.last + 1, self.last + count + 1):
            entry = {"v": 1, "n": n, "seq": n, "kind": "x", "session": "fix-it", "run": None, "pad": said * pad}
            lines.append((where, orjson.dumps(entry)))
        self.last += count
        self.batch += 1
        text = wal._line(self.batch, 0, wal.encode(lines))
        with self.log_file.open("ab") as file:
            file.write(text)
        return text.decode()

    async def apply(self, count: int = 1, pad: int = 0, things: Sequence[Any] = ()) -> None:
        """Log entries, tell the scribe, and wait until it has them."""
        self.scribe.send_nowait("apply", text=self.log(count, pad), things=things)
        await self.scribe.request("things", things=[])  # answered after it

    async def commit(self) -> None:
        """Commit what the scribe says that a commit holds."""
        worker = roots.worker(self.root)
        await worker.start()
        held = await self.scribe.request("cut")
        said = {"cut": {"n_from": 1, "n_to": held["n"]}, "message": "x", "journals": held["journals"], "records": []}
        answer = await worker.request("commit", **said)
        await worker.close()
        assert answer.get("commit"), answer

    @property
    def seqs(self) -> list[int]:
        return [entry["seq"] for entry in journal.read(self.root, JOURNAL)]

    def named(self, notice: str) -> list[dict[str, Any]]:
        return [one for one in self.notices if one["notice"] == notice]

    def put_aside(self) -> list[bytes]:
        return [path.read_bytes() for path in sorted((self.root / "conflicts").glob("*"))]


@pytest_asyncio.fixture
async def at(tmp_path: Path) -> AsyncIterator[Fixture]:
    fixture = Fixture(tmp_path)
    await fixture.scribe.start()
    await fixture.scribe.request("start")
    yield fixture
    await fixture.scribe.close()


def index_of(at: Fixture) -> Reader:
    return Reader(at.root / ".kheish" / "index.sqlite")


async def test_a_batch_goes_into_journal_and_index(at: Fixture) -> None:
    await at.apply(3, things=[["run", "r1", "fix-it", "queued", 1, 3, '{"run_id":"r1"}', None]])
    assert at.seqs == [1, 2, 3]
    assert at.notices[-1] == {"notice": "journaled", "n": 3}
    assert [n for n, _, _ in index_of(at).events(0, limit=9)] == [1, 2, 3]
    assert index_of(at).thing("run", "r1") == {"run_id": "r1"}


async def test_what_unicode_calls_the_end_of_a_line_is_none_in_the_log(at: Fixture) -> None:
    for end in ("\u2028", "\u2029", "\x85"):
        at.scribe.send_nowait("apply", text=at.log(2, 1, said=f"one{end}two"), things=[])
    await at.scribe.request("things", things=[])
    assert at.seqs == [1, 2, 3, 4, 5, 6]
    assert at.notices[-1] == {"notice": "journaled", "n": 6}


async def test_a_cut_names_the_segments_that_changed_and_how_far(at: Fixture) -> None:
    await at.apply(100, pad=1000)
    held = await at.scribe.request("cut")
    files = journal.segments(at.root / JOURNAL)
    assert len(files) == 2
    named = {f"{JOURNAL}/{path.name}": list(journal.extent(path.read_bytes())) for path in files}
    assert held == {"journals": named, "n": 100, "kept": None}
    assert (await at.scribe.request("cut"))["journals"] == {}
    await at.apply()
    assert list((await at.scribe.request("cut"))["journals"]) == [f"{JOURNAL}/000002.jsonl"]


async def test_a_commit_is_not_known_before_the_documents_of_its_entries_are(at: Fixture) -> None:
    """A scribe that was started again has entries from the log, and documents when the daemon brings them: a stop in
    between must leave a trace, for the log is cut behind the last commit."""
    at.log(3)
    await at.scribe.respawn()
    await at.scribe.request("start")

    at.scribe.send_nowait("committed", commit="c1", n=3)
    await at.scribe.request("things", things=[])
    assert index_of(at).fact("commit") is None

    await at.scribe.request("things", things=[["run", "r1", "fix-it", "queued", 1, 3, "{}", None]], n=3)
    at.scribe.send_nowait("committed", commit="c2", n=3)
    await at.scribe.request("things", things=[])
    assert (index_of(at).fact("commit"), index_of(at).fact("n")) == ("c2", 3)


async def test_a_commit_is_found_at_its_own_time_however_late_the_index_learns_of_it(at: Fixture) -> None:
    at.log(3)
    at.scribe.send_nowait("committed", commit="c1", n=3, time=1_000)
    await at.scribe.request("things", things=[])

    index = index_of(at)
    assert index.commit_at(1_000) == (3, "c1", 1_000)
    assert index.commit_at(999) is None


async def test_what_was_not_done_when_it_was_killed_is_done_at_the_next_start(at: Fixture) -> None:
    await at.apply(50, pad=1000)
    size = (at.root / FILE).stat().st_size
    for _ in range(30):
        at.scribe.send_nowait("apply", text=at.log(5, pad=1000), things=[])
    os.kill(at.scribe.pid or 0, signal.SIGKILL)
    await at.scribe.respawn()
    await at.scribe.request("start")
    assert at.seqs == list(range(1, 201))
    assert [n for n, _, _ in index_of(at).events(0, limit=999)] == at.seqs
    assert (at.root / FILE).stat().st_size >= size
    held = await at.scribe.request("cut")
    assert len(held["journals"]) == len(journal.segments(at.root / JOURNAL))
    assert held["n"] == 200


async def test_a_start_with_everything_done_changes_nothing(at: Fixture) -> None:
    await at.apply(5)
    before = (at.root / FILE).read_bytes()
    for _ in range(2):
        await at.scribe.respawn()
        assert (await at.scribe.request("start"))["n"] == 5
    assert (at.root / FILE).read_bytes() == before


async def test_a_line_that_was_torn_by_a_kill_is_written_again(at: Fixture) -> None:
    await at.apply(5)
    await at.scribe.close()
    os.truncate(at.root / FILE, (at.root / FILE).stat().st_size - 7)
    await at.scribe.start()
    await at.scribe.request("start")
    assert at.seqs == [1, 2, 3, 4, 5]


def delete(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


@pytest.mark.parametrize("change", [delete, truncate, empty])
async def test_a_lost_journal_comes_back_from_commit_and_log(at: Fixture, change: Any) -> None:
    await at.apply(100, pad=1000)
    await at.commit()
    await at.apply(50, pad=1000)
    before = {path.name: path.read_bytes() for path in journal.segments(at.root / JOURNAL)}
    at.log_file.write_bytes(b"")  # committed: the log may have let go of it
    at.last, tail = 100, [entry for entry in journal.read(at.root, JOURNAL) if entry["seq"] > 100]
    at.log_file.write_bytes(wal._line(1, 0, wal.encode([(JOURNAL, orjson.dumps(entry)) for entry in tail])))
    at.last, at.batch = 150, 1
    for path in journal.segments(at.root / JOURNAL):
        change(path)
    await at.apply()
    assert at.seqs == list(range(1, 152))
    after = {path.name: path.read_bytes() for path in journal.segments(at.root / JOURNAL)}
    assert all(after[name].startswith(content) for name, content in before.items())
    assert at.named("restored")[0]["paths"] and not at.named("damaged")
    assert not at.put_aside() or change is truncate  # a torn line is no person's content
    await at.apply()
    assert at.seqs == list(range(1, 153))


def note_below(raw: bytes) -> bytes:
    return raw + b"# a person's note\n"


def note_without_newline(raw: bytes) -> bytes:
    return raw + b"# a person's note"


def other_words(raw: bytes) -> bytes:
    return raw.replace(b'"n":2,', b'"n":7,', 1) + b" "


def nonsense(raw: bytes) -> bytes:
    return b"nothing of this is ours\n"


@pytest.mark.parametrize("edit", [note_below, note_without_newline, other_words, nonsense])
@pytest.mark.parametrize("committed", [True, False])
async def test_an_outside_edit_is_kept_aside_and_ours_put_back(at: Fixture, edit: Any, committed: bool) -> None:
    await at.apply(5)
    if committed:
        await at.commit()
    before = (at.root / FILE).read_bytes()
    (at.root / FILE).write_bytes(edit(before))
    await at.apply()
    assert at.seqs == [1, 2, 3, 4, 5, 6]
    assert (at.root / FILE).read_bytes().startswith(before)
    assert at.put_aside() == [edit(before)]
    assert [(one["paths"], len(one["aside"])) for one in at.named("restored")] == [([FILE], 1)]
    assert FILE in (await at.scribe.request("cut"))["journals"]


async def test_a_replaced_file_with_an_edit_of_what_no_commit_has_is_put_back(at: Fixture) -> None:
    await at.apply(2)
    await at.commit()
    await at.apply(3)
    before = (at.root / FILE).read_bytes()
    edited = before.replace(b'"n":4,', b'"n":9,')
    other = at.root / "other"
    other.write_bytes(edited)
    other.replace(at.root / FILE)
    await at.apply()
    assert (at.root / FILE).read_bytes().startswith(before)
    assert at.put_aside() == [edited]


async def test_a_journal_that_cannot_be_made_whole_stops_alone(at: Fixture) -> None:
    await at.apply(5)
    at.log_file.write_bytes(b"")  # neither log nor commit has it
    (at.root / FILE).unlink()
    await at.apply()
    assert at.named("damaged")[0]["journal"] == JOURNAL
    assert not (at.root / FILE).exists()
    other = "journals/daemon"
    at.scribe.send_nowait("apply", text=_line(other, 1, 99), things=[])
    await at.scribe.request("things", things=[])
    assert [entry["n"] for entry in journal.read(at.root, other)] == [99]


async def taken_back(at: Fixture) -> dict[str, bytes]:
    """git has taken a closed segment back to what was committed, and left the one after it; what both should hold."""
    await at.apply(50, pad=1000)
    await at.commit()
    committed = (at.root / FILE).read_bytes()
    await at.apply(50, pad=1000)
    whole = {path.name: path.read_bytes() for path in journal.segments(at.root / JOURNAL)}
    assert len(whole) == 2
    other = at.root / "other"
    other.write_bytes(committed)
    other.replace(at.root / FILE)
    return whole


async def hold_for_a_moment(at: Fixture) -> None:
    merging = at.root / ".git" / "MERGE_HEAD"
    merging.touch()
    await at.apply()
    merging.unlink()
    async with asyncio.timeout(5):
        while "held" in await at.scribe.request("cut"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def restart(at: Fixture) -> None:
    await at.scribe.respawn()
    await at.scribe.request("start")
    await at.apply()


@pytest.mark.parametrize("what", [hold_for_a_moment, restart])
async def test_a_closed_segment_that_git_took_back_is_whole_again_in_the_next_cut(at: Fixture, what: Any) -> None:
    whole = await taken_back(at)
    await what(at)
    after = {path.name: path.read_bytes() for path in journal.segments(at.root / JOURNAL)}
    assert after["000001.jsonl"] == whole["000001.jsonl"]
    assert after["000002.jsonl"].startswith(whole["000002.jsonl"])
    assert at.seqs == list(range(1, 102))
    assert [path for one in at.named("restored") for path in one["paths"]] == [FILE]


async def test_what_the_log_has_beyond_what_it_was_told_is_for_a_later_cut(at: Fixture) -> None:
    told, later = at.log(3), at.log(2)
    (at.root / JOURNAL).mkdir(parents=True)
    at.scribe.send_nowait("apply", text=told, things=[])
    await at.scribe.request("things", things=[])
    (at.root / FILE).unlink()
    told, latest = later, at.log(4)
    at.scribe.send_nowait("apply", text=told, things=[])
    held = await at.scribe.request("cut")
    assert (held["n"], at.seqs) == (5, [1, 2, 3, 4, 5])
    assert held["journals"] == {FILE: list(journal.extent((at.root / FILE).read_bytes()))}
    at.scribe.send_nowait("apply", text=latest, things=[])
    assert ((await at.scribe.request("cut"))["n"], at.seqs) == (9, list(range(1, 10)))


async def test_after_a_batch_that_failed_no_cut_says_more_than_journals_have(at: Fixture) -> None:
    await at.apply(2)
    await at.commit()
    (at.root / FILE).unlink()
    (at.root / FILE).mkdir()
    at.scribe.send_nowait("apply", text=at.log(3), things=[])
    at.scribe.send_nowait("apply", text=at.log(1), things=[])
    held = await at.scribe.request("cut")
    assert at.named("failed") and (held["n"], held["journals"]) == (2, {})
    (at.root / FILE).rmdir()
    await restart(at)
    assert (await at.scribe.request("cut"))["n"] == 7
    assert [entry["n"] for entry in journal.read(at.root, JOURNAL)] == [1, 2, 3, 4, 5, 6, 7]


async def test_the_journal_of_a_session_that_was_deleted_is_not_begun_again(at: Fixture) -> None:
    await at.apply(3)
    await at.commit()
    at.log_file.write_bytes(b"")
    await at.apply(2)
    tomb = {"v": 1, "n": 6, "seq": 1, "kind": "session.deleted", "stream": "daemon", "run": None,
            "data": {"path": JOURNAL.removesuffix("/journal")}}  # fmt: skip
    with at.log_file.open("ab") as file:
        file.write(wal._line(3, 0, wal.encode([("journals/daemon", orjson.dumps(tomb))])))
    (at.root / FILE).unlink()  # a commit has taken it away; the log goes by whole segments
    (at.root / JOURNAL).rmdir()

    await at.scribe.respawn()
    await at.scribe.request("start")

    held = await at.scribe.request("cut")
    assert list(held["journals"]) == ["journals/daemon/000001.jsonl"] and held["kept"] is None
    assert not at.named("damaged") and not (at.root / FILE).exists()


async def test_what_a_damaged_journal_lacks_must_stay_in_the_log(at: Fixture) -> None:
    await at.apply(5)
    at.log_file.write_bytes(b"")  # neither log nor commit has it
    (at.root / FILE).unlink()
    await at.apply()
    await at.apply()
    held = await at.scribe.request("cut")
    assert (held["n"], held["kept"], held["journals"]) == (7, 6, {})


def _line(where: str, seq: int, n: int) -> str:
    entry = {"v": 1, "n": n, "seq": seq, "kind": "x", "stream": "daemon"}
    return wal._line(1, 0, wal.encode([(where, orjson.dumps(entry))])).decode()


async def test_a_lost_index_is_begun_again_and_said(at: Fixture) -> None:
    await at.apply(2)
    for path in (at.root / ".kheish").glob("index.sqlite*"):
        path.unlink()
    await at.apply(2)
    assert at.named("index_lost")
    assert await at.scribe.request("reindex", journals=[JOURNAL]) == 4
    assert [n for n, _, _ in index_of(at).events(0, limit=9)] == [1, 2, 3, 4]


async def test_batches_that_follow_fast_are_gathered_for_the_index_but_not_while_a_reader_waits(at: Fixture) -> None:
    for _ in range(50):
        at.scribe.send_nowait("apply", text=at.log(), things=[["run", "r1", "fix-it", "x", 1, at.last, "{}", None]])
    at.scribe.send_nowait("write")
    await at.scribe.request("whole")  # answered after them
    assert at.named("journaled")[-1]["n"] == 50
    assert len(at.named("journaled")) < 25
    assert len(index_of(at).events(0, limit=99)) == 50


async def test_gathered_rows_are_written_without_a_further_request(at: Fixture) -> None:
    for _ in range(3):
        at.scribe.send_nowait("apply", text=at.log(), things=[])
    async with asyncio.timeout(10):
        while not at.notices or at.notices[-1] != {"notice": "journaled", "n": 3}:
            at.noticed.clear()
            await at.noticed.wait()
