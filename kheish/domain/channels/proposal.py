"""Proposals: topics and events that agents, or the daemon, bring up in a channel. A person takes them up, or not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from hashlib import sha256
from typing import Any, Literal

import orjson

from kheish.domain import events
from kheish.domain.channels.channel import key_of
from kheish.domain.events import Entry, changed, frozen
from kheish.domain.events.channels import ProposalKind
from kheish.domain.shown import View
from kheish.state.noun import Noun, Tables

ProposalState = Literal["open", "accepted", "dismissed", "expired"]


@frozen
class Proposal:
    """A proposal as recorded in the journal. `count` are the proposals with its `dedupe_key` that it stands for."""

    proposal_id: str
    channel_id: str
    kind: ProposalKind
    dedupe_key: str
    by: str
    text: str
    at: str
    made: int
    n: int
    thread: str | None = None
    expires_at: str | None = None
    count: int = 1
    state: ProposalState = "open"
    message_id: str | None = None
    ended_at: str | None = None
    ended_by: str | None = None
    tainted_by: str | None = None

    @property
    def digest(self) -> str:
        """The sha256 of what is posted if it is accepted: its text, and its thread."""
        return sha256(orjson.dumps([self.text, self.thread])).hexdigest()


def fold(tables: Tables, entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the keys that changed."""
    table: dict[str, Proposal] = tables[Proposal]
    event: Any = entry.event
    key = key_of(event.channel_id, event.proposal_id)
    old = table.get(key)
    if isinstance(event, events.ChannelProposed):
        given = {name: getattr(event, name) for name in ("text", "thread", "expires_at", "tainted_by")}
        table[key] = changed(old, n=entry.n, count=event.count) if old is not None else Proposal(
            proposal_id=event.proposal_id, channel_id=event.channel_id, kind=event.proposal, by=event.by, at=entry.at,
            dedupe_key=event.dedupe_key, made=entry.n, n=entry.n, count=event.count, **given,
        )  # fmt: skip
    elif old is None or old.state != "open":
        return ()
    else:
        table[key] = changed(
            old, n=entry.n, state=event.state, message_id=event.message_id, ended_at=entry.at, ended_by=entry.actor
        )
    return (key,)


@frozen
class ProposalView(View):
    """A proposal in a channel."""

    shown_as = "ChannelProposal"
    internal = frozenset({"made", "n"})
    proposal_id: str
    channel: str
    kind: ProposalKind
    thread: str | None
    """The thread that it is for; null: a new one."""
    dedupe_key: str
    """Proposals with the same key are one."""
    text: str
    by: str
    """The agent (`agent:agent_01…`), token or `daemon` that proposed it."""
    at: str
    expires_at: str | None
    count: int
    """The number of proposals with its key that it stands for; the text is that of the first."""
    state: ProposalState
    message_id: str | None
    """The message that it became, if it was accepted."""
    ended_at: str | None
    ended_by: str | None
    tainted_by: str | None
    digest: str
    """The sha256 of what is posted if it is accepted; an acceptance may name it."""
    made: int
    n: int


def view(proposal: Proposal) -> ProposalView:
    """Return the proposal as the API shows it."""
    given = {one.name: getattr(proposal, one.name) for one in fields(ProposalView) if one.name != "channel"}
    return ProposalView(channel=proposal.channel_id, **given)


def read(doc: Mapping[str, Any]) -> Proposal:
    """Return the proposal in a document of the index."""
    given = {name: value for name, value in doc.items() if name not in ("channel", "digest")}
    return Proposal(channel_id=doc["channel"], **given)


NOUN = Noun(
    name="channel_proposal",
    cls=Proposal,
    folded=frozenset({events.ChannelProposed, events.ProposalClosed}),
    fold=fold,
    keep=lambda proposal: proposal.state == "open",
    view=view,
    status=lambda proposal: proposal.state,
    filters=("channel",),
    read=read,
)
