"""Proposals: changes of memory that agents may not make by themselves, and the decisions of users on them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from kheish import ids
from kheish.domain import events
from kheish.domain.events import Draft, Entry, Text, changed, frozen
from kheish.domain.events.memory import Operation
from kheish.domain.shown import View
from kheish.errors import ProposalDecided
from kheish.state.noun import Noun

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from kheish.state.state import State

Status = Literal["pending", "accepted", "rejected"]
Decision = Literal["accept", "reject"]
OUTCOMES: Mapping[Decision, Literal["accepted", "rejected"]] = {"accept": "accepted", "reject": "rejected"}


@frozen
class Proposal:
    """A proposal as recorded in the journal."""

    proposal_id: str
    session_id: str
    run_id: str | None
    by: str
    path: str
    place: str
    operation: Operation
    diff: str
    is_whole: bool
    content: Text | None
    before: str | None
    new_path: str | None
    tainted_by: str | None
    at: str
    made: int
    n: int
    status: Status = "pending"
    decided_by: str | None = None
    decided_via: str | None = None
    decided_at: str | None = None
    reason: str | None = None


FOLDED = (events.MemoryProposed, events.MemoryDecided)


def fold(table: dict[str, Proposal], entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    assert entry.session is not None
    match entry.event:
        case events.MemoryProposed(proposal_id=id) as event:
            table[id] = Proposal(
                proposal_id=id,
                session_id=entry.session,
                run_id=entry.run,
                by=entry.actor,
                path=event.path,
                place=event.place,
                operation=event.operation,
                diff=event.diff,
                is_whole=event.is_whole,
                content=event.content,
                before=event.before,
                new_path=event.new_path,
                tainted_by=event.tainted_by,
                at=entry.at,
                made=entry.n,
                n=entry.n,
            )
            return (id,)
        case events.MemoryDecided(proposal_id=id) as event if id in table:
            decided = {"decided_by": event.by, "decided_via": event.via, "decided_at": entry.at}
            table[id] = changed(table[id], status=event.outcome, reason=event.reason, n=entry.n, **decided)
            return (id,)
        case _:
            return ()


@frozen
class MemoryProposalView(View):
    """A change of memory that an agent proposed."""

    proposal_id: str
    session_id: str
    run_id: str | None
    by: str
    path: str
    place: str
    """The folder of the file: proposals of a place are bounded."""
    operation: Operation
    new_path: str | None
    """The new path of a file that is to be renamed."""
    diff: str
    is_whole: bool
    """Whether `diff` shows the whole change; `content` always has all of it."""
    content: Text | None
    """The whole proposed content; null for a removal or a new name."""
    before: str | None
    """The sha256 of the content that the agent saw; null for a new file."""
    tainted_by: str | None
    """The tool that brought untrusted content into the conversation before the proposal."""
    status: Status
    at: str
    decided_by: str | None
    decided_via: str | None
    decided_at: str | None
    reason: str | None
    n: int


def view(one: Proposal) -> MemoryProposalView:
    """Return the proposal as the API and its Record show it."""
    return MemoryProposalView(
        proposal_id=one.proposal_id,
        session_id=one.session_id,
        run_id=one.run_id,
        by=one.by,
        path=one.path,
        place=one.place,
        operation=one.operation,
        new_path=one.new_path,
        diff=one.diff,
        is_whole=one.is_whole,
        content=one.content,
        before=one.before,
        tainted_by=one.tainted_by,
        status=one.status,
        at=one.at,
        decided_by=one.decided_by,
        decided_via=one.decided_via,
        decided_at=one.decided_at,
        reason=one.reason,
        n=one.n,
    )


NOUN = Noun(
    name="proposal",
    cls=Proposal,
    folded=frozenset(FOLDED),
    fold=lambda tables, entry: fold(tables[Proposal], entry),
    keep=lambda one: one.status == "pending",
    view=view,
    record="memory-proposals/{id}.yaml",
    filters=("place",),
    pending="memory",
)


def new_id() -> str:
    """Return the id of a new proposal."""
    return ids.new("prop")


def decided(
    state: State, proposal_id: str, decision: Decision, *, by: str, via: Literal["api", "file"], reason: str | None
) -> Draft:
    """Return the decision on a pending proposal. Raises NotFound, ProposalDecided."""
    one = state.get(Proposal, proposal_id)
    check_pending(state.document(NOUN, one))
    event = events.MemoryDecided(proposal_id=proposal_id, outcome=OUTCOMES[decision], by=by, via=via, reason=reason)
    return event.on(one.session_id, one.run_id, by=by)


def check_pending(document: Mapping[str, Any]) -> None:
    """Raise ProposalDecided if a proposal is no longer pending."""
    if document["status"] != "pending":
        raise late(document)


def late(document: Mapping[str, Any]) -> ProposalDecided:
    """Return the error for a decision that comes too late."""
    return ProposalDecided(
        f"The proposal {document['proposal_id']} was {document['status']} by {document['decided_by']} at "
        f"{document['decided_at']}.",
        decided_by=document["decided_by"],
    )
