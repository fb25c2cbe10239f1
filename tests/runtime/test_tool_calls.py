"""The table of a tool call's life: each stage has a step, a step is a row, and rows take calls as they should."""

from __future__ import annotations

from typing import Any

import pytest

from kheish.domain import events, turns
from kheish.domain.runs import Run
from kheish.domain.turns import Call, Stage
from kheish.runtime import deciding, tool_calls
from kheish.runtime.agent import Agent
from kheish.runtime.tool_calls import CALL_STEPS, Single, Together
from kheish.runtime.tools.base import Context, Effect, Replay, Result, Tool
from kheish.state.state import State
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
    assert await tool_calls.answer(it.state, run, turns.of(it.state, run.run_id), it.agent, steps)
    assert not turns.of(it.state, run.run_id).open_calls
    results = {code: content for _, code, content in it.results()}
    assert results["hook"] == "not this one" and "a.txt" in results[None]


async def test_a_verdict_that_asks_without_a_request_is_decided_and_never_starts(it: Live) -> None:
    run = asked(it, "a.txt", verdict="ask")
    assert await tool_calls.answer(it.state, run, turns.of(it.state, run.run_id), it.agent)
    kinds = it.kinds(run.run_id)
    assert (kinds.count("permission.decided"), kinds.count("tool.started")) == (2, 0)


async def run_tool(arguments: Any, context: Context) -> Result:
    return Result(content=f"ran with {arguments}")


def tool(name: str, *required: str, replay: Replay = Replay.SAFE) -> Tool:
    """A tool as a server would bring it, which takes some texts."""
    schema = {"type": "object", "properties": {one: {"type": "string"} for one in required}, "required": required}
    return Tool(name=name, description=name, arguments=schema, effect=Effect.READ, replay=replay, run=run_tool)


async def test_a_turn_is_judged_by_what_its_model_was_offered(it: Live) -> None:
    """The server changes its tools while the model answers: that turn has the old ones, the next the new ones."""
    it.tools = {"look": tool("look"), "leave": tool("leave")}
    driver = it.agent.executor

    class Changing(type(driver)):  # type: ignore[misc]
        async def complete(self, *given: Any) -> Any:
            reply = await driver.complete(*given)
            it.tools = {"look": tool("look", "where"), "come": tool("come")}
            return reply

    it.agent.executor = Changing()
    asks = {"tool_calls": [{"name": name, "arguments": {}} for name in ("look", "leave", "come")]}
    it.script(asks, {"tool_calls": [{"name": "look", "arguments": {}}]}, {"text": "done"})
    assert (await it.ask()).output == "done"
    codes = [code for _, code, _ in it.results()]
    assert codes == ["unknown_tool", None, None, "invalid_arguments"]
    assert it.results()[0][2] == "There is no tool 'come'. The tools are: leave, look."
    assert not it.agent._driven, "a run that is driven no longer leaves nothing"


@pytest.mark.parametrize(("replay", "status"), [("unsafe", "waiting_for_question"), ("safe", "completed")])
async def test_a_started_call_whose_tool_is_gone_is_not_reported_as_not_run(it: Live, replay: Any, status: str) -> None:
    it.agent.stopping.set()
    run = it.submit_run()
    asks = events.ModelResponded(turn=0, text="", calls=(events.ModelCall(id="c", name="gone", arguments={}),))
    decided = events.PermissionDecided(call_id="c", tool="gone", decision="allow", why="a test")
    fields: Any = {"call_id": "c", "tool": "gone", "arguments": {}, "digest": "", "key": "", "effect": "effect"}
    it.move(run.run_id, events.RunStarted(), asks, decided, events.ToolStarted(replay=replay, **fields))
    it.flush()
    await it.close()
    again = it.reborn()
    try:
        ended = await again.rest(run.run_id)
        assert ended.status == status
        assert [code for _, code, _ in again.results()] == ([] if ended.pending_questions else ["unknown_tool"])
    finally:
        await again.close()
