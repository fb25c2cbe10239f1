"""Journals of owners, through state, log, scribe and git: a kill loses nothing, and no start looks at all of them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from kheish.daemon import boot
from kheish.daemon.batches import Batches
from kheish.daemon.children import child, on_loop, scribe
from kheish.daemon.next_cut import NextCut
from kheish.domain import nouns as domain_nouns
from kheish.domain.events import Spilled
from kheish.errors import Damaged
from kheish.offline import verifying
from kheish.store.bus import Bus
from kheish.store.git.committer import Committer
from kheish.store.log import journal
from kheish.store.log.index import Reader
from kheish.store.log.wal import Group, Log
from tests.store import roots
from tests.support import trial
from tests.support.trial import Letter, LetterEnded, LetterMoved, LetterSent

BOXES = ("a", "b", "c.jsonl")
LONG = "long " * 8000


@pytest.fixture(autouse=True)
def trial_nouns() -> Iterator[None]:
    with trial.registered():
        yield


class Life:
    """What a daemon has below its API, from one start to its end or kill."""

    def __init__(self, root: Path) -> None:
        loop = asyncio.get_running_loop()
        self.root = root
        self.bus = Bus()
        self.scribe = scribe(root, domain_nouns.NOUNS.filters, on_notice=self._heard)
        self.git = child("kheish.store.git.gitworker", root)
        self.log = Log(root, on_batch=on_loop(loop, self._take), on_failure=on_loop(loop, print))
        self.state = domain_nouns.state(root, index=Reader(root / ".kheish" / "index.sqlite"), submit=self.log.submit)
        self.next_cut = NextCut(self.state, self.scribe)
        self.batches = Batches(self.state, self.bus, self.log, self.scribe, self.next_cut)
        self.committer = self.next_cut.committer = Committer(self.git, self.next_cut.gather, self.batches.committed)

    def _heard(self, notice: dict[str, Any]) -> None:
        if notice["notice"] == "journaled":
            self.state.made_journaled(notice["n"])

    def _take(self, groups: list[Group], text: bytes) -> None:
        self.batches.take(groups, text)

    async def start(self) -> Life:
        booted, before, log = await boot.recover(self.root, self.scribe, self.git, print)
        self.state.n = self.state.durable_n = self.state.journaled_n = booted.next_n - 1
        await boot.index(self.root, self.scribe, self.git, before, log, booted, print)
        self.batches.recovered(log.groups, booted.committed, booted.changes)
        await boot.find_stream_ends(self.state)
        self.log.open(booted.next_n)
        assert not booted.damaged
        return self

    async def fill(self, box: str, first: int) -> None:
        """Send ten letters, change three of them, and end all but two."""
        state = self.state
        await state.load_owner("boxes", box)
        for number in range(first, first + 10):
            state.append(LetterSent(box_id=box, id=f"{box}{number}", text="hello").on())
        for number in range(first, first + 3):
            state.append(LetterMoved(box_id=box, id=f"{box}{number}", text=LONG).on())
        for number in range(first + 2, first + 10):
            state.append(LetterEnded(box_id=box, id=f"{box}{number}").on())
        await state.durable()

    async def kill(self) -> None:
        """End as a killed daemon does: nothing is told to the children any more."""
        for one in (self.scribe, self.git):
            assert one.pid is not None
            os.kill(one.pid, signal.SIGKILL)
        self.log.close()
        await self.scribe.close()
        await self.git.close()

    def held(self) -> dict[str, dict[str, Letter]]:
        return {box: dict(self.state.table(Letter, f"boxes/{box}")) for box in BOXES}

    async def load(self) -> dict[str, dict[str, Letter]]:
        for box in BOXES:
            await self.state.load_owner("boxes", box)
        return self.held()


async def test_a_kill_loses_nothing_of_any_owner(tmp_path: Path) -> None:
    root = roots.make(tmp_path)
    first = await Life(root).start()
    for box in BOXES:
        await first.fill(box, 0)
    await first.state.caught_up()
    assert await first.committer.flush()
    assert first.scribe.pid is not None
    os.kill(first.scribe.pid, signal.SIGSTOP)  # the log has what follows, and nothing else
    for box in BOXES:
        await first.fill(box, 10)
    before, n = first.held(), first.state.n
    await first.kill()

    second = await Life(root).start()
    assert not [key for key in second.state.streams if key.startswith("boxes")]
    assert await second.load() == before
    assert (await second.state.recall(Letter, "a5") or {})["is_final"]
    text = second.state.get(Letter, "a0").text
    assert isinstance(text, Spilled) and second.state.payloads.read("journals/boxes/a", text) == LONG.encode()
    await second.fill("a", 20)
    await second.state.caught_up()
    replayed = [orjson.loads(line) for _, _, line in second.state.index.events(0, limit=1000)]
    assert [line["n"] for line in replayed] == list(range(1, n + 1)) + list(range(n + 1, second.state.n + 1))
    assert {line["stream"] for line in replayed} == {f"boxes/{box}" for box in BOXES}
    assert await second.committer.flush()
    after = second.held()
    await second.kill()
    assert [line["seq"] for line in journal.read(root, "journals/boxes/a")] == list(range(1, 64))
    committed = set(roots.git(root, "ls-tree", "-r", "--name-only", "refs/kheish/last", "journals/boxes").split())
    assert {f"journals/boxes/{box}/000001.jsonl" for box in BOXES} <= committed
    assert f"journals/boxes/a/spill/{text.sha256}" in committed
    assert verifying.verify(root)["findings"] == []

    for path in (root / ".kheish").glob("index.sqlite*"):
        path.unlink()
    third = await Life(root).start()
    assert await third.load() == after
    assert third.state.owners["boxes/a"].seq == 63
    await third.kill()


async def test_no_start_reads_the_journals_of_all_owners(tmp_path: Path) -> None:
    root = roots.make(tmp_path)
    first = await Life(root).start()
    for box in BOXES:
        await first.fill(box, 0)
    await first.state.caught_up()
    assert await first.committer.flush()
    await first.scribe.request("things", things=[])  # it knows of the commit then
    before = first.held()
    await first.kill()
    files = [path for box in BOXES for path in journal.segments(root / "journals" / "boxes" / box)]
    kept = {path: path.read_bytes() for path in files}
    for path in files:
        path.write_bytes(b"not a journal line\n")  # whoever read this would say so
    second = await Life(root).start()
    assert await second.load() == before and len(files) == len(BOXES)
    for path, content in kept.items():
        path.write_bytes(content)
    await second.kill()


async def test_a_journal_that_cannot_be_read_is_refused_and_not_begun_again(tmp_path: Path) -> None:
    root = roots.make(tmp_path)
    first = await Life(root).start()
    for box in BOXES:
        await first.fill(box, 0)
    await first.state.caught_up()
    assert await first.committer.flush()
    before = first.held()
    await first.kill()
    [path] = journal.segments(root / "journals" / "boxes" / "a")
    path.write_bytes(path.read_bytes() + b"not a journal line\n")
    for index in (root / ".kheish").glob("index.sqlite*"):
        index.unlink()
    second = Life(root)
    booted, found, log = await boot.recover(root, second.scribe, second.git, print)
    await boot.index(root, second.scribe, second.git, found, log, booted, print)
    assert {where for where, _ in booted.damaged} == {"journals/boxes/a"}
    with pytest.raises(Damaged, match="reindex"):
        await second.state.load_owner("boxes", "a")
    await second.state.load_owner("boxes", "b")
    assert dict(second.state.table(Letter, "boxes/b")) == before["b"]
    await second.scribe.close()
    await second.git.close()
