"""The derivation of a Flow's and its phases' statuses, as two tables. A final status counts once it is sealed.

A status is derived from events (runs, evidence, seals), never set.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from itertools import product

from kheish.domain import runs
from kheish.domain.events import PhasePlan, WantedEvidence, frozen
from kheish.domain.flows.flow import NOT_RETRIED, Evidence, Flow, Part
from kheish.domain.runs import Status as RunStatus


class PhaseStatus(StrEnum):
    """The states of a phase (`playbooks.md`)."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    SATISFIED = "satisfied"
    BLOCKED = "blocked"
    FAILED = "failed"
    SKIPPED = "skipped"


class FlowStatus(StrEnum):
    """The states of a Flow (`playbooks.md`)."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    BLOCKED = "blocked"


FINAL = frozenset({FlowStatus.SUCCEEDED, FlowStatus.FAILED, FlowStatus.CANCELLED})
LIVE = frozenset(FlowStatus) - FINAL
ENDED = frozenset({PhaseStatus.SATISFIED, PhaseStatus.FAILED, PhaseStatus.SKIPPED})


class Work(StrEnum):
    """The progress of a phase's newest run, as far as the status depends on it."""

    NONE = "none"
    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    TO_RETRY = "to_retry"  # failed, and another attempt remains
    FAILED = "failed"  # for good; includes cancelled and interrupted, which are deliberate


#: a run that has started and is queued continues after an answer
_WORK: Mapping[RunStatus, Work] = {
    RunStatus.QUEUED: Work.QUEUED,
    RunStatus.RUNNING: Work.RUNNING,
    RunStatus.WAITING_FOR_APPROVAL: Work.WAITING,
    RunStatus.WAITING_FOR_QUESTION: Work.WAITING,
    RunStatus.WAITING_FOR_AGENT: Work.RUNNING,
    RunStatus.COMPLETED: Work.COMPLETED,
    RunStatus.FAILED: Work.FAILED,
    RunStatus.INTERRUPTED: Work.FAILED,
    RunStatus.CANCELLED: Work.FAILED,
}


def work_of(run: RunStatus | None, *, has_started: bool, may_retry: bool) -> Work:
    """Return the progress of a phase's work, from its newest run. `may_retry`: another attempt remains, and is
    allowed."""
    if run is None:
        return Work.NONE
    work = _WORK[run]
    if work is Work.QUEUED and has_started:
        return Work.RUNNING
    if run is RunStatus.FAILED and may_retry:
        return Work.TO_RETRY
    return work


P, R, W, S, B, F, X = PhaseStatus
#: `drive: phases`: (work, whether all required evidence is attached) → status
PHASES: Mapping[tuple[Work, bool], PhaseStatus] = {
    (Work.NONE, False): P,
    (Work.NONE, True): P,
    (Work.QUEUED, False): P,
    (Work.QUEUED, True): P,
    (Work.RUNNING, False): R,
    (Work.RUNNING, True): R,
    (Work.WAITING, False): W,
    (Work.WAITING, True): W,
    (Work.COMPLETED, False): B,
    (Work.COMPLETED, True): S,
    (Work.TO_RETRY, False): P,
    (Work.TO_RETRY, True): P,
    (Work.FAILED, False): F,
    (Work.FAILED, True): F,
}


class Place(StrEnum):
    """The position of a phase in `drive: agent`, where a single run does the work of all phases."""

    SHOWN = "shown"  # current or past, and all of its evidence is attached
    REACHED = "reached"  # the first phase that is due and not shown
    LATER = "later"


def _agent_row(done: Work, place: Place, wants: bool) -> PhaseStatus:
    match done, place:
        case _, Place.SHOWN:
            return S
        case Work.COMPLETED, _:
            return B if wants else S
        case ((Work.FAILED | Work.TO_RETRY), Place.REACHED):
            return F
        case ((Work.FAILED | Work.TO_RETRY), _):
            return X
        case Work.RUNNING, Place.REACHED:
            return R
        case Work.WAITING, Place.REACHED:
            return W
        case _:
            return P


#: `drive: agent`: (work of the single run, place of the phase, whether it lacks required evidence) → status
AGENT: Mapping[tuple[Work, Place, bool], PhaseStatus] = {
    (done, place, lacks): _agent_row(done, place, lacks) for done, place, lacks in product(Work, Place, (False, True))
}


@frozen
class Facts:
    """The facts that determine the status of a Flow.

    `is_ready`: a phase may start now. `is_fatal`: a phase failed that must not fail. `has_begun`: a run has started.
    `lacks`: required evidence of the Flow itself is missing.
    """

    phases: Collection[PhaseStatus]
    is_ready: bool = False
    is_fatal: bool = False
    is_cancelling: bool = False
    is_queued: bool = False
    has_begun: bool = False
    lacks: bool = False


def verdict(facts: Facts) -> FlowStatus:
    """Return the status of the first matching line. A final status still has to be sealed."""
    idle = FlowStatus.RUNNING if facts.has_begun else FlowStatus.PENDING
    lines = (
        (R in facts.phases, FlowStatus.RUNNING),
        (W in facts.phases, FlowStatus.WAITING),
        (facts.is_queued, idle),
        (facts.is_cancelling, FlowStatus.CANCELLED),
        (facts.is_fatal, FlowStatus.FAILED),
        (facts.is_ready, idle),
        (B in facts.phases, FlowStatus.BLOCKED),
        (facts.lacks, FlowStatus.BLOCKED),
        (True, FlowStatus.SUCCEEDED),
    )
    return next(status for holds, status in lines if holds)


# --- of a Flow --------------------------------------------------------------------------------------------------------


def parts(flow: Flow, phase: str | None) -> list[Part]:
    """Return the runs of a phase, oldest first; in `drive: agent` all phases share the single run."""
    of = None if flow.plan.drive == "agent" else phase
    return [part for part in flow.runs.values() if part.phase == of]


def shows(wanted: WantedEvidence, given: Evidence) -> bool:
    """Return whether evidence meets a Playbook's request: its kind fits, and it has the item's name or reference."""
    return given.kind == wanted.kind and wanted.id in (given.id, given.ref)


def missing(flow: Flow, phase: PhasePlan | None) -> tuple[str, ...]:
    """Return the ids of missing required evidence: of a phase, or (None) of the Flow itself."""
    items = phase.evidence if phase is not None else flow.plan.evidence
    attached = [one for one in flow.evidence if phase is None or one.phase == phase.phase_id]
    return tuple(want.id for want in items if want.required and not any(shows(want, one) for one in attached))


def _work(flow: Flow, plan: PhasePlan | None) -> Work:
    attempts = parts(flow, plan.phase_id if plan else None)
    if not attempts:
        return Work.NONE
    last = attempts[-1]
    is_refused = last.error is not None and last.error.code in NOT_RETRIED
    may_retry = plan is not None and last.attempt <= plan.retries and not is_refused and not flow.cancel_requested
    return work_of(last.status, has_started=last.started_at is not None, may_retry=may_retry)


def settled(flow: Flow, phase: str) -> bool:
    """Return whether a phase that others need is done: satisfied, or failed if that is acceptable."""
    end = flow.ends.get(phase)
    if end is None:
        return False
    plan = next(one for one in flow.plan.phases if one.phase_id == phase)
    return end.status != PhaseStatus.FAILED or plan.on_failure == "continue"


def phase_statuses(flow: Flow) -> dict[str, PhaseStatus]:
    """Return the status of each phase, in the Playbook's order; a sealed status is final."""
    if flow.plan.drive == "agent":
        return _of_agent(flow)
    return {
        plan.phase_id: PhaseStatus(flow.ends[plan.phase_id].status)
        if plan.phase_id in flow.ends
        else PHASES[_work(flow, plan), not missing(flow, plan)]
        for plan in flow.plan.phases
    }


def _of_agent(flow: Flow) -> dict[str, PhaseStatus]:
    statuses: dict[str, PhaseStatus] = {}
    done, is_reached = _work(flow, None), False
    for plan in ordered(flow.plan.phases):
        if plan.phase_id in flow.ends:
            statuses[plan.phase_id] = PhaseStatus(flow.ends[plan.phase_id].status)
            continue
        lacks = bool(missing(flow, plan))
        wants = any(want.required for want in plan.evidence)
        is_open = plan.approval == "after" and not allowed(flow, plan.phase_id, "after")
        in_turn = all(statuses.get(need) in (PhaseStatus.SATISFIED, PhaseStatus.SKIPPED) for need in plan.needs)
        if wants and not lacks and not is_open and in_turn:
            place = Place.SHOWN
        elif in_turn and not is_reached:
            place, is_reached = Place.REACHED, True
        else:
            place = Place.LATER
        statuses[plan.phase_id] = AGENT[done, place, lacks]
    return {plan.phase_id: statuses[plan.phase_id] for plan in flow.plan.phases}


def ordered(phases: Iterable[PhasePlan]) -> list[PhasePlan]:
    """Return phases sorted after those that they need, otherwise as written. A published Playbook has no cycle."""
    remaining, result, placed = list(phases), [], set[str]()
    while remaining:
        ready = next((one for one in remaining if placed.issuperset(one.needs)), remaining[0])
        remaining.remove(ready)
        result.append(ready)
        placed.add(ready.phase_id)
    return result


def allowed(flow: Flow, phase: str, when: str, run_id: str | None = None) -> bool:
    """Return whether a user allowed the approval before or after a phase (in that run)."""
    return any(
        one.status == "allowed" and one.phase == phase and one.when == when and run_id in (None, one.run_id)
        for one in flow.approvals.values()
    )


def live(flow: Flow) -> list[Part]:
    """Return the runs of the Flow that have not ended."""
    return [part for part in flow.runs.values() if part.status not in runs.FINAL]


def ready(flow: Flow) -> PhasePlan | None:
    """Return the first phase, in the Playbook's order, that may start now; None if no phase may."""
    statuses = phase_statuses(flow)
    for plan in flow.plan.phases:
        is_free = statuses[plan.phase_id] is PhaseStatus.PENDING and plan.phase_id not in flow.ends
        if is_free and all(settled(flow, need) for need in plan.needs):
            return plan
    return None


def derived(flow: Flow) -> FlowStatus:
    """Return the Flow's derived status; a final status counts once it is sealed."""
    statuses = phase_statuses(flow)
    is_agent = flow.plan.drive == "agent"
    failed = {id for id, status in statuses.items() if status is PhaseStatus.FAILED}
    may_fail = set() if is_agent else {one.phase_id for one in flow.plan.phases if one.on_failure == "continue"}
    going = live(flow)
    done = _work(flow, None) if is_agent else Work.NONE
    return verdict(
        Facts(
            phases=[*statuses.values(), *_overall(is_agent, done)],
            is_ready=not flow.runs if is_agent else ready(flow) is not None,
            is_fatal=bool(failed - may_fail) or done in (Work.FAILED, Work.TO_RETRY),
            is_cancelling=flow.cancel_requested,
            is_queued=any(part.status is runs.Status.QUEUED for part in going),
            has_begun=any(part.started_at for part in flow.runs.values()),
            lacks=bool(missing(flow, None)),
        )
    )


def _overall(is_agent: bool, done: Work) -> tuple[PhaseStatus, ...]:
    """Return the status that a live run adds in `drive: agent`: it may still act when all phases are satisfied."""
    if not is_agent or done not in (Work.RUNNING, Work.WAITING):
        return ()
    return (PhaseStatus.RUNNING if done is Work.RUNNING else PhaseStatus.WAITING,)


def status(flow: Flow) -> FlowStatus:
    """Return the Flow's sealed status; before the seal, a status that is not final."""
    if flow.sealed is not None:
        return FlowStatus(flow.sealed)
    current = derived(flow)
    return FlowStatus.RUNNING if current in FINAL else current
