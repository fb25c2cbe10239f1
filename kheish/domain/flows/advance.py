"""The next step of a Flow: starts and ends of phases, and the seal of the first final status.

Each step is derived from the journal. A daemon that was killed between steps continues with the same code, and no step
runs twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kheish.domain import events, intake, runs
from kheish.domain.events import Draft, Event, Item, PhasePlan, ToolLimits, ToolPolicy
from kheish.domain.flows import prompt as flow_prompt, status as flow_status
from kheish.domain.flows.flow import Flow, Part
from kheish.domain.flows.start import SHARED, credential_scope
from kheish.domain.flows.status import ENDED, FINAL, FlowStatus, PhaseStatus
from kheish.domain.scopes import ATTACH
from kheish.domain.workers import placement
from kheish.errors import FlowStateConflict, InsufficientStorage, KheishError, StoreFailed

if TYPE_CHECKING:
    from kheish.state.state import State

#: steps that a single event may cause; each changes the Flow, so more than a few per phase are a defect
MOST_STEPS = 1000


def advance(state: State, flow_id: str) -> Flow:
    """Take all steps that are due. Raises StoreFailed, InsufficientStorage (nothing is lost then: call it later)."""
    for _ in range(MOST_STEPS):
        flow = state.get(Flow, flow_id)
        if flow.is_final or not _step(state, flow):
            return flow
    raise AssertionError(f"the Flow {flow_id} does not come to rest")


def cancel(state: State, flow_id: str, *, by: str, reason: str | None = None) -> Flow:
    """Stop a Flow and its runs for good; a cancelled Flow stays as it is. Raises FlowStateConflict for any other ended
    Flow."""
    flow = state.get(Flow, flow_id)
    if flow.is_final:
        if flow.sealed == FlowStatus.CANCELLED:
            return flow
        raise ended(flow_id, str(flow.sealed))
    if not flow.cancel_requested:
        _append(state, flow, events.FlowCancelRequested(flow_id=flow_id, reason=reason), by=by)
        for part in flow_status.live(flow):
            runs.cancel(state, part.run_id, by=by, reason=reason or "the Flow is cancelled")
    return advance(state, flow_id)


def ended(flow_id: str, status: str) -> FlowStateConflict:
    """Return the error for changing a sealed Flow."""
    return FlowStateConflict(f"The Flow {flow_id} is {status}; it can no longer be changed.", flow_status=status)


# --- one step ---------------------------------------------------------------------------------------------------------


def _step(state: State, flow: Flow) -> bool:
    """Take the next step. Returns False if none is due until another event."""
    news = list(_phase_events(flow))
    if news:
        _append(state, flow, *news)
        return True
    status, going = flow_status.derived(flow), flow_status.live(flow)
    if going:
        return _stop_others(state, flow, going)
    if status in FINAL:
        _append(state, flow, *_skipped(flow), _seal(flow, status))
        return True
    if flow.plan.drive == "agent":
        return not flow.runs and _start(state, flow, None)
    plan = flow_status.ready(flow)
    return plan is not None and _start(state, flow, plan)


def _phase_events(flow: Flow) -> Iterator[Event]:
    """Yield the events for phases that ended or blocked and are not recorded yet."""
    for plan in flow.plan.phases:
        id = plan.phase_id
        if id in flow.ends:
            continue
        status = flow_status.phase_statuses(flow)[id]
        lacking = flow_status.missing(flow, plan)
        if status in ENDED:
            reason = None if status is PhaseStatus.SATISFIED else _unsatisfied_reason(flow, plan)
            yield events.PhaseEnded(flow_id=flow.flow_id, phase=id, status=status.value, reason=reason)  # type: ignore[arg-type]
        elif status is PhaseStatus.BLOCKED and flow.blocked.get(id) != lacking:
            yield events.PhaseBlocked(flow_id=flow.flow_id, phase=id, missing=lacking)


def _unsatisfied_reason(flow: Flow, plan: PhasePlan) -> str:
    """Return the reason why a phase was not satisfied."""
    last = next(reversed(flow_status.parts(flow, plan.phase_id)), None)
    if last is None or last.status is runs.Status.COMPLETED:
        return "It was not reached."
    return _run_failure(last)


def _run_failure(part: Part) -> str:
    return part.error.message if part.error is not None else f"The run {part.run_id} was {part.status}."


def _stop_others(state: State, flow: Flow, going: list[Part]) -> bool:
    """Cancel the other runs after the failure of a phase that must not fail, or after a cancel. Returns False if
    neither."""
    statuses = flow_status.phase_statuses(flow)
    fatal = [
        plan.phase_id
        for plan in flow.plan.phases
        if statuses[plan.phase_id] is PhaseStatus.FAILED and plan.on_failure == "fail"
    ]
    if flow.plan.drive == "agent" or not (fatal or flow.cancel_requested):
        return False
    before = state.n
    for part in going:
        reason = f"the phase {fatal[0]} failed" if fatal else "the Flow is cancelled"
        runs.cancel(state, part.run_id, by="daemon", reason=reason)
    return state.n != before


def _skipped(flow: Flow) -> Iterator[Event]:
    for plan in flow.plan.phases:
        if plan.phase_id not in flow.ends:
            yield events.PhaseEnded(
                flow_id=flow.flow_id, phase=plan.phase_id, status="skipped", reason="The Flow ended before it."
            )


def _seal(flow: Flow, status: FlowStatus) -> Event:
    reason = None
    if status is FlowStatus.FAILED:
        failed = [(id, end) for id, end in flow.ends.items() if end.status == PhaseStatus.FAILED]
        reason = f"Phase {failed[0][0]}: {failed[0][1].reason}" if failed else None
        if reason is None and flow.runs:
            reason = _run_failure(next(reversed(flow.runs.values())))
    elif status is FlowStatus.CANCELLED:
        reason = flow.cancel_reason
    return events.FlowSealed(flow_id=flow.flow_id, status=status.value, reason=reason)  # type: ignore[arg-type]


# --- starting ---------------------------------------------------------------------------------------------------------


def _start(state: State, flow: Flow, plan: PhasePlan | None) -> bool:
    """Submit the run of a phase (or the single run of `drive: agent`), in one group with the event that records it."""
    attempt = flow.attempts.get(plan.phase_id, 0) + 1 if plan else 1
    try:
        given = _input(state, flow, plan, attempt)
        intake.submit(state, given, by="daemon", beside=list(_said(flow, plan, attempt)))
    except (StoreFailed, InsufficientStorage):
        raise
    except KheishError as error:
        # Checked at the start, but changed since: the session ended, or the route is gone.
        _fail_start(state, flow, plan, error.detail)
    return True


def _said(flow: Flow, plan: PhasePlan | None, attempt: int) -> Iterator[Draft]:
    if plan is None:
        return
    for before in flow_status.parts(flow, plan.phase_id)[-1:]:
        retried = events.PhaseRetried(
            flow_id=flow.flow_id, phase=plan.phase_id, attempt=before.attempt, reason=_run_failure(before)
        )
        yield retried.on(flow.session_id)
    yield events.PhaseStarted(flow_id=flow.flow_id, phase=plan.phase_id, attempt=attempt).on(flow.session_id)


def _fail_start(state: State, flow: Flow, plan: PhasePlan | None, why: str) -> None:
    reason = f"Its run could not be started: {why}"
    if plan is not None:
        ended = events.PhaseEnded(flow_id=flow.flow_id, phase=plan.phase_id, status="failed", reason=reason)
        _append(state, flow, ended)
    else:
        sealed = events.FlowSealed(flow_id=flow.flow_id, status="failed", reason=reason)
        _append(state, flow, *_skipped(flow), sealed)


def _input(state: State, flow: Flow, plan: PhasePlan | None, attempt: int) -> intake.Input:
    role = flow.plan.roles.get(plan.role or "") if plan else None
    earlier = [_run_failure(part) for part in flow_status.parts(flow, plan.phase_id)] if plan else []
    budget = {name: value for name, value in (flow.plan.budget or {}).items() if name not in SHARED}
    if plan is not None and plan.timeout is not None:
        budget["wall_time"] = min(plan.timeout, budget.get("wall_time", plan.timeout))
    return intake.Input(
        session_id=flow.session_id,
        items=(Item(text=flow_prompt.task(flow, plan, earlier)), *_observations(flow, plan)),
        actor=flow.started_by,
        source="flow",
        kind="flow_phase",
        route=(role.route if role else None) or flow.plan.route,
        generation=flow.plan.generation,
        budget=budget or None,
        reply_targets=flow.reply_targets,
        completion=_acceptance(flow, plan),
        flow={"flow_id": flow.flow_id, "phase": plan.phase_id if plan else None, "attempt": attempt},
        tool_policies=policies(flow, plan),
        credential_scope=credential_scope(flow.playbook, flow.version, flow.plan),
        phase_text=flow_prompt.section(flow, plan),
        persona=role.persona if role else None,
        checks_ask=flow.plan.checks_ask,
        unattended=flow.unattended,
        worker=placement.placed(state, plan.worker) if plan else None,
    )


def _observations(flow: Flow, plan: PhasePlan | None) -> tuple[Item, ...]:
    """Return the observations that the Flow was started with, for a phase that needs no other."""
    if not flow.observation_ids or (plan is not None and plan.needs):
        return ()
    return (Item(type="observations", observation_ids=flow.observation_ids),)


def _acceptance(flow: Flow, plan: PhasePlan | None) -> tuple[Any, ...]:
    """Return the requirements of a run's end; those of the whole Flow apply at the end of the last phase."""
    if plan is None:
        return (*(one for phase in flow.plan.phases for one in phase.acceptance), *flow.plan.acceptance)
    statuses = flow_status.phase_statuses(flow)
    others = [status for id, status in statuses.items() if id != plan.phase_id]
    return (*plan.acceptance, *(flow.plan.acceptance if all(one in ENDED for one in others) else ()))


def policies(flow: Flow, plan: PhasePlan | None) -> tuple[ToolPolicy, ...]:
    """Return the tool policies, all of which apply. An agent may attach evidence unless a policy denies it."""
    name = f"playbook {flow.playbook}@{flow.version}"
    levels = [(name, flow.plan.tools), (f"{name}, capability scope", flow.plan.capability_scope)]
    if plan is not None:
        levels.append((f"{name}, phase {plan.phase_id}", plan.tools))
    return tuple(_policy(origin, limits) for origin, limits in levels if limits != ToolLimits())


def _policy(origin: str, limits: ToolLimits) -> ToolPolicy:
    allow = None if limits.allow is None else tuple(dict.fromkeys((*limits.allow, ATTACH)))
    return ToolPolicy(origin=origin, allow=allow, deny=limits.deny)


def _append(state: State, flow: Flow, *happened: Event, by: str = "daemon") -> None:
    state.append(*(event.on(flow.session_id, by=by) for event in happened))
