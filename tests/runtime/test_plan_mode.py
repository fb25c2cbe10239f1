"""Plan mode: nothing is changed until a person agrees to the plan."""

from __future__ import annotations

from typing import Any

import pytest

from kheish.domain import approvals
from kheish.domain.approvals import Approval
from kheish.domain.runs import Status
from kheish.runtime import prompt
from tests.runtime.harness import Live, call

WRITE = call("write_file", path="a", content="x")
DONE = {"text": "{{last_result}}"}


def pending(it: Live) -> list[Approval]:
    return [one for one in it.state.loaded(Approval) if one.status == "pending"]


async def planned(it: Live, *after: dict[str, Any], mode: str = "accept_edits") -> str:
    """A run that has tried to write in plan mode, and asks to leave it."""
    it.session("t", workspace=it.workspace, permission_mode=mode)
    it.script(call("enter_plan_mode"), WRITE, call("exit_plan_mode", plan="write a"), *after)
    run = await it.ask(session_id="t")
    assert run.status is Status.WAITING_FOR_APPROVAL and run.mode == "plan"
    assert not (it.workspace / "a").exists()
    return run.run_id


async def test_leaving_asks_and_then_the_mode_is_as_before(it: Live) -> None:
    run_id = await planned(it, WRITE, DONE)
    assert [code for _, code, _ in it.results()] == [None, "permission_denied"]
    [asked] = pending(it)
    assert (asked.tool, asked.arguments, asked.remember) == ("exit_plan_mode", {"plan": "write a"}, {})
    approvals.resolve(it.state, asked.approval_id, "allow", by="ann", via="api", arguments={"plan": "write a, then b"},
                      bound=approvals.Bound(digest=approvals.digest_of(
                          tool="exit_plan_mode", arguments={"plan": "write a, then b"}, folder=str(it.workspace),
                          executable=None)))  # fmt: skip
    run = await it.rest(run_id)
    assert (run.status, run.mode) == (Status.COMPLETED, "accept_edits")
    assert "write a, then b" in it.results()[2][2]
    assert (it.workspace / "a").read_text() == "x"


async def test_whose_plan_is_refused_stays_in_plan_mode(it: Live) -> None:
    run_id = await planned(it, WRITE, DONE)
    approvals.resolve(it.state, pending(it)[0].approval_id, "deny", by="ann", via="api", reason="smaller")
    run = await it.rest(run_id)
    assert (run.status, run.mode) == (Status.COMPLETED, "plan")
    assert not (it.workspace / "a").exists() and "smaller" in it.results()[2][2]


async def test_plan_mode_outlives_a_restart(it: Live) -> None:
    run_id = await planned(it, DONE)
    again = it.reborn()
    try:
        run = again.run_of(run_id)
        assert run.mode == "plan"
        sections = {part.name: part.text for part in await prompt.sections(again.state, run, {})}
        assert "Plan mode" in sections["Session"]
    finally:
        await again.close()


async def test_a_rule_does_not_agree_to_a_plan(it: Live) -> None:
    it.allow("*")
    it.script(call("enter_plan_mode"), call("exit_plan_mode", plan="p"), DONE)
    assert (await it.ask()).status is Status.WAITING_FOR_APPROVAL


@pytest.mark.parametrize(
    ("mode", "error", "after"), [("dont_ask", True, "plan"), ("bypass", False, "bypass"), ("plan", None, None)]
)
async def test_where_nobody_is_asked(it: Live, mode: str, error: bool | None, after: str | None) -> None:
    it.session("t", workspace=it.workspace, permission_mode=mode)
    it.script(call("enter_plan_mode"), call("exit_plan_mode", plan="p"), DONE)
    run = await it.ask(session_id="t")
    if error is None:
        assert (run.status, run.mode) == (Status.WAITING_FOR_APPROVAL, "plan")
        approvals.resolve(it.state, pending(it)[0].approval_id, "allow", by="ann", via="api")
        assert (await it.rest(run.run_id)).mode == "default", "a session in plan mode is left for the ordinary one"
        return
    assert (run.status, run.mode) == (Status.COMPLETED, after)
    assert it.results()[1][0] is error


async def test_out_of_plan_mode_there_is_nothing_to_leave(it: Live) -> None:
    it.script(call("exit_plan_mode", plan="p"), DONE)
    assert (await it.ask()).status is Status.COMPLETED
    assert it.results()[0][1] == "tool_error"
