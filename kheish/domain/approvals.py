"""Approvals: a tool call that waits for a person's allow or deny, bound to the digest of exactly that call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import orjson

from kheish.domain import events, runs
from kheish.domain.events import Entry, Idempotency, changed, frozen
from kheish.domain.runs import Run
from kheish.errors import ApprovalResolved, Invalid

if TYPE_CHECKING:
    from kheish.domain.state import State

Status = Literal["pending", "allowed", "denied", "expired", "cancelled"]


@frozen
class Decision:
    """One person's word."""

    decision: Literal["allow", "deny"]
    by: str
    via: str
    reason: str | None
    at: str


@frozen
class Approval:
    """An approval as the journal tells it."""

    approval_id: str
    session_id: str
    run_id: str
    call_id: str
    tool: str
    arguments: events.Arguments
    digest: str
    why: str
    risk: Literal["low", "medium", "high"]
    files: tuple[dict[str, Any], ...]
    requested_at: str
    expires_at: str | None
    required: int
    made: int
    n: int
    status: Status = "pending"
    decisions: tuple[Decision, ...] = ()
    edited_by: str | None = None


FOLDED = (events.ApprovalRequested, events.ApprovalResolved)


def fold(table: dict[str, Approval], entry: Entry) -> Iterable[str]:
    """Take one entry in; returns the ids that changed."""
    match entry.event:
        case events.ApprovalRequested() as event:
            assert entry.session and entry.run
            table[event.approval_id] = Approval(
                approval_id=event.approval_id,
                session_id=entry.session,
                run_id=entry.run,
                call_id=event.call_id,
                tool=event.tool,
                arguments=event.arguments,
                digest=event.digest,
                why=event.why,
                risk=event.risk,
                files=event.files,
                requested_at=entry.at,
                expires_at=event.expires_at,
                required=event.required,
                made=entry.n,
                n=entry.n,
            )
            return (event.approval_id,)
        case events.ApprovalResolved() as event if event.approval_id in table:
            table[event.approval_id] = _resolved(table[event.approval_id], event, entry)
            return (event.approval_id,)
        case _:
            return ()


def _resolved(old: Approval, event: events.ApprovalResolved, entry: Entry) -> Approval:
    new = changed(old, status=event.outcome, n=entry.n)
    if event.decision:
        decision = Decision(decision=event.decision, by=event.by, via=event.via, reason=event.reason, at=entry.at)
        new = changed(new, decisions=(*old.decisions, decision))
    if event.arguments is not None:
        new = changed(new, arguments=event.arguments, digest=event.digest or old.digest, edited_by=event.by)
    return new


def view(approval: Approval) -> dict[str, Any]:
    """The approval as the API and its Record show it (`shapes.md`)."""
    return {
        "approval_id": approval.approval_id,
        "session_id": approval.session_id,
        "run_id": approval.run_id,
        "tool": approval.tool,
        "arguments": approval.arguments,
        "digest": approval.digest,
        "files": approval.files,
        "why": approval.why,
        "risk": approval.risk,
        "status": approval.status,
        "requested_at": approval.requested_at,
        "expires_at": approval.expires_at,
        "required": approval.required,
        "decisions": approval.decisions,
        "edited_by": approval.edited_by,
    }


def digest_of(*, tool: str, arguments: Mapping[str, Any], folder: str, executable: str | None) -> str:
    """sha256 over what an approval allows: tool, final arguments in canonical form, working folder, executable."""
    from hashlib import sha256

    call = {"tool": tool, "arguments": arguments, "folder": folder, "executable": executable}
    return sha256(orjson.dumps(call, option=orjson.OPT_SORT_KEYS)).hexdigest()


@frozen
class Resolution:
    """What a person decides of one approval. `arguments` replace those of the call, with their own `digest`."""

    approval_id: str
    decision: Literal["allow", "deny"]
    by: str
    via: str
    reason: str | None = None
    arguments: dict[str, Any] | None = None
    digest: str | None = None
    idempotency: Idempotency | None = None


def resolve(state: State, approval_id: str, decision: Literal["allow", "deny"], **given: Any) -> Approval:
    """Record a person's decision (the fields of Resolution); when nothing else is open, the run is queued again.

    Raises NotFound, ApprovalResolved (who decided), Invalid for arguments on a denial.
    """
    return resolve_many(state, [Resolution(approval_id=approval_id, decision=decision, **given)])[0]


def resolve_many(state: State, wanted: Sequence[Resolution]) -> list[Approval]:
    """Record several decisions, all or none, also in a crash. Raises as `resolve` does."""
    concluded = [(_pending(state, one), _event(one)) for one in wanted]
    _conclude(state, concluded)
    return [state.get(Approval, one.approval_id) for one in wanted]


def _pending(state: State, wanted: Resolution) -> Approval:
    approval = state.get(Approval, wanted.approval_id)
    if approval.status != "pending":
        raise late(view(approval))
    if wanted.arguments is not None and wanted.decision == "deny":
        raise Invalid("Edited arguments go with allow; a denied call does not run.")
    return approval


def _event(wanted: Resolution) -> events.ApprovalResolved:
    return events.ApprovalResolved(
        approval_id=wanted.approval_id,
        outcome="allowed" if wanted.decision == "allow" else "denied",
        decision=wanted.decision,
        by=wanted.by,
        via=wanted.via,
        reason=wanted.reason,
        arguments=wanted.arguments,
        digest=wanted.digest,
        idempotency=wanted.idempotency,
    )


def _conclude(state: State, concluded: Sequence[tuple[Approval, events.ApprovalResolved]]) -> None:
    """Append the outcomes, and with them the way back to the queue of each run for which nothing else is open."""
    drafts = [event.on(approval.session_id, approval.run_id, by=event.by) for approval, event in concluded]
    closed: dict[str, set[str]] = {}
    for approval, _ in concluded:
        closed.setdefault(approval.run_id, set()).add(approval.approval_id)
    for run_id, ids_closed in closed.items():
        if settles(state, run_id, ids_closed):
            drafts.append(runs.step(state, run_id, events.RunRequeued(reason="approval"), by=concluded[0][1].by))
    state.append(*drafts)


def settles(state: State, run_id: str, closed: set[str]) -> bool:
    """Whether the run waits for nothing but these approvals and questions."""
    run = state.get(Run, run_id)
    return run.status in runs.WAITING and {*run.pending_approvals, *run.pending_questions} <= closed


def expire(state: State, now: str) -> list[str]:
    """Deny what has waited too long; returns the ids. Times are RFC 3339 in UTC, so text order is time order."""
    due = [
        approval
        for approval in state.loaded(Approval)
        if approval.status == "pending" and approval.expires_at and approval.expires_at <= now
    ]
    for approval in due:
        _conclude(state, [(approval, events.ApprovalResolved(approval_id=approval.approval_id, outcome="expired"))])
    return [approval.approval_id for approval in due]


def late(view: Mapping[str, Any]) -> ApprovalResolved:
    """The answer to whoever comes late: what it became, and who decided."""
    last = view["decisions"][-1] if view["decisions"] else None
    decided_by = (last["by"] if isinstance(last, dict) else last.by) if last else "daemon"
    return ApprovalResolved(
        f"The approval {view['approval_id']} was {view['status']} by {decided_by}; nothing was changed.",
        decided_by=decided_by,
        approval_status=view["status"],
    )
