from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kheish.store import pipes
from kheish.store.git import committer
from kheish.store.git.committer import Committer, Cut
from tests.store import roots


class Dirty:
    """The daemon's part: entries that come in, and cuts of them; `done` gets what was committed."""

    def __init__(self, root: Path) -> None:
        self.root, self.n, self.cut_at = root, 0, 0
        self.done: asyncio.Queue[int] = asyncio.Queue()
        self.notices: list[dict[str, Any]] = []

    def entry(self) -> None:
        self.n += 1

    async def gather(self) -> Cut | None:
        if self.n == self.cut_at:
            return None
        first, self.cut_at = self.cut_at + 1, self.n
        path, whole = roots.journal(self.root, "a", self.n)
        return Cut(n_from=first, n_to=self.n, message=f"to {self.n}", journals={path: whole})

    def committed(self, n: int, _commit: str, _time: int) -> None:
        self.done.put_nowait(n)


@pytest.fixture
async def dirty(tmp_path: Path) -> AsyncIterator[tuple[Dirty, Committer, pipes.Child]]:
    state = Dirty(roots.make(tmp_path))
    child = roots.worker(state.root)
    await child.start()
    them = Committer(child, state.gather, state.committed, 60.0, on_notice=state.notices.append)
    them.start()
    yield state, them, child
    await them.close()
    await child.close()


Parts = tuple[Dirty, Committer, pipes.Child]


async def test_quiet_is_committed_at_once_and_a_burst_once_a_second(dirty: Parts) -> None:
    state, them, _ = dirty
    clock = asyncio.get_running_loop().time
    began = clock()
    state.entry()
    them.touch(now=True)
    assert await state.done.get() == 1

    for _ in range(5):
        state.entry()
        them.touch(now=True)
    assert await state.done.get() == 6
    assert 1.0 < clock() - began < 5.0
    assert roots.git(state.root, "log", "-2", "--format=%s") == "to 6\nto 1"


async def test_an_entry_alone_waits_and_flush_does_not(dirty: Parts) -> None:
    state, them, _ = dirty
    state.entry()
    them.touch()
    await asyncio.sleep(0.1)
    assert state.done.empty()

    assert await them.flush()

    assert state.done.get_nowait() == 1 and await them.flush()


async def test_held_means_later_with_the_same_cut(dirty: Parts) -> None:
    state, them, _ = dirty
    lock = state.root / ".git/index.lock"
    lock.touch()
    state.entry()
    them.touch(now=True)
    async with asyncio.timeout(5):
        while not state.notices:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert "index.lock" in state.notices[0]["held"] and state.done.empty()
    assert not await them.flush(timeout=0.1)

    lock.unlink()

    async with asyncio.timeout(5):
        assert await state.done.get() == 1


async def test_what_comes_while_a_cut_is_tried_again_is_committed_after_it(dirty: Parts) -> None:
    state, them, _ = dirty
    lock = state.root / ".git/index.lock"
    lock.touch()
    state.entry()
    them.touch(now=True)
    async with asyncio.timeout(5):
        while not state.notices:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    state.entry()
    them.touch(now=True)
    lock.unlink()

    async with asyncio.timeout(10):
        assert [await state.done.get(), await state.done.get()] == [1, 2]


async def test_a_dead_worker_is_replaced_and_the_cut_done_again(dirty: Parts) -> None:
    state, them, child = dirty
    await child.request("head")
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    state.entry()
    them.touch(now=True)

    async with asyncio.timeout(10):
        assert await state.done.get() == 1
    assert roots.git(state.root, "rev-list", "--count", "HEAD") == "2"


@pytest.mark.parametrize("patience", [0.01, 30.0])
async def test_a_cut_outlives_whoever_waited_for_it(dirty: Parts, patience: float) -> None:
    """A stop cancels, a flush has a timeout: what was gathered until then is committed all the same."""
    state, _, child = dirty
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def gather() -> Cut | None:
        cut = await state.gather()
        begun.set()
        await go_on.wait()
        return cut

    them = Committer(child, gather, state.committed)
    state.entry()
    waiting = asyncio.create_task(them.flush(patience))
    await begun.wait()
    if patience > 1:
        waiting.cancel()
    await asyncio.wait([waiting])
    go_on.set()

    state.entry()
    assert await them.flush()
    assert [state.done.get_nowait(), state.done.get_nowait()] == [1, 2]
    assert roots.git(state.root, "log", "--format=%(trailers:key=Kheish-Events,valueonly)").split() == ["2-2", "1-1"]
    await them.close()


def test_messages_are_for_people() -> None:
    assert (
        committer.message(['run completed: fix-it "make\n it"'], sessions=1, runs=1)
        == 'run completed: fix-it "make it"'
    )
    assert committer.message(["a", "b"], sessions=9, runs=12) == "12 runs in 9 sessions"
    assert committer.message(["a", "b"], sessions=1, runs=1) == "1 run in 1 session"
    assert committer.message([], sessions=2, runs=0) == "2 sessions"
    assert committer.message([], sessions=0, runs=0) == "journals go on"
    assert len(committer.message(["x" * 500], sessions=1, runs=1)) == 160
