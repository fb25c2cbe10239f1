"""Proposals: made by agents, callers and the daemon, within quotas; taken up or dismissed by people; expired."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from kheish import ids
from kheish.domain import events, keys
from kheish.domain.channels import channel as channels, rooms
from kheish.domain.channels.channel import CHANNELS, HOUR, key_of
from kheish.domain.channels.proposal import Proposal
from kheish.domain.events import Draft, frozen
from kheish.domain.events.channels import ProposalKind
from kheish.domain.keys import Key
from kheish.errors import Conflict, Fault, Invalid, TooMany
from kheish.texts import is_blank, is_line

if TYPE_CHECKING:
    from kheish.state.state import State

#: proposals of one author in an hour, and open at the same time
AN_HOUR, OPEN = 4, 1
#: open ones of the daemon; its quotas are those of what it announces
OPEN_OF_DAEMON = 50
DAEMON = "daemon"
KEY_CHARACTERS, TEXT_CHARACTERS = 200, 2000


@frozen
class Wish:
    """A proposal that an author wants to make."""

    kind: ProposalKind
    dedupe_key: str
    text: str
    by: str
    thread: str | None = None
    expires_at: str | None = None
    proposal_id: str | None = None
    tainted_by: str | None = None


def propose(state: State, channel_id: str, wish: Wish, key: Key | None = None) -> tuple[str, list[Draft]]:
    """Return the id of a proposal, and the drafts that make it; one with the key of an open proposal joins that, which
    stays as its author wrote it. The channel is loaded.

    Raises NotFound, Invalid, TooMany for an author that has an open proposal, or made or joined too many in an hour.
    """
    rooms.file_of(state, channel_id)
    _check(state, wish)
    open_ones = list(_open(state, channel_id))
    same = next((one for one in open_ones if one.dedupe_key == wish.dedupe_key), None)
    if same is not None and wish.proposal_id == same.proposal_id:
        return same.proposal_id, []  # a call that runs again
    _check_quotas(state, channel_id, wish, open_ones, joins=same is not None)
    if same is not None:
        return same.proposal_id, [_joined(same, wish, key)]
    made = events.ChannelProposed(
        channel_id=channel_id,
        proposal_id=wish.proposal_id or ids.new("prop"),
        proposal=wish.kind,
        dedupe_key=wish.dedupe_key,
        by=wish.by,
        text=wish.text,
        thread=wish.thread,
        expires_at=wish.expires_at,
        tainted_by=wish.tainted_by,
        idempotency=keys.sent(key),
    )
    return made.proposal_id, [made.on(by=wish.by)]


def _joined(same: Proposal, wish: Wish, key: Key | None) -> Draft:
    """Return the entry of a proposal that joins an open one. The journal alone has its text: no author's words stand
    under the name of another, and a person accepts what the person was shown."""
    return events.ChannelProposed(
        channel_id=same.channel_id,
        proposal_id=same.proposal_id,
        proposal=same.kind,
        dedupe_key=same.dedupe_key,
        by=same.by,
        text=same.text,
        thread=same.thread,
        expires_at=same.expires_at,
        count=same.count + 1,
        tainted_by=same.tainted_by,
        joined=wish.text,
        idempotency=keys.sent(key),
    ).on(by=wish.by)


def _open(state: State, channel_id: str) -> Iterator[Proposal]:
    yield from state.table(Proposal, f"{CHANNELS}/{channel_id}").values()


def _check(state: State, wish: Wish) -> None:
    faults = []
    if is_blank(wish.dedupe_key) or len(wish.dedupe_key) > KEY_CHARACTERS or not is_line(wish.dedupe_key):
        faults.append(Fault("/dedupe_key", f"must have 1 to {KEY_CHARACTERS} printable characters"))
    if is_blank(wish.text) or len(wish.text) > TEXT_CHARACTERS:
        faults.append(Fault("/text", f"must have 1 to {TEXT_CHARACTERS} characters"))
    if wish.expires_at is not None and wish.expires_at <= ids.stamp(state.clock()):
        faults.append(Fault("/expires_at", "is in the past"))
    if faults:
        raise Invalid("; ".join(f"{one.path}: {one.message}" for one in faults) + ".", errors=faults)


def _check_quotas(state: State, channel_id: str, wish: Wish, open_ones: list[Proposal], *, joins: bool) -> None:
    own = [one for one in open_ones if one.by == wish.by]
    if wish.by == DAEMON:
        if len(own) >= OPEN_OF_DAEMON and not joins:
            raise TooMany(f"The channel has {len(own)} open announcements; take them up or dismiss them.")
        return
    if len(own) >= OPEN and not joins:
        raise TooMany(f"{wish.by} has the open proposal {own[0].proposal_id} here; one at a time.")
    times = channels.find(state, channel_id).proposed.get(wish.by, ())
    recent = [one for one in times if one > state.clock() - HOUR]
    if len(recent) >= AN_HOUR:
        again = ids.stamp(recent[-AN_HOUR] + HOUR)
        raise TooMany(f"{wish.by} made {AN_HOUR} proposals here in the last hour; the next is possible at {again}.")


def check_shown(proposal: Proposal, digest: str | None) -> None:
    """Raise Conflict unless a proposal is the one that was shown, by its digest; None: nothing is claimed."""
    if digest is not None and digest != proposal.digest:
        raise Conflict(
            f"The proposal {proposal.proposal_id!r} is not the one with the digest {digest!r}; read it again.",
            digest=proposal.digest,
        )


def find(state: State, channel_id: str, proposal_id: str) -> Proposal:
    """Return an open proposal of a loaded channel. Raises Conflict for one that is not open."""
    found = state.table(Proposal, f"{CHANNELS}/{channel_id}").get(key_of(channel_id, proposal_id))
    if found is None:
        raise Conflict(f"The proposal {proposal_id!r} of the channel {channel_id!r} is not open.")
    return found


def close(
    proposal: Proposal, state: Literal["accepted", "dismissed", "expired"], *, by: str, message_id: str | None = None
) -> Draft:
    """Return the entry that ends a proposal: accepted (with the message that it became), dismissed or expired."""
    closed = events.ProposalClosed(
        channel_id=proposal.channel_id, proposal_id=proposal.proposal_id, state=state, message_id=message_id,
        digest=proposal.digest,
    )  # fmt: skip
    return closed.on(by=by)


def expired(state: State, channel_id: str, now: float) -> tuple[list[Draft], float | None]:
    """Return the entries that end proposals whose time is over, and the time of the next such end."""
    drafts, times = [], []
    for one in _open(state, channel_id):
        if one.expires_at is None:
            continue
        at = ids.seconds_of(one.expires_at)
        if at <= now:
            drafts.append(close(one, "expired", by=DAEMON))
        else:
            times.append(at)
    return drafts, min(times, default=None)
