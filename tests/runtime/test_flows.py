"""Flows through the real loop: gates before and after phases, evidence by the tool, tool policy, a budget over runs."""

from __future__ import annotations

from typing import Any

import pytest

from kheish.domain import approvals
from kheish.domain.approvals import Approval
from kheish.domain.flows import advance as flow_driving, status as flow_status
from kheish.domain.flows.flow import Flow
from kheish.domain.runs import Run
from kheish.runtime import deciding
from tests.runtime.harness import Live, call
from tests.support.flowing import manifest, newest, shown, start

WAITS = ("waiting", "blocked", "succeeded", "failed", "cancelled")


async def drive(it: Live) -> Flow:
    """Do what is next, until the Flow has ended or only a person can go on."""
    while True:
        flow = flow_driving.advance(it.state, "flow_1")
        if flow_status.status(flow) in WAITS:
            return flow
        await it.rest(newest(it).run_id)


async def began(it: Live, **fields: Any) -> Flow:
    """Start a Playbook in a session of its own, and drive it."""
    start(it, manifest(**fields), workspace=it.workspace)
    return await drive(it)


async def decide(it: Live, decision: Any, reason: str | None = None) -> Flow:
    """A person's word on the one approval that is pending; then on."""
    (waiting,) = [one for one in it.state.table(Approval, "flow_1").values() if one.status == "pending"]
    approvals.resolve(it.state, waiting.approval_id, decision, by="token:ada", via="api", reason=reason)
    return await drive(it)


async def test_nothing_of_a_phase_happens_before_it_is_allowed(it: Live) -> None:
    it.script({"text": "looked"})
    flow = await began(it, phases=[{"id": "look", "approval": "before", "objective": "See."}])
    assert shown(flow) == ("waiting", {"look": "waiting"})
    assert "model.requested" not in it.kinds()
    (asked,) = it.data("approval.requested")
    assert (asked["tool"], asked["arguments"]["phase"], asked["arguments"]["when"]) == ("phase", "look", "before")
    assert shown(await decide(it, "allow", "go")) == ("succeeded", {"look": "satisfied"})
    (word,) = it.state.get(Flow, "flow_1").approvals.values()
    assert (word.decided_by, word.reason, word.when) == ("token:ada", "go", "before")


async def test_a_phase_that_is_denied_before_it_begins_is_not_tried_again(it: Live) -> None:
    flow = await began(it, phases=[{"id": "look", "approval": "before", "retries": 3}])
    flow = await decide(it, "deny", "not on a Friday")
    assert shown(flow) == ("failed", {"look": "failed"})
    assert "not on a Friday" in str(flow.reason) and len(flow.runs) == 1


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_phase_that_a_person_must_allow_fails_if_none_attends(it: Live, when: str) -> None:
    it.script({"text": "looked"})
    playbook = manifest(phases=[{"id": "look", "approval": when, "retries": 3}])
    start(it, playbook, workspace=it.workspace, unattended="deny")
    flow = await drive(it)
    assert shown(flow) == ("failed", {"look": "failed"}) and len(flow.runs) == 1
    assert "no person attends" in str(flow.reason) and "approval.requested" not in it.kinds()


async def test_a_result_that_is_rejected_is_tried_again_with_the_reason(it: Live) -> None:
    it.script({"text": "draft"})
    flow = await began(it, phases=[{"id": "write", "approval": "after", "retries": 1}])
    assert it.data("approval.requested")[0]["arguments"]["output"] == "draft"
    flow = await decide(it, "deny", "too short")
    assert shown(flow) == ("waiting", {"write": "waiting"})
    assert "too short" in str(it.run_of(newest(it).run_id).request.items[0].text)
    assert shown(await decide(it, "allow")) == ("succeeded", {"write": "satisfied"})


async def test_the_one_run_asks_before_it_begins_and_before_it_completes(it: Live) -> None:
    it.script({"text": "all done"})
    phases = [{"id": "look"}, {"id": "mend", "approval": "before"}, {"id": "tell", "approval": "after"}]
    flow = await began(it, drive="agent", phases=phases)
    assert shown(flow)[0] == "waiting" and "model.requested" not in it.kinds()
    flow = await decide(it, "allow")
    assert (shown(flow)[0], [one.phase for one in flow.approvals.values()]) == ("waiting", ["mend", "tell"])
    assert shown(await decide(it, "allow")) == ("succeeded", dict.fromkeys(("look", "mend", "tell"), "satisfied"))


async def test_a_denied_end_of_the_one_run_fails_the_flow(it: Live) -> None:
    it.script({"text": "all done"})
    flow = await began(it, drive="agent", phases=[{"id": "look"}, {"id": "tell", "approval": "after"}])
    flow = await decide(it, "deny", "no")
    assert shown(flow) == ("failed", {"look": "failed", "tell": "skipped"})


async def test_a_gate_stands_over_a_restart(it: Live) -> None:
    it.script({"text": "looked"})
    await began(it, phases=[{"id": "look", "approval": "before"}, {"id": "next", "needs": ["look"]}])
    again = it.reborn()
    try:
        assert shown(await drive(again))[0] == "waiting"
        assert shown(await decide(again, "allow"))[0] == "succeeded"
        assert again.kinds().count("approval.requested") == 1
    finally:
        await again.close()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"kind": "file", "id": "report", "ref": "../state/secret"}, "outside the workspace"),
        ({"kind": "file", "id": "report", "ref": "none.md"}, "no file"),
        ({"kind": "attestation", "id": "mine"}, "only a person"),
        ({"kind": "run", "id": "run_x"}, "There is no run"),
        ({"kind": "file", "id": "report", "phase": "other"}, "no phase 'other'"),
    ],
)
async def test_evidence_that_leads_nowhere_is_refused_to_the_model(it: Live, given: Any, told: str) -> None:
    it.script(call("attach_evidence", **given), {"text": "done"})
    flow = await began(it, phases=[{"id": "look", "evidence": [{"kind": "file", "id": "report"}]}])
    assert shown(flow) == ("blocked", {"look": "blocked"})
    (result,) = it.results()
    assert result[0] and told in result[2]


async def test_the_tool_attaches_what_the_phase_wants_by_name_or_by_kind(it: Live) -> None:
    (it.workspace / "a.md").write_text("found")
    it.script(call("attach_evidence", kind="file", id="a.md", description="All of it."), {"text": "done"})
    flow = await began(it, phases=[{"id": "look", "evidence": [{"kind": "file", "id": "report"}]}])
    assert shown(flow) == ("succeeded", {"look": "satisfied"})
    (one,) = it.data("evidence.attached")
    assert (one["id"], one["ref"], one["phase"], one["facts"]["bytes"]) == ("report", "a.md", "look", 5)


async def test_a_tool_that_the_phase_does_not_leave_is_refused_and_shown(it: Live) -> None:
    it.allow("bash")
    it.script(call("bash", command="touch made"), {"text": "done"})
    flow = await began(it, tools={"deny": ["web_fetch"]}, phases=[{"id": "look", "tools": {"allow": ["read_file"]}}])
    assert not (it.workspace / "made").exists()
    assert shown(flow)[0] == "succeeded"
    (refused,) = flow.refused
    assert (refused.tool, refused.phase) == ("bash", "look") and "phase look" in str(refused.reason)
    assert list(deciding.offered(it.run_of(newest(it).run_id), it.agent)) == ["read_file", "attach_evidence"]
    assert "attach_evidence" not in deciding.offered(await it.ask(), it.agent)


async def test_a_budget_holds_over_all_runs_and_what_is_granted_counts_for_all(it: Live) -> None:
    usage = {"input_tokens": 60, "output_tokens": 0}
    it.script({"text": "one", "usage": usage})
    phases = [{"id": f"p{n}", "needs": [f"p{n - 1}"] if n else []} for n in range(4)]
    flow = await began(it, phases=phases, budget={"tokens": 100})
    assert shown(flow)[1] == {"p0": "satisfied", "p1": "satisfied", "p2": "waiting", "p3": "pending"}
    (asked,) = it.data("approval.requested")
    assert (asked["tool"], asked["arguments"]) == ("budget", {"limit": "tokens", "spent": 120.0, "more": 100.0})
    assert shown(await decide(it, "allow"))[0] == "succeeded"
    assert len(it.data("approval.requested")) == 1  # 200 hold for all four


async def test_a_budget_that_nobody_extends_fails_the_flow(it: Live) -> None:
    it.script({"text": "one", "usage": {"input_tokens": 60, "output_tokens": 0}})
    flow = await began(it, phases=[{"id": "a"}, {"id": "b", "needs": ["a"]}], budget={"tokens": 50})
    flow = await decide(it, "deny")
    assert (shown(flow)[0], "budget" in str(flow.reason)) == ("failed", True)
    assert it.state.find(Run, newest(it).run_id) is not None
