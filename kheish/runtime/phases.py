"""The approvals of a Flow's phases: a person allows the next phase, or an output, by a normal approval that pauses."""

from __future__ import annotations

from typing import Any, Literal

from kheish import ids
from kheish.domain import approvals, events, runs
from kheish.domain.events import PhasePlan, Spilled, Text
from kheish.domain.flows import status as flow_status
from kheish.domain.flows.flow import PHASE_TOOL, Asked, Flow
from kheish.domain.runs import Run, Status
from kheish.domain.sessions.session import Session
from kheish.state.state import State

When = Literal["before", "after"]
#: characters of the output that the approver sees; the run has all of it
SHOWN = 2000


async def passes(state: State, run: Run, when: When, output: Text | None = None) -> bool:
    """Return whether the run may continue. It is False if the run waits for a person now, or has ended because of a
    denial.

    In `drive: agent` the single run stands for all phases: what must be allowed before any of them is requested before
    it begins, what must be allowed after them before it completes.
    """
    flow = state.find(Flow, run.flow["flow_id"]) if run.flow else None
    if flow is None or flow.is_final:
        return True
    for plan in flow.plan.phases:
        is_its = run.flow is not None and run.flow["phase"] in (None, plan.phase_id)
        if not is_its or plan.approval != when:
            continue
        newest = _newest(flow, run, plan.phase_id, when)
        if newest is None and run.settings.unattended == "deny":
            why = f"A person must allow the phase {plan.phase_id} ({when} it), and no person attends this run."
            runs.fail(state, run.run_id, "phase_denied", why)
            return False
        if newest is None:
            text = await _load_output(state, run, output)
            _ask(state, run, flow, plan, when, text)
            return False
        if newest.status != "allowed":
            _deny(state, run, plan, when, newest)
            return False
    return True


def _newest(flow: Flow, run: Run, phase: str, when: When) -> Asked | None:
    """Return the newest approval of the phase.

    Another attempt of a phase may begin without one; each result needs its own.
    """
    if when == "before" and flow_status.allowed(flow, phase, when):
        return next(
            one for one in flow.approvals.values() if (one.phase, one.when, one.status) == (phase, when, "allowed")
        )
    asked = [one for one in flow.approvals.values() if (one.run_id, one.phase, one.when) == (run.run_id, phase, when)]
    return asked[-1] if asked else None


def _ask(state: State, run: Run, flow: Flow, plan: PhasePlan, when: When, text: str | None) -> None:
    arguments: dict[str, Any] = {
        "flow_id": flow.flow_id,
        "playbook": f"{flow.playbook}@{flow.version}",
        "phase": plan.phase_id,
        "when": when,
        "objective": plan.objective,
    }
    if when == "after":
        arguments["output"] = text
        arguments["evidence"] = [one.id for one in flow.evidence if one.phase == plan.phase_id]
    policy = state.definitions.permissions.approvals
    requested = events.ApprovalRequested(
        approval_id=ids.new("appr"),
        call_id=f"{PHASE_TOOL}:{plan.phase_id}:{when}",
        tool=PHASE_TOOL,
        arguments=arguments,
        digest=approvals.digest_of(tool=PHASE_TOOL, arguments=arguments, folder="", executable=None),
        why=f"the Playbook asks for a person's approval {when} the phase {plan.phase_id}",
        risk="medium",
        expires_at=None if policy.expires is None else ids.stamp(state.clock() + policy.expires),
        required=policy.required,
    )
    waiting = runs.step(state, run.run_id, events.RunWaiting(status=Status.WAITING_FOR_APPROVAL))
    state.append(requested.on(run.session_id, run.run_id), waiting)


async def _load_output(state: State, run: Run, output: Text | None) -> str | None:
    if isinstance(output, Spilled):
        path = state.get(Session, run.session_id).path
        output = await state.payloads.text(path, output)
    if output is None or len(output) <= SHOWN:
        return output
    return f"{output[:SHOWN]}… ({len(output) - SHOWN} more characters)"


def _deny(state: State, run: Run, plan: PhasePlan, when: When, asked: Asked) -> None:
    """End the run: before the work for good, after it with the reason for another attempt, if there is one."""
    code = "phase_denied" if when == "before" else "phase_rejected"
    who = f"{asked.decided_by} denied" if asked.status == "denied" else f"the approval {asked.status} for"
    reason = f": {asked.reason}" if asked.reason else "."
    runs.fail(state, run.run_id, code, f"{who} the phase {plan.phase_id} ({when} it){reason}")
