"""Gates: pause, calls at once, requests and tokens a minute."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from kheish.config import Config
from kheish.domain.routes import RouteLimits
from kheish.domain.runs import Status
from kheish.runtime import gates
from kheish.runtime.gates import Gates
from tests.runtime.harness import Live

NO_LIMITS = RouteLimits()


@pytest.fixture
def short_minute() -> Iterator[None]:
    before, gates.WINDOW = gates.WINDOW, 0.1
    yield
    gates.WINDOW = before


async def most_at_once(limits: RouteLimits, per_route: int | None, count: int = 6) -> int:
    gate, under_way, most = Gates(), 0, 0

    async def one() -> None:
        nonlocal under_way, most
        async with gate.call("r", limits, per_route):
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0)
            under_way -= 1

    async with asyncio.timeout(10):
        await asyncio.gather(*(one() for _ in range(count)))
    return most


@pytest.mark.parametrize(
    ("limit", "per_route", "most"), [(None, None, 6), (2, None, 2), (None, 3, 3), (4, 1, 1), (1, 4, 1)]
)
async def test_the_narrower_of_two_limits_holds(limit: int | None, per_route: int | None, most: int) -> None:
    assert await most_at_once(RouteLimits(concurrency=limit), per_route) == most


async def test_another_route_is_not_held_back() -> None:
    gate = Gates()
    async with AsyncExitStack() as stack, asyncio.timeout(5):
        await stack.enter_async_context(gate.call("a", RouteLimits(concurrency=1), None))
        await stack.enter_async_context(gate.call("b", RouteLimits(concurrency=1), None))


async def test_a_call_that_fails_gives_its_place_back() -> None:
    gate = Gates()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            async with asyncio.timeout(5), gate.call("a", RouteLimits(concurrency=1), None):
                raise ZeroDivisionError


async def test_requests_a_minute(short_minute: None) -> None:
    gate, loop = Gates(), asyncio.get_running_loop()
    limits = RouteLimits(requests_per_minute=2)
    begun = loop.time()
    async with asyncio.timeout(10):
        for _ in range(5):
            async with gate.call("a", limits, None):
                pass
    assert loop.time() - begun >= 0.19, "two, and two, and one: two windows of 0.1 s passed"


async def test_tokens_a_minute(short_minute: None) -> None:
    gate, loop = Gates(), asyncio.get_running_loop()
    limits = RouteLimits(tokens_per_minute=100)
    begun = loop.time()
    for _ in range(3):
        async with asyncio.timeout(10), gate.call("a", limits, None) as lane:
            gates.used(lane, limits, 100)
    assert loop.time() - begun >= 0.19


@pytest.mark.parametrize("what", [None, "local"])
async def test_a_pause_starts_no_new_step_and_resume_goes_on(it: Live, what: str | None) -> None:
    it.state.paused.add(what)
    run = it.submit_run()
    it.settle()
    await asyncio.sleep(0.02)
    assert it.run_of(run.run_id).status is Status.QUEUED, "statuses stay as they are"
    it.route("other")
    if what:
        assert (await it.ask(session_id=it.session("t", workspace=it.workspace).session_id, route="other")).output
    it.state.paused.clear()
    it.agent.gates.wake()
    assert (await it.rest(run.run_id)).status is Status.COMPLETED


async def test_a_stop_ends_the_wait_of_what_is_paused(it: Live) -> None:
    it.state.paused.add("local")
    waiting = asyncio.create_task(it.agent.gates.unpaused(it.state, "local", it.agent.stopping))
    await asyncio.sleep(0)
    assert not waiting.done()
    it.agent.stopping.set()
    it.agent.gates.wake()
    await asyncio.wait_for(waiting, 5)


async def test_runs_at_once_are_bounded(it: Live) -> None:
    it.state.definitions.config = Config.model_validate({"concurrency": {"runs": 2}})
    it.script({"text": "late", "delay": "1h"})
    ids = [it.session(f"s{number}", workspace=it.workspace).session_id for number in range(4)]
    runs = [it.submit_run(session_id=id) for id in ids]
    it.settle()
    await it.until(lambda: len(it.agent.interruptible) == 2)
    statuses = [it.run_of(run.run_id).status for run in runs]
    assert statuses == [Status.RUNNING, Status.RUNNING, Status.QUEUED, Status.QUEUED]
    it.route()
    await it.worker.drain(0.0)
    assert it.worker.driving == 0
