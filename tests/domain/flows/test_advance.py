"""Flows are driven from what is journaled: phase after phase, once each, and sealed at the end."""

from __future__ import annotations

from typing import Any

import pytest

from kheish.domain import events, runs
from kheish.domain.flows import advance as flow_driving, status as flow_status
from kheish.domain.flows.flow import Flow
from kheish.domain.runs import Run
from kheish.domain.sessions import end as session_end
from kheish.errors import FlowStateConflict, SessionNotIdle
from kheish.state import loading
from tests.support import flowing
from tests.support.flowing import attached, completed, failed, manifest, newest, shown, start, started
from tests.support.stateful import Played, table

TWO: dict[str, Any] = {"phases": [{"id": "look"}, {"id": "mend", "needs": ["look"]}]}
WANTS = [{"kind": "file", "id": "report"}]


def test_phases_run_one_after_another_as_their_needs_are_done(p: Played) -> None:
    flow = start(p, manifest(phases=[{"id": "mend", "needs": ["look"]}, {"id": "look", "instructions": "Look."}]))
    assert shown(flow) == ("pending", {"mend": "pending", "look": "pending"})
    flow = flow_driving.advance(p.state, "flow_1")
    run = p.state.get(Run, newest(p).run_id)
    assert (run.kind, run.flow) == ("flow_phase", {"flow_id": "flow_1", "phase": "look", "attempt": 1})
    assert run.request.items[0].text == "Look."
    p.move(run.run_id, events.RunStarted())
    assert shown(p.state.get(Flow, "flow_1")) == ("running", {"mend": "pending", "look": "running"})
    flow = completed(p)
    assert shown(flow) == ("running", {"mend": "pending", "look": "satisfied"})
    assert newest(p).phase == "mend"
    flow = completed(p)
    assert shown(flow) == ("succeeded", {"mend": "satisfied", "look": "satisfied"})
    assert p.kinds()[-2:] == ["phase.ended", "flow.sealed"]


def test_advancing_again_does_nothing_twice(p: Played) -> None:
    started(p, manifest(**TWO))
    for _ in range(3):
        before = p.state.n
        flow_driving.advance(p.state, "flow_1")
        assert p.state.n == before
        completed(p) if not p.state.get(Flow, "flow_1").is_final else None
    assert [one["phase"] for one in p.data("phase.started")] == ["look", "mend"]


def test_a_failed_phase_fails_the_flow_and_skips_the_rest(p: Played) -> None:
    started(p, manifest(**TWO))
    flow = failed(p, "no such file")
    assert shown(flow) == ("failed", {"look": "failed", "mend": "skipped"})
    assert flow.reason == "Phase look: no such file"


def test_on_failure_continue_goes_on_with_what_needs_it(p: Played) -> None:
    started(p, manifest(phases=[{"id": "look", "on_failure": "continue"}, {"id": "mend", "needs": ["look"]}]))
    failed(p)
    assert newest(p).phase == "mend"
    assert shown(completed(p)) == ("succeeded", {"look": "failed", "mend": "satisfied"})


def test_retries_say_why_and_count(p: Played) -> None:
    started(p, manifest(phases=[{"id": "look", "retries": 2}]))
    failed(p, "first")
    flow = failed(p, "second")
    assert flow.attempts == {"look": 3}
    asked = p.state.get(Run, newest(p).run_id).request.items[0].text
    assert "attempt 3" in asked and "first" in asked and "second" in asked
    assert [one["reason"] for one in p.data("phase.retried")] == ["first", "second"]
    flow = failed(p, "third")
    assert (shown(flow)[0], flow.reason) == ("failed", "Phase look: third")


@pytest.mark.parametrize("how", [events.RunCancelled(), events.RunInterrupted()])
def test_a_run_that_somebody_stopped_is_not_tried_again(p: Played, how: events.Event) -> None:
    started(p, manifest(phases=[{"id": "look", "retries": 5}]))
    assert shown(flowing.end(p, how)) == ("failed", {"look": "failed"})


def test_missing_evidence_blocks_and_attaching_it_goes_on(p: Played) -> None:
    started(p, manifest(phases=[{"id": "look", "evidence": WANTS}, {"id": "mend", "needs": ["look"]}]))
    flow = completed(p)
    assert shown(flow) == ("blocked", {"look": "blocked", "mend": "pending"})
    assert p.data("phase.blocked") == [{"flow_id": "flow_1", "phase": "look", "missing": ["report"]}]
    flow = attached(p, "file", "report", "look")
    assert shown(flow) == ("running", {"look": "satisfied", "mend": "pending"})
    assert shown(completed(p))[0] == "succeeded"


def test_evidence_of_the_whole_is_wanted_at_the_end(p: Played) -> None:
    started(p, manifest(phases=[{"id": "look"}], evidence=[{"kind": "attestation", "id": "signed"}]))
    assert shown(completed(p)) == ("blocked", {"look": "satisfied"})
    assert shown(attached(p, "attestation", "signed"))[0] == "succeeded"


def test_a_flow_in_which_one_run_does_all(p: Played) -> None:
    phases = [{"id": "look", "evidence": WANTS}, {"id": "mend", "needs": ["look"], "evidence": WANTS}, {"id": "tell"}]
    flow = started(p, manifest(drive="agent", phases=phases))
    run = p.state.get(Run, newest(p).run_id)
    assert run.flow == {"flow_id": "flow_1", "phase": None, "attempt": 1}
    assert "Phase 2: mend" in str(run.phase_text)
    p.move(run.run_id, events.RunStarted())
    assert shown(p.state.get(Flow, "flow_1")) == ("running", {"look": "running", "mend": "pending", "tell": "pending"})
    flow = attached(p, "file", "report", "look")
    assert shown(flow) == ("running", {"look": "satisfied", "mend": "running", "tell": "pending"})
    assert shown(completed(p)) == ("blocked", {"look": "satisfied", "mend": "blocked", "tell": "satisfied"})
    assert shown(attached(p, "file", "report", "mend"))[0] == "succeeded"


def test_the_one_run_fails(p: Played) -> None:
    started(p, manifest(drive="agent", phases=[{"id": "look", "evidence": WANTS}, {"id": "mend"}, {"id": "tell"}]))
    attached(p, "file", "report", "look")
    flow = failed(p, "out of ideas")
    assert shown(flow) == ("failed", {"look": "satisfied", "mend": "failed", "tell": "skipped"})
    assert flow.reason == "Phase mend: out of ideas"


def test_cancelling_stops_the_run_and_is_final(p: Played) -> None:
    started(p, manifest(**TWO))
    flow = flow_driving.cancel(p.state, "flow_1", by="token:ada", reason="not today")
    assert shown(flow) == ("cancelled", {"look": "failed", "mend": "skipped"})
    assert (p.run(newest(p).run_id).status, flow.reason) == (runs.Status.CANCELLED, "not today")
    before = p.state.n
    assert flow_driving.cancel(p.state, "flow_1", by="token:ada").sealed == "cancelled"
    assert p.state.n == before


def test_a_running_run_is_waited_for_when_a_flow_is_cancelled(p: Played) -> None:
    started(p, manifest(**TWO))
    p.move(newest(p).run_id, events.RunStarted())
    flow = flow_driving.cancel(p.state, "flow_1", by="token:ada")
    assert (shown(flow)[0], p.run(newest(p).run_id).stop_requested) == ("running", "cancelled")
    assert shown(flowing.end(p, events.RunCancelled()))[0] == "cancelled"


def test_what_is_sealed_cannot_be_cancelled_or_added_to(p: Played) -> None:
    started(p, manifest(phases=[{"id": "look"}]))
    completed(p)
    with pytest.raises(FlowStateConflict):
        flow_driving.cancel(p.state, "flow_1", by="token:ada")
    n = p.state.get(Flow, "flow_1").n
    attached(p, "file", "late")
    assert (p.state.get(Flow, "flow_1").n, p.state.get(Flow, "flow_1").evidence) == (n, ())


def test_a_phase_whose_run_cannot_start_fails(p: Played) -> None:
    started(p, manifest(**TWO))
    p.state.definitions.by_kind["routes"].clear()
    flow = completed(p)
    assert shown(flow) == ("failed", {"look": "satisfied", "mend": "failed"})
    assert "no route" in str(flow.reason)


def test_a_session_that_ends_takes_its_flow_with_it(p: Played) -> None:
    started(p, manifest(phases=[{"id": "look", "evidence": WANTS}]))
    completed(p)
    with pytest.raises(SessionNotIdle):
        session_end.end(p.state, "flow_1", by="token:ada", force=False, reason=None)
    session_end.end(p.state, "flow_1", by="token:ada", force=True, reason=None)
    assert shown(p.state.get(Flow, "flow_1"))[0] == "cancelled"


def test_a_session_whose_flow_goes_on_is_not_deleted(p: Played) -> None:
    started(p, manifest(phases=[{"id": "look", "evidence": WANTS}]))
    completed(p)
    with pytest.raises(SessionNotIdle):
        session_end.delete(p.state, "flow_1", by="token:ada")


@pytest.mark.parametrize("upto", range(6))
def test_a_restart_anywhere_finds_the_same_flow_and_starts_nothing_twice(p: Played, upto: int) -> None:
    steps = [
        lambda q: flow_driving.advance(q.state, "flow_1"),
        lambda q: q.move(newest(q).run_id, events.RunStarted()),
        lambda q: q.move(newest(q).run_id, events.RunFailed(error=events.RunError(code="x", message="broke"))),
        lambda q: flow_driving.advance(q.state, "flow_1"),
        completed,
        completed,
    ]
    start(p, manifest(phases=[{"id": "look", "retries": 1}, {"id": "mend", "needs": ["look"]}]))
    for step in steps[:upto]:
        step(p)
    again = p.restart()
    assert table(again.state.sessions["flow_1"])["Flow"] == p.state.table(Flow, "flow_1")
    for step in steps[upto:]:
        step(again)
    flow = again.state.get(Flow, "flow_1")
    assert shown(flow) == ("succeeded", {"look": "satisfied", "mend": "satisfied"})
    assert [(part.phase, part.attempt) for part in flow.runs.values()] == [("look", 1), ("look", 2), ("mend", 1)]
    again.index.close()


def test_a_checkpoint_keeps_a_flow_that_goes_on_and_lets_go_of_one_that_is_sealed(p: Played) -> None:
    started(p, manifest(roles={"r": {"purpose": "x"}}, phases=[{"id": "look", "role": "r", "evidence": WANTS}]))
    completed(p)
    before = p.state.get(Flow, "flow_1")
    p.state.append(loading.checkpoint(p.state.sessions["flow_1"]).on("flow_1"))
    again = p.restart()
    assert again.state.get(Flow, "flow_1") == before
    assert shown(attached(again, "file", "report", "look"))[0] == "succeeded"
    again.state.append(loading.checkpoint(again.state.sessions["flow_1"]).on("flow_1"))
    assert again.state.find(Flow, "flow_1") is None
    again.flush()
    assert again.state.index.thing("flow", "flow_1")["status"] == "succeeded"  # type: ignore[index]
    again.index.close()


def test_tools_acceptance_and_budget_reach_the_runs(p: Played) -> None:
    p.route("priced", script={"echo": True}, price={"input_per_mtok": 1, "output_per_mtok": 1})
    playbook = manifest(
        tools={"deny": ["bash"]},
        acceptance=["It works."],
        runtime={"route": "priced"},
        budget={"cost_usd": 2.0},
        roles={"doctor": {"purpose": "Mends."}},
        phases=[
            {"id": "look", "tools": {"allow": ["read_file"]}, "timeout": "30m", "role": "doctor"},
            {"id": "mend", "needs": ["look"], "acceptance": [{"workspace_file": "fixed"}]},
        ],
    )
    started(p, playbook, budget={"turns": 7, "cost_usd": 1.5})
    look = p.state.get(Run, newest(p).run_id).settings
    assert [(one.origin, one.allow, one.deny) for one in look.tool_policies] == [
        ("playbook mend@1.0.0", None, ("bash",)),
        ("playbook mend@1.0.0, phase look", ("read_file", "attach_evidence"), ()),
    ]
    assert (look.limits.wall_time, look.limits.turns, look.limits.cost_usd, look.completion) == (1800.0, 7, None, ())
    assert flow_status.status(completed(p)) == "running"
    last = p.state.get(Run, newest(p).run_id).settings
    assert [(one.workspace_file, one.text) for one in last.completion] == [("fixed", None), (None, "It works.")]
    assert p.state.get(Flow, "flow_1").plan.budget == {"cost_usd": 1.5, "turns": 7}
