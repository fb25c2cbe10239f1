"""`taint: ask`: after untrusted content of the network, what has effects asks even where a rule allows it."""

from __future__ import annotations

from typing import Any

import pytest

from kheish.domain import approvals
from kheish.domain.approvals import Approval
from kheish.domain.events import ToolStarted
from kheish.domain.runs import Status
from kheish.domain.sessions.session import Session
from tests.runtime.harness import Live, call

LOOKED = {"confined": True, "network": False}


def started(tool: str, effect: str, **more: Any) -> ToolStarted:
    return ToolStarted(call_id="c", tool=tool, arguments={}, digest="", key="k", effect=effect, replay="unsafe", **more)


def shell(**note: Any) -> Any:
    return started("bash", "effect", note={"job": "j", **note})


@pytest.mark.parametrize(
    ("event", "taints"),
    [
        (started("web_fetch", "effect"), True),
        (started("mcp__github__search", "effect"), True),
        (started("read_file", "read"), False),
        (shell(**LOOKED), False),
        (shell(**{**LOOKED, "network": True}), True),
        (shell(confined=False, network=False), True),
    ],
)
async def test_what_taints_a_conversation(it: Live, event: Any, taints: bool) -> None:
    run = it.submit_run()
    it.state.append(event.on("s", run.run_id))
    assert (it.state.get(Session, "s").tainted_by == event.tool) is taints


async def test_an_allowed_command_asks_once_the_conversation_is_tainted(it: Live) -> None:
    it.allow("bash", taint="ask")
    it.script(call("bash", command="echo first"), call("bash", command="echo second"), {"text": "{{last_result}}"})
    run = await it.ask()
    assert run.status is Status.WAITING_FOR_APPROVAL, "the first was not confined, and so may have had the network"
    [asked] = [one for one in it.state.loaded(Approval) if one.status == "pending"]
    assert asked.arguments == {"command": "echo second"} and "taint" in asked.why
    assert asked.came_from["tainted_by"] == "bash" and asked.remember == {}
    approvals.resolve(it.state, asked.approval_id, "allow", by="ann", via="api")
    assert (await it.rest(run.run_id)).output == "second"


@pytest.mark.parametrize(("taint", "mode", "status"), [("off", "default", Status.COMPLETED),
                                                       ("ask", "bypass", Status.COMPLETED)])  # fmt: skip
async def test_without_the_rule_or_in_bypass_nothing_changes(it: Live, taint: str, mode: str, status: Status) -> None:
    it.session("t", workspace=it.workspace, permission_mode=mode)
    it.allow("bash", taint=taint)
    it.script(call("bash", command="echo first"), call("bash", command="echo second"), {"text": "ok"})
    assert (await it.ask(session_id="t")).status is status


async def test_the_taint_stays_with_the_conversation_over_runs_and_restarts(it: Live) -> None:
    it.allow("bash", taint="ask")
    it.script(call("bash", command="echo first"), {"text": "ok"}, call("bash", command="echo second"), {"text": "ok"})
    await it.ask()
    it.script(call("bash", command="echo again"), {"text": "ok"})
    again = it.reborn()
    try:
        run = await again.ask()
        assert run.status is Status.WAITING_FOR_APPROVAL
    finally:
        await again.close()
