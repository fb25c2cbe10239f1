"""Approvals: a tool call that waits for a user's allow or deny, bound to the digest of exactly that call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any, Literal

import orjson

from kheish.domain import events, keys, runs
from kheish.domain.events import Draft, Entry, changed, frozen
from kheish.domain.keys import Key
from kheish.domain.permissions import remember as permission_remember
from kheish.domain.runs import Run
from kheish.domain.shown import View
from kheish.errors import ApprovalResolved, Fault, Invalid, PersonRequired, SamePerson, SecretInArguments
from kheish.state import encoding
from kheish.state.noun import Noun

if TYPE_CHECKING:
    from kheish.state.state import State

Status = Literal["pending", "allowed", "denied", "expired", "cancelled"]


@frozen
class Decision(View):
    """The decision of a single person."""

    shown_as = "Decision"
    decision: Literal["allow", "deny"]
    by: str
    via: str
    reason: str | None
    at: str
    person: str | None = None
    digest: str | None = None
    """The digest of the decided call."""


@frozen
class Bound:
    """The scope of an approval: the digest of a call, and the files whose content is part of it.

    `unbound` lists what the call may use beyond that. A file is `{path, sha256, bytes}`. For a file that is too large
    to read, `sha256` is null and `mtime_ns` is set.
    """

    digest: str
    files: tuple[dict[str, Any], ...] = ()
    unbound: tuple[str, ...] = ()


@frozen
class Approval:
    """An approval as recorded in the journal."""

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
    came_from: dict[str, Any] = field(default_factory=dict)
    remember: dict[str, Any] = field(default_factory=dict)
    preview: events.Preview | None = None


def fold(table: dict[str, Approval], entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
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
                came_from=event.came_from,
                remember=event.remember,
                preview=event.preview,
                made=entry.n,
                n=entry.n,
            )
            return (event.approval_id,)
        case events.ApprovalDecided() as event if event.approval_id in table:
            table[event.approval_id] = _decided(table[event.approval_id], event, "allow", entry)
            return (event.approval_id,)
        case events.ApprovalResolved() as event if event.approval_id in table:
            old = table[event.approval_id]
            new = _decided(old, event, event.decision, entry) if event.decision else changed(old, n=entry.n)
            table[event.approval_id] = changed(new, status=event.outcome)
            return (event.approval_id,)
        case _:
            return ()


def _decided(
    old: Approval,
    event: events.ApprovalDecided | events.ApprovalResolved,
    word: Literal["allow", "deny"],
    entry: Entry,
) -> Approval:
    new = changed(old, n=entry.n)
    if event.arguments is not None:
        files = old.files if event.files is None else event.files
        digest = event.digest or old.digest
        new = changed(new, arguments=event.arguments, digest=digest, files=files, edited_by=event.by, preview=None)
    decision = Decision(
        decision=word,
        by=event.by,
        via=event.via,
        reason=event.reason,
        at=entry.at,
        person=event.person,
        digest=new.digest,
    )
    return changed(new, decisions=(*old.decisions, decision))


@frozen
class ApprovalView(View):
    """A tool call that waits, or waited, for a user."""

    approval_id: str
    session_id: str
    run_id: str
    tool: str
    arguments: events.Arguments
    digest: str
    files: tuple[dict[str, Any], ...]
    preview: events.Preview | None
    """The preview of an edit; null for other calls, for edited arguments, and for an edit that would currently fail."""
    why: str
    risk: Literal["low", "medium", "high"]
    status: Status
    requested_at: str
    expires_at: str | None
    required: int
    decisions: tuple[Decision, ...]
    edited_by: str | None
    came_from: dict[str, Any]
    remember: dict[str, Any]


def view(approval: Approval) -> ApprovalView:
    """Return the approval as the API and its Record show it (`shapes.md`)."""
    return ApprovalView(
        approval_id=approval.approval_id,
        session_id=approval.session_id,
        run_id=approval.run_id,
        tool=approval.tool,
        arguments=approval.arguments,
        digest=approval.digest,
        files=approval.files,
        preview=approval.preview,
        why=approval.why,
        risk=approval.risk,
        status=approval.status,
        requested_at=approval.requested_at,
        expires_at=approval.expires_at,
        required=approval.required,
        decisions=approval.decisions,
        edited_by=approval.edited_by,
        came_from=approval.came_from,
        remember=approval.remember,
    )


NOUN = Noun(
    name="approval", cls=Approval, fold=lambda tables, entry: fold(tables[Approval], entry),
    folded=frozenset({events.ApprovalRequested, events.ApprovalDecided, events.ApprovalResolved}),
    keep=lambda one: one.status == "pending", view=view, record="approvals/{id}.yaml",
    filters=("run_id", "tool", "risk"), pending="approvals",
)  # fmt: skip


def digest_of(
    *,
    tool: str,
    arguments: Mapping[str, Any],
    folder: str,
    executable: str | None,
    files: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Return the sha256 of what an approval allows: tool, final arguments in canonical form, working folder,
    executable, and the content of the files that the call names."""
    from hashlib import sha256

    call = {"tool": tool, "arguments": arguments, "folder": folder, "executable": executable, "files": files}
    return sha256(orjson.dumps(call, option=orjson.OPT_SORT_KEYS)).hexdigest()


@frozen
class Resolution:
    """A decision about one approval: the caller, and the `person` that the caller proves (None: no specific person).

    `arguments` replace those of the call and have their own `bound`. `remember` adds a rule to the session.
    """

    approval_id: str
    decision: Literal["allow", "deny"]
    by: str
    via: str
    person: str | None = None
    reason: str | None = None
    arguments: dict[str, Any] | None = None
    bound: Bound | None = None
    remember: permission_remember.How | None = None
    key: Key | None = None


def resolve(state: State, approval_id: str, decision: Literal["allow", "deny"], **given: Any) -> Approval:
    """Record a decision (the fields of Resolution); when nothing else is open, queue the run again.

    Where two persons must allow a call, the first allow leaves it pending; a single deny is enough. Raises NotFound,
    ApprovalResolved (with the earlier decider), PersonRequired, SamePerson, Invalid for arguments on a denial and for a
    decision that cannot be remembered.
    """
    return resolve_many(state, [Resolution(approval_id=approval_id, decision=decision, **given)])[0]


def resolve_many(state: State, wanted: Sequence[Resolution], *, beside: Sequence[Draft] = ()) -> list[Approval]:
    """Record several decisions, and the drafts in `beside`: all or none, even in a crash. Raises the errors of
    `resolve`."""
    pending = [(_pending(state, one), one) for one in wanted]
    decided = [(approval, _event(approval, one)) for approval, one in pending]
    rules = [_rule(approval, one) for approval, one in pending if one.remember is not None]
    _conclude(state, decided, [*rules, *beside])
    return [state.get(Approval, one.approval_id) for one in wanted]


def _pending(state: State, wanted: Resolution) -> Approval:
    approval = state.get(Approval, wanted.approval_id)
    if approval.status != "pending":
        raise late(encoding.plain(view(approval)))
    if wanted.arguments is not None and wanted.decision == "deny":
        raise Invalid("Edited arguments require allow; a denied call does not run.")
    if wanted.arguments is not None and encoding.holds_secret(wanted.arguments, state.scrub):
        raise SecretInArguments(
            "The arguments contain a stored secret, which the journal cannot record: leave it out.",
            errors=[Fault("/arguments", "contains a stored secret")],
        )
    return approval


def _event(approval: Approval, wanted: Resolution) -> events.ApprovalDecided | events.ApprovalResolved:
    fields: dict[str, Any] = {
        "arguments": wanted.arguments,
        "digest": wanted.bound.digest if wanted.bound else None,
        "files": wanted.bound.files if wanted.bound else None,
    }
    fields |= {"via": wanted.via, "reason": wanted.reason, "idempotency": keys.sent(wanted.key)}
    if wanted.decision == "allow" and approval.required > 1:
        person = _counted(approval, wanted)
        digest = wanted.bound.digest if wanted.bound else approval.digest
        agreed = {one.person for one in approval.decisions if one.digest == digest} | {person}
        if len(agreed) < approval.required:
            return events.ApprovalDecided(approval_id=approval.approval_id, by=wanted.by, person=person, **fields)
    return events.ApprovalResolved(
        approval_id=approval.approval_id,
        outcome="allowed" if wanted.decision == "allow" else "denied",
        decision=wanted.decision,
        by=wanted.by,
        person=wanted.person,
        **fields,
    )


def _counted(approval: Approval, wanted: Resolution) -> str:
    """Return the person whose allow counts towards the required number."""
    if wanted.person is None:
        raise PersonRequired(
            f"The approval {approval.approval_id} needs {approval.required} different persons, but this answer "
            f"({wanted.by}, by {wanted.via}) identifies none; answer with a token that has a person. A deny needs none."
        )
    digest = wanted.bound.digest if wanted.bound else approval.digest
    if any(one.person == wanted.person and one.digest == digest for one in approval.decisions):
        raise SamePerson(
            f"{wanted.person} has allowed {approval.approval_id} already; another person must allow it, too.",
            person=wanted.person,
        )
    return wanted.person


def _rule(approval: Approval, wanted: Resolution) -> Draft:
    """Return the rule that the session remembers. Raises Invalid for an impossible rule or one without effect."""
    assert wanted.remember is not None
    if approval.required > 1 and wanted.decision == "allow":
        raise _not_remembered("two persons must allow each such call")
    if not approval.remember and wanted.decision == "allow":
        raise _not_remembered(f"the call would still ask ({approval.why})")
    arguments = wanted.arguments if wanted.arguments is not None else approval.arguments
    if isinstance(arguments, events.Spilled):
        raise _not_remembered("the call is too long for a rule")
    rule = permission_remember.rule(wanted.remember, approval.tool, arguments, wanted.decision)
    reason = f"remembered by {wanted.by} ({approval.approval_id}): {rule.reason}"
    fields = rule.model_copy(update={"reason": reason}).model_dump()
    return events.RuleAdded(rule=fields).on(approval.session_id, approval.run_id, by=wanted.by)


def _not_remembered(why: str) -> Invalid:
    return Invalid(f"This cannot be remembered: {why}.", errors=[Fault("/remember", why)])


def _conclude(
    state: State,
    concluded: Sequence[tuple[Approval, events.ApprovalDecided | events.ApprovalResolved]],
    more: Sequence[Draft] = (),
) -> None:
    """Append the outcomes, and queue again each run for which nothing else is open, in the same group."""
    drafts = [event.on(approval.session_id, approval.run_id, by=event.by) for approval, event in concluded]
    drafts += more
    closed: dict[str, set[str]] = {}
    for approval, event in concluded:
        if isinstance(event, events.ApprovalResolved):
            closed.setdefault(approval.run_id, set()).add(approval.approval_id)
    for run_id, ids_closed in closed.items():
        if settles(state, run_id, ids_closed):
            drafts.append(runs.step(state, run_id, events.RunRequeued(reason="approval"), by=concluded[0][1].by))
    state.append(*drafts)


def settles(state: State, run_id: str, closed: set[str]) -> bool:
    """Return whether the run waits for nothing but these approvals and questions."""
    run = state.get(Run, run_id)
    return run.status in runs.WAITING and {*run.pending_approvals, *run.pending_questions} <= closed


def expire(state: State, now: str) -> list[str]:
    """Deny approvals that waited too long, and return their ids. RFC 3339 times in UTC sort by time."""
    due = [
        approval
        for approval in state.loaded(Approval)
        if approval.status == "pending" and approval.expires_at and approval.expires_at <= now
    ]
    for approval in due:
        _conclude(state, [(approval, events.ApprovalResolved(approval_id=approval.approval_id, outcome="expired"))])
    return [approval.approval_id for approval in due]


def late(view: Mapping[str, Any]) -> ApprovalResolved:
    """Return the error for a late decision: the approval's outcome and its decider."""
    decided_by = view["decisions"][-1]["by"] if view["decisions"] else "daemon"
    return ApprovalResolved(
        f"The approval {view['approval_id']} was {view['status']} by {decided_by}; nothing was changed.",
        decided_by=decided_by,
        approval_status=view["status"],
    )
