"""The table of a tool call's life: each stage has a step, a step is a row, and rows take calls as they should."""

from __future__ import annotations

from kheish.domain import events, turns
from kheish.domain.runs import Run
from kheish.domain.state import State
from kheish.domain.turns import Call, Stage
from kheish.runtime import calls, deciding
from kheish.runtime.agent import Agent
from kheish.runtime.calls import CALL_STEPS, Single, Together
from tests.runtime.harness import Live


def asked(it: Live, *paths: str, verdict: str = "allow") -> Run:
    """A run with calls of read_file that are decided, and that nothing drives."""
    it.agent.stopping.set()
    run = it.submit_run()
    named = {f"c{number}": path for number, path in enumerate(paths)}
    made = tuple(events.ModelCall(id=id, name="read_file", arguments={"path": path}) for id, path in named.items())
    decided = [events.PermissionDecided(call_id=id, tool="read_file", decision=verdict, why="a test") for id in named]
    return it.move(run.run_id, events.RunStarted(), events.ModelResponded(turn=0, text="", calls=made), *decided)


def test_each_stage_of_an_open_call_has_a_step() -> None:
    assert set(CALL_STEPS) == set(Stage) - {Stage.FINISHED}
    rows = [isinstance(step, Together) for step in CALL_STEPS.values()]
    assert rows == sorted(rows, reverse=True), "steps that are taken together come first"


async def test_a_row_may_stand_before_a_tool(it: Live) -> None:
    start = CALL_STEPS[Stage.ALLOWED]
    assert isinstance(start, Single)

    async def hook(state: State, run: Run, call: Call, agent: Agent) -> bool:
        if call.call.arguments == {"path": "b.txt"}:
            state.append(deciding.refused(call, "hook", "not this one").on(run.session_id, run.run_id))
            return True
        return await start.take(state, run, call, agent)

    for name in ("a.txt", "b.txt"):
        (it.workspace / name).write_text(name)
    run = asked(it, "a.txt", "b.txt")
    steps = {**CALL_STEPS, Stage.ALLOWED: Single(hook, side_by_side=True)}
    assert await calls.answer(it.state, run, turns.of(it.state, run.run_id), it.agent, steps)
    assert not turns.of(it.state, run.run_id).open_calls
    results = {code: content for _, code, content in it.results()}
    assert results["hook"] == "not this one" and "a.txt" in results[None]


async def test_a_verdict_that_asks_without_a_request_is_decided_and_never_starts(it: Live) -> None:
    run = asked(it, "a.txt", verdict="ask")
    assert await calls.answer(it.state, run, turns.of(it.state, run.run_id), it.agent)
    kinds = it.kinds(run.run_id)
    assert (kinds.count("permission.decided"), kinds.count("tool.started")) == (2, 0)
