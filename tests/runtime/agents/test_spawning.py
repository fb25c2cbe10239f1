"""The spawn of a child by a caller, while runs of the parent come and go."""

from __future__ import annotations

import pytest

from kheish.domain import events, runs
from kheish.domain.agents.agent import Agent, of_session
from kheish.domain.agents.spawn import Spawn
from kheish.domain.events import Item
from kheish.errors import RunStateConflict
from kheish.runtime.agents import spawning
from kheish.runtime.agents.spawning import Request
from tests.runtime.harness import Live

REQUEST = Request(spawn=Spawn(name="kid", items=(Item(text="do it"),), by="test"))


@pytest.mark.parametrize("end", ["complete", "fail", "cancel"])
async def test_a_run_that_ends_by_itself_during_a_callers_spawn_is_no_obstacle(it: Live, end: str) -> None:
    run = it.move(it.submit_run().run_id, events.RunStarted())
    running = it.run(run.run_id)
    match end:
        case "complete":
            runs.complete(it.state, run.run_id, "done")
        case "fail":
            runs.fail(it.state, run.run_id, "broken", "it broke")
        case _:
            runs.cancel(it.state, run.run_id, by="test")
    if end == "cancel":
        with pytest.raises(RunStateConflict):
            await spawning.spawned(it.state, "s", running, REQUEST, None)
        return
    child, group = await spawning.spawned(it.state, "s", running, REQUEST, None)
    it.state.append(*group)
    assert it.state.get(Agent, child.agent_id).spawned_by_run is None
    assert of_session(it.state, "s").children == 1
