"""Flows: a start of one Playbook version; the value and its fold.

A Flow has no activity of its own: its state follows from its events and its runs. `status` derives it, `view` shows it,
`start` starts a Flow, `advance` takes its next steps, `evidence` attaches evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Any, Literal

from kheish.domain import events, runs
from kheish.domain.approvals import Approval, Decision, Status as ApprovalStatus
from kheish.domain.events import Entry, EvidenceKind, Plan, Text, changed, frozen
from kheish.domain.runs import Output, Run
from kheish.domain.shown import View
from kheish.domain.spent import Spent

#: the tool name of an approval before or after a phase
PHASE_TOOL = "phase"
#: ends of a run after which a retry is useless: a user denied it
NOT_RETRIED = frozenset({"phase_denied"})
REFUSED = frozenset({"permission_denied"})
#: refused calls that a Flow keeps; the journal has all of them
REFUSALS = 100


@frozen
class Evidence(View):
    """Evidence of work that was done."""

    shown_as = "Evidence"
    evidence_id: str
    kind: EvidenceKind
    id: str
    """Its name in the Playbook, or the reference itself."""
    ref: str | None
    """The referenced object; null for an attestation."""
    phase: str | None
    description: Text
    facts: dict[str, Any]
    """The referenced object's state when it was attached: the sha256 of a file, the id and author of a commit …"""
    by: str
    """The author of the attachment."""
    run_id: str | None
    """The run in which an agent attached it."""
    at: str


@frozen
class Part:
    """A run of the Flow, reduced to the facts that the Flow needs after the run itself has left memory."""

    run_id: str
    phase: str | None  # None: the single run of `drive: agent`
    attempt: int
    status: runs.Status
    submitted_at: str
    started_at: str | None = None
    finished_at: str | None = None
    usage: Spent = Spent()
    granted: dict[str, float] = field(default_factory=dict)
    outputs: tuple[Output, ...] = ()
    output: Text | None = None
    error: events.RunError | None = None


@frozen
class Asked(View):
    """An approval within a Flow, and its decisions."""

    shown_as = "FlowApproval"
    approval_id: str
    run_id: str
    phase: str | None
    tool: str
    """`phase` for one that the Playbook asks for."""
    when: Literal["before", "after"] | None
    """For a phase's approval: whether it comes before or after the phase."""
    status: ApprovalStatus
    why: str
    requested_at: str
    decided_at: str | None = None
    decided_by: str | None = None
    via: str | None = None
    reason: str | None = None
    decisions: tuple[Decision, ...] = ()
    """All decisions: two persons may be required."""


@frozen
class PhaseEnd:
    """The final result of a phase, as sealed in the journal."""

    status: str
    reason: str | None
    at: str


@frozen
class Refused(View):
    """A tool call that the permissions or a tool policy refused."""

    shown_as = "RefusedCall"
    run_id: str
    phase: str | None
    tool: str
    call_id: str
    reason: Text
    at: str


@frozen
class Flow:
    """A Flow as recorded in the journal."""

    flow_id: str
    session_id: str
    agent_id: str
    path: str
    playbook: str
    version: str
    digest: str
    tag: str
    commit: str | None
    inputs: dict[str, Any]
    plan: Plan
    reply_targets: tuple[Any, ...]
    started_by: str
    started_at: str
    made: int
    n: int
    runs: dict[str, Part] = field(default_factory=dict)
    ends: dict[str, PhaseEnd] = field(default_factory=dict)
    blocked: dict[str, tuple[str, ...]] = field(default_factory=dict)  # as last recorded: phase → missing evidence
    retried: dict[str, tuple[str, ...]] = field(default_factory=dict)  # phase → the reason why each attempt was retried
    attempts: dict[str, int] = field(default_factory=dict)
    evidence: tuple[Evidence, ...] = ()
    approvals: dict[str, Asked] = field(default_factory=dict)
    refused: tuple[Refused, ...] = ()
    cancel_requested: bool = False
    cancel_reason: str | None = None
    sealed: str | None = None
    reason: str | None = None
    finished_at: str | None = None
    unattended: Literal["ask", "deny"] = "ask"
    observation_ids: tuple[str, ...] = ()  # what its first phases get

    @property
    def is_final(self) -> bool:
        return self.sealed is not None


FLOW_EVENTS = (
    events.FlowStarted,
    events.PhaseStarted,
    events.PhaseRetried,
    events.PhaseBlocked,
    events.PhaseEnded,
    events.EvidenceAttached,
    events.FlowCancelRequested,
    events.FlowSealed,
)
#: events of a Flow's run that the Flow shows
RUN_EVENTS = (
    events.RunSubmitted,
    events.RunStarted,
    events.RunResumed,
    events.RunWaiting,
    events.RunRequeued,
    events.RunCompleted,
    events.RunFailed,
    events.RunCancelled,
    events.RunInterrupted,
    events.ModelResponded,
    events.ContextCompacted,
    events.OutputEmitted,
    events.ApprovalRequested,
    events.ApprovalDecided,
    events.ApprovalResolved,
    events.ToolFinished,
)
FOLDED = FLOW_EVENTS + RUN_EVENTS


def fold(
    table: dict[str, Flow],
    entry: Entry,
    run_of: Mapping[str, Run],
    approval_of: Mapping[str, Approval],
    agent_id: str,
) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed. Runs and approvals fold it first."""
    event = entry.event
    if isinstance(event, events.FlowStarted):
        table[event.flow_id] = _started(event, entry, agent_id)
        return (event.flow_id,)
    if isinstance(event, FLOW_EVENTS):
        old = table.get(event.flow_id)
        new = _fold_own(old, entry) if old is not None and not old.is_final else old
    else:
        run = run_of.get(entry.run or "")
        old = table.get(run.flow["flow_id"]) if run is not None and run.flow else None
        new = _fold_run(old, run, entry, approval_of) if old is not None and run is not None else old
    if old is None or new is None or new == old:
        return ()
    table[old.flow_id] = changed(new, n=entry.n)
    return (old.flow_id,)


def _started(event: events.FlowStarted, entry: Entry, agent_id: str) -> Flow:
    assert entry.session is not None
    return Flow(
        flow_id=event.flow_id,
        session_id=entry.session,
        agent_id=agent_id,
        path=event.path,
        playbook=event.playbook,
        version=event.version,
        digest=event.digest,
        tag=event.tag,
        commit=event.commit,
        inputs=event.inputs,
        plan=event.plan,
        reply_targets=event.reply_targets,
        started_by=entry.actor,
        unattended=event.unattended,
        observation_ids=event.observation_ids,
        started_at=entry.at,
        made=entry.n,
        n=entry.n,
    )


def _fold_own(old: Flow, entry: Entry) -> Flow:
    match entry.event:
        case events.PhaseStarted(phase=phase, attempt=attempt):
            return changed(old, attempts={**old.attempts, phase: attempt})
        case events.PhaseRetried(phase=phase, reason=reason):
            return changed(old, retried={**old.retried, phase: (*old.retried.get(phase, ()), reason)})
        case events.PhaseBlocked(phase=phase, missing=missing):
            return changed(old, blocked={**old.blocked, phase: missing})
        case events.PhaseEnded(phase=phase, status=status, reason=reason):
            end = PhaseEnd(status=status, reason=reason, at=entry.at)
            return changed(old, ends={phase: end} | old.ends)  # the first is final
        case events.EvidenceAttached() as event:
            return changed(old, evidence=(*old.evidence, _evidence(event, entry)))
        case events.FlowCancelRequested(reason=reason):
            return changed(old, cancel_requested=True, cancel_reason=reason)
        case events.FlowSealed(status=status, reason=reason):
            return changed(old, sealed=status, reason=reason, finished_at=entry.at)
        case _:
            return old


def _evidence(event: events.EvidenceAttached, entry: Entry) -> Evidence:
    return Evidence(
        evidence_id=event.evidence_id,
        kind=event.evidence_kind,
        id=event.id,
        ref=event.ref,
        phase=event.phase,
        description=event.description,
        facts=event.facts,
        by=entry.actor,
        run_id=entry.run,
        at=entry.at,
    )


def _fold_run(old: Flow, run: Run, entry: Entry, approval_of: Mapping[str, Approval]) -> Flow:
    assert run.flow is not None
    phase = run.flow["phase"]
    match entry.event:
        case (
            events.ApprovalRequested(approval_id=id)
            | events.ApprovalDecided(approval_id=id)
            | events.ApprovalResolved(approval_id=id)
        ):
            approval = approval_of.get(id)
            asked = {id: _asked(approval, phase)} if approval is not None else {}
            old = changed(old, approvals={**old.approvals, **asked})
        case events.ToolFinished(code=code) as event if code in REFUSED and len(old.refused) < REFUSALS:
            refused = Refused(
                run_id=run.run_id,
                phase=phase,
                tool=event.tool,
                call_id=event.call_id,
                reason=event.content,
                at=entry.at,
            )
            return changed(old, refused=(*old.refused, refused))
        case events.ToolFinished():
            return old
    part = Part(
        run_id=run.run_id,
        phase=phase,
        attempt=run.flow.get("attempt", 1),
        status=run.status,
        submitted_at=run.submitted_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
        usage=run.usage,
        granted=run.granted,
        outputs=run.outputs,
        output=run.output,
        error=run.error,
    )
    return changed(old, runs={**old.runs, run.run_id: part})


def _asked(approval: Approval, phase: str | None) -> Asked:
    last = approval.decisions[-1] if approval.decisions else None
    # The call without its arguments: a user may edit these.
    when: Any
    name, when = approval.call_id.split(":")[1:] if approval.tool == PHASE_TOOL else (phase, None)
    return Asked(
        approval_id=approval.approval_id,
        run_id=approval.run_id,
        phase=name,
        tool=approval.tool,
        when=when,
        status=approval.status,
        why=approval.why,
        requested_at=approval.requested_at,
        decided_at=last.at if last else None,
        decided_by=last.by if last else None,
        via=last.via if last else None,
        reason=last.reason if last else None,
        decisions=approval.decisions,
    )
