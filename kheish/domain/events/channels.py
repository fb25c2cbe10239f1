"""Events of channels: entries of the stream `channels`, where each channel has a journal of its own; and the entry by
which a turn comes into its member's session.

The index alone keeps messages. So an entry that changes a message, its reactions or a thread holds all of it, as it is
then: nothing has to be read back to fold it.
"""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from kheish.domain.events.runs import Idempotency
from kheish.domain.shown import View
from kheish.state.event import Event, frozen

CHANNELS = "channels"
#: the kind of the runs of turns
CHANNEL_TURN = "channel_turn"
AuthorKind = Literal["human", "agent", "daemon", "schedule"]
TurnEnd = Literal["posted", "silent", "expired"]
ProposalKind = Literal["topic", "event"]


@frozen
class Author(View):
    """The author of a message, stamped by the daemon. `member` is null for a guest: a token whose person is no
    member."""

    shown_as = "ChannelAuthor"
    kind: AuthorKind
    member: str | None
    name: str
    session_id: str | None = None
    via: str | None = None
    """The token, run or schedule by which it was posted."""
    person: str | None = None
    """The person that the token named."""

    @property
    def key(self) -> str:
        """The author as one word in this channel: a member by its id, which may be another person later."""
        return self.member if self.member is not None else f"{self.kind}:{self.name}"

    @property
    def identity(self) -> str:
        """The session, the person or the token: it is the same whatever the members are called later."""
        if self.session_id is not None:
            return f"session:{self.session_id}"
        return f"person:{self.person}" if self.person is not None else self.via or self.key

    def is_same(self, other: Author) -> bool:
        """Return whether another author is the same person, token or session."""
        if self.identity == other.identity:
            return True
        return self.person is None and self.session_id is None and self.via is not None and self.via == other.via


@frozen
class About(View):
    """A thing that a thread is about."""

    shown_as = "ChannelAbout"
    kind: str
    id: str


@frozen
class PostBody:
    """A message. `opens`: agents get turns for it. `addressed`, `tagged` and `mentioned` are members: those that it
    names, those with a tag that its text has, and those to whom an agent passes on."""

    message_id: str
    thread: str
    author: Author
    text: str
    at: str
    reply_to: str | None = None
    replied_to: str | None = None  # the member that wrote that message
    addressed: tuple[str, ...] = ()
    tagged: tuple[str, ...] = ()
    mentioned: tuple[str, ...] = ()
    attachments: tuple[str, ...] = ()
    turn_id: str | None = None
    tainted_by: str | None = None
    opens: bool = False


@frozen
class ThreadBase:
    """A thread without its turns. `newest` is the number of its newest message or edit, by `newest_by`;
    `newest_other` that of the newest by another author. `seen` has the entry up to which each member had a turn, and
    `shown` that up to which each session was shown it: the run of a turn may be cancelled before it begins."""

    thread_id: str
    opened_at: str
    made: int = 0
    title: str = ""
    status: str = "open"
    about: tuple[About, ...] = ()
    messages: int = 0
    last_at: str | None = None
    last_speaker: str | None = None
    newest: int = 0
    newest_by: str | None = None
    newest_other: int = 0
    seen: dict[str, int] = field(default_factory=dict)
    shown: dict[str, int] = field(default_factory=dict)


@frozen
class Reaction:
    """The members and guests that reacted to a message with an emoji, and the session, person or token of each."""

    emoji: str
    by: tuple[str, ...]
    identities: tuple[str, ...] = ()


@frozen
class Passed:
    """A member that was in the queue, and got no turn."""

    turn_id: str
    member: str
    rank: tuple[str, ...]


@frozen
class _OfChannel(Event):
    """The base of the entries of one channel."""

    stream = CHANNELS
    owned_by = "channel_id"
    journal_per_owner = True
    channel_id: str


@frozen
class ChannelPosted(_OfChannel):
    """A message. `base` is its thread before it, unless agents have turns there."""

    kind = "channel.posted"
    headline = "message in {channel_id}: {excerpt}"
    post: PostBody
    base: ThreadBase | None = None
    digest: str | None = None  # of the request, where the caller chose the id

    @property
    def excerpt(self) -> str:
        """The author and the beginning of the text."""
        return f"{self.post.author.name}: {' '.join(self.post.text[:80].split())}"


@frozen
class ChannelEdited(_OfChannel):
    """A message with another text. `made` is the number of its first entry, `edited_at` the time of the change."""

    kind = "channel.edited"
    post: PostBody
    made: int
    edited_at: str
    digest: str | None = None


@frozen
class ChannelRemoved(_OfChannel):
    """A message that was removed: its text is gone from all answers, and stays in the journal."""

    kind = "channel.removed"
    post: PostBody
    made: int
    removed_at: str
    edited_at: str | None = None
    digest: str | None = None


@frozen
class ChannelReacted(_OfChannel):
    """A reaction that was added or removed; `reactions` are all of the message afterwards."""

    kind = "channel.reacted"
    message_id: str
    emoji: str
    by: str
    change: Literal["added", "removed"]
    reactions: tuple[Reaction, ...]


@frozen
class ThreadChanged(_OfChannel):
    """Another status of a thread, or other things that it is about."""

    kind = "channel.thread_changed"
    thread: ThreadBase


@frozen
class TurnGranted(_OfChannel):
    """A lease to speak, in one group with its run, which is shown the thread up to the entry `upto`."""

    kind = "channel.turn_granted"
    turn_id: str
    thread: str
    member: str
    session_id: str
    run_id: str
    expires_at: str
    replies_left: int
    rank: tuple[str, ...]
    upto: int


@frozen
class TurnRenewed(_OfChannel):
    """A lease that continues, since its run lives and no other member waits."""

    kind = "channel.turn_renewed"
    turn_id: str
    expires_at: str


@frozen
class TurnReplied(_OfChannel):
    """The message of a turn, in one group with the end of the call; it appears when the run ends."""

    kind = "channel.turn_replied"
    turn_id: str
    message_id: str
    text: str
    reply_to: str | None = None
    replied_to: str | None = None
    attachments: tuple[str, ...] = ()
    tainted_by: str | None = None


@frozen
class TurnEnded(_OfChannel):
    """The end of a lease, in one group with its message, if there is one. `shown_to`: the session whose run completed,
    and so was shown the thread up to the entry `upto`."""

    kind = "channel.turn_ended"
    turn_id: str
    state: TurnEnd
    reason: str | None = None
    shown_to: str | None = None
    upto: int = 0


@frozen
class TurnsClosed(_OfChannel):
    """The end of the turns that a message opened; `passed` are the first members that were still in the
    queue."""

    kind = "channel.turns_closed"
    thread: str
    reason: str
    passed: tuple[Passed, ...] = ()


@frozen
class ChannelPaused(_OfChannel):
    """A pause: no turn is granted."""

    kind = "channel.paused"
    headline = "channel paused: {channel_id}"
    reason: str | None = None


@frozen
class ChannelResumed(_OfChannel):
    """The end of a pause. The posts of the last hour count from zero."""

    kind = "channel.resumed"
    headline = "channel resumed: {channel_id}"


@frozen
class ChannelProposed(_OfChannel):
    """A proposal, or another one with the `dedupe_key` of an open proposal, which adds to its `count`, and changes
    nothing else of it: `joined` is the text of that other one."""

    kind = "channel.proposed"
    proposal_id: str
    proposal: ProposalKind
    dedupe_key: str
    by: str
    text: str
    thread: str | None = None
    expires_at: str | None = None
    count: int = 1
    tainted_by: str | None = None
    joined: str | None = None
    idempotency: Idempotency | None = None


@frozen
class ProposalClosed(_OfChannel):
    """The end of a proposal. An accepted one is posted as `message_id`, in the same group. `digest` is that of what was
    proposed."""

    kind = "channel.proposal_closed"
    proposal_id: str
    state: Literal["accepted", "dismissed", "expired"]
    message_id: str | None = None
    digest: str | None = None


@frozen
class ChannelTurnTaken(Event):
    """A turn in the session of its member, in one group with the run. `tainted_by`: untrusted content that a message
    of the thread carries."""

    kind = "channel.turn_taken"
    channel: str
    thread: str
    turn_id: str
    tainted_by: str | None = None
