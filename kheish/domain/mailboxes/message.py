"""Messages, and the mailbox of a session. The state machine is the table TRANSITIONS.

The messages are in the journal of their recipient, so that a delivery and its run are one group. `run.submitted` claims
messages, and the end of the run that had them acks them: what a run's own entries say is not said twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from kheish import ids
from kheish.domain import events
from kheish.domain.events import Entry, Event, changed, frozen
from kheish.domain.events.mailboxes import Delivery, MessageType, Payload, Sender
from kheish.domain.sessions.session import Session
from kheish.state.noun import Noun, Tables

if TYPE_CHECKING:
    from kheish.state.state import State


class MessageState(StrEnum):
    """The states of a message (`coordination.md`)."""

    PENDING = "pending"
    DELIVERING = "delivering"
    DELIVERED = "delivered"
    ACKED = "acked"
    DEAD_LETTER = "dead_letter"


FINAL = frozenset({MessageState.ACKED, MessageState.DEAD_LETTER})
#: the status in the index of a dead letter whose sender, an agent, has no notice yet
UNTOLD = "untold"
#: the types whose senders get a notice of a dead letter; the others come from the daemon
ANSWERABLE = frozenset({"message", "task_assignment", "clarification", "clarification_answer"})
#: seconds until the next claim after each failed one; after the last, the message is a dead letter
BACKOFF = (1.0, 10.0, 60.0, 600.0)

_ENDS: tuple[type[Event], ...] = (
    events.RunCompleted,
    events.RunFailed,
    events.RunCancelled,
    events.RunInterrupted,
)
_S = MessageState
#: (state, event) → the possible new states. Any other event leaves a message as it is.
TRANSITIONS: Mapping[tuple[MessageState, type[Event]], frozenset[MessageState]] = {
    (_S.PENDING, events.RunSubmitted): frozenset({_S.DELIVERING}),
    (_S.PENDING, events.MessageDelivered): frozenset({_S.DELIVERED}),  # in a turn
    (_S.PENDING, events.MessageAttempted): frozenset({_S.PENDING, _S.DEAD_LETTER}),
    (_S.PENDING, events.MessageAcked): frozenset({_S.ACKED}),
    (_S.PENDING, events.MessageDied): frozenset({_S.DEAD_LETTER}),
    (_S.PENDING, events.SessionEnded): frozenset({_S.DEAD_LETTER}),
    (_S.DELIVERING, events.MessageDelivered): frozenset({_S.DELIVERED}),  # with the run's start
    (_S.DELIVERING, events.RunFailed): frozenset({_S.PENDING, _S.DEAD_LETTER}),
    **{(_S.DELIVERING, end): frozenset({_S.DEAD_LETTER}) for end in _ENDS if end is not events.RunFailed},
    **{(_S.DELIVERED, end): frozenset({_S.ACKED}) for end in _ENDS},
    (_S.DELIVERED, events.MessageAcked): frozenset({_S.ACKED}),
    (_S.DEAD_LETTER, events.MessagePosted): frozenset({_S.PENDING, _S.DEAD_LETTER}),
    (_S.DEAD_LETTER, events.MessageSenderTold): frozenset({_S.DEAD_LETTER}),
}


@frozen
class Message:
    """A message as recorded in the journal. Its key in tables and in the index is `key_of` its session and its id,
    since callers choose ids."""

    message_id: str
    session_id: str  # of the recipient
    to: str  # the recipient's agent id
    type: MessageType
    sender: Sender
    payload: Payload
    structured: bool
    digest: str
    delivery: Delivery
    state: MessageState
    posted_at: str
    made: int
    n: int
    subject: str | None = None
    in_reply_to: str | None = None
    tainted_by: str | None = None
    for_run: str | None = None
    expires_at: str | None = None
    attempts: int = 0
    last_error: str | None = None
    delivered_at: str | None = None
    run_id: str | None = None
    turn: int | None = None
    unattended: bool = False
    untold: bool = False  # a dead letter whose sender gets a notice

    @property
    def key(self) -> str:
        return key_of(self.session_id, self.message_id)

    @property
    def is_final(self) -> bool:
        return self.state in FINAL


@dataclass(slots=True)
class Mailbox:
    """The open messages of a session, by key and in order, so that no step looks through all. Changed by `fold` only.

    One claim is in flight at a time: `claimed`, by the run `claimed_by`. `delivered` has the messages of live runs.
    """

    pending: dict[str, Delivery] = field(default_factory=dict)
    for_turns: int = 0  # pending messages for the next turn
    claimed_by: str | None = None
    claimed: list[str] = field(default_factory=list)
    delivered: dict[str, list[str]] = field(default_factory=dict)
    retry_at: float | None = None  # no claim before, after a failed one

    @property
    def is_open(self) -> bool:
        return bool(self.pending or self.claimed or self.delivered)

    def put(self, key: str, delivery: Delivery) -> None:
        """Add a pending message at the end, or put one back."""
        self.pending[key] = delivery
        self.for_turns += delivery == "next_turn"

    def take(self, key: str) -> None:
        """Remove a pending message."""
        self.for_turns -= self.pending.pop(key) == "next_turn"


def key_of(session_id: str, message_id: str) -> str:
    """Return the key of a message: ids are unique in a mailbox."""
    return f"{session_id}/{message_id}"


FOLDED = (
    events.MessagePosted,
    events.MessageDelivered,
    events.MessageAttempted,
    events.MessageAcked,
    events.MessageDied,
    events.MessageSenderTold,
    events.RunSubmitted,
    *_ENDS,
    events.SessionEnded,
)


def fold(tables: Tables, entry: Entry) -> Iterable[str]:
    """Fold an entry into messages and mailbox, and return the keys of the messages that changed."""
    assert entry.session is not None
    event, box = entry.event, tables[Mailbox].get(entry.session)
    if isinstance(event, events.MessagePosted):
        return _post(tables, entry, event)
    if box is None or (isinstance(event, events.RunSubmitted) and (not event.message_ids or event.retry_of)):
        return ()
    keys = _affected(box, entry)
    table = tables[Message]
    changes = [key for key in keys if key in table and (table[key].state, type(event)) in TRANSITIONS]
    for key in changes:
        table[key] = changed(table[key], n=entry.n, **_change(table[key], entry))
    _update(box, entry, [table[key] for key in changes])
    return changes


def _post(tables: Tables, entry: Entry, event: events.MessagePosted) -> tuple[str, ...]:
    session: Session = tables[Session][entry.session or ""]
    earlier = tables[Message].get(key_of(session.session_id, event.message_id))
    if earlier is not None and (earlier.state, type(event)) not in TRANSITIONS:
        return ()  # an id is posted once
    ended = session.ended_at is not None
    message = Message(
        message_id=event.message_id,
        session_id=session.session_id,
        to=session.agent_id,
        type=event.type,
        sender=event.sender,
        payload=event.payload,
        structured=event.structured,
        digest=event.digest,
        delivery=event.delivery,
        state=MessageState.DEAD_LETTER if ended else MessageState.PENDING,
        posted_at=event.posted_at or entry.at,
        made=entry.n,
        n=entry.n,
        subject=event.subject,
        in_reply_to=event.in_reply_to,
        tainted_by=event.tainted_by,
        for_run=event.for_run,
        expires_at=event.expires_at,
        unattended=event.unattended,
        last_error=f"the session ended at {session.ended_at}" if ended else None,
    )
    tables[Message][message.key] = message
    if not ended:
        tables[Mailbox].setdefault(session.session_id, Mailbox()).put(message.key, message.delivery)
    return (message.key,)


def _affected(box: Mailbox, entry: Entry) -> list[str]:
    """Return the keys of the messages that an entry may concern."""
    assert entry.session is not None
    match entry.event:
        case events.RunSubmitted(message_ids=several) | events.MessageAttempted(message_ids=several):
            return [key_of(entry.session, id) for id in several]
        case (
            events.MessageDelivered(message_id=id)
            | events.MessageAcked(message_id=id)
            | events.MessageDied(message_id=id)
            | events.MessageSenderTold(message_id=id)
        ):
            return [key_of(entry.session, id)]
        case events.SessionEnded():
            return list(box.pending)
        case _:  # the end of a run
            claimed = box.claimed if box.claimed_by == entry.run else []
            return [*claimed, *box.delivered.get(entry.run or "", ())]


def _change(message: Message, entry: Entry) -> dict[str, Any]:
    """Return the fields that an entry changes."""
    match entry.event:
        case events.RunSubmitted():
            return {"state": MessageState.DELIVERING, "run_id": entry.run, "attempts": message.attempts + 1}
        case events.MessageDelivered(turn=turn):
            attempts = message.attempts + (message.state is MessageState.PENDING)
            where = {"run_id": entry.run, "turn": turn, "delivered_at": entry.at, "attempts": attempts}
            return {"state": MessageState.DELIVERED, **where}
        case events.MessageAttempted(error=error):
            attempts = message.attempts + 1
            return {"attempts": attempts, **_failed(message, attempts, error)}
        case events.MessageAcked():
            return {"state": MessageState.ACKED}
        case events.MessageDied(reason=reason):
            return _dead(message, reason)
        case events.MessageSenderTold():
            return {"untold": False}
        case events.SessionEnded():
            return _dead(message, "the session ended")
        case _ if message.state is MessageState.DELIVERED:
            return {"state": MessageState.ACKED}
        case events.RunFailed(error=error):
            return {"run_id": None, **_failed(message, message.attempts, f"{error.code}: {error.message}")}
        case _:
            return _dead(message, f"its run {entry.run} ended before it started ({entry.event.kind})")


def _failed(message: Message, attempts: int, error: str) -> dict[str, Any]:
    if attempts > len(BACKOFF):
        return _dead(message, error)
    return {"state": MessageState.PENDING, "last_error": error}


def _dead(message: Message, reason: str) -> dict[str, Any]:
    sender = message.sender.session_id
    untold = message.type in ANSWERABLE and sender is not None and sender != message.session_id
    return {"state": MessageState.DEAD_LETTER, "last_error": reason, "untold": untold}


def _update(box: Mailbox, entry: Entry, messages: list[Message]) -> None:
    """Bring the mailbox to the messages that an entry changed."""
    run = entry.run or ""
    match entry.event:
        case events.RunSubmitted():
            box.claimed_by, box.claimed, box.retry_at = run, [message.key for message in messages], None
        case events.MessageDelivered():
            box.delivered.setdefault(run, []).extend(message.key for message in messages)
        case events.MessageAcked():
            for keys in box.delivered.values():
                keys[:] = [key for key in keys if key != messages[0].key] if messages else keys
        case event if isinstance(event, _ENDS):
            box.delivered.pop(run, None)
    if box.claimed_by == run and isinstance(entry.event, (events.MessageDelivered, *_ENDS)):
        gone = {message.key for message in messages}
        box.claimed = [key for key in box.claimed if key not in gone]
        box.claimed_by = run if box.claimed else None
    for message in messages:
        if message.state is not MessageState.PENDING and message.key in box.pending:
            box.take(message.key)
    again = [message for message in messages if message.state is MessageState.PENDING]
    if again:
        box.retry_at = ids.seconds_of(entry.at) + BACKOFF[max(message.attempts for message in again) - 1]
        _put_back(box, [message for message in again if message.key not in box.pending])


def _put_back(box: Mailbox, messages: list[Message]) -> None:
    """Put messages whose claim failed before those that came later."""
    later, box.pending, box.for_turns = box.pending, {}, 0
    for key, delivery in (*((message.key, message.delivery) for message in messages), *later.items()):
        box.put(key, delivery)


def view(message: Message) -> dict[str, Any]:
    """Return the message as the API shows it (`shapes-more.md`)."""
    return {
        "message_id": message.message_id,
        "session_id": message.session_id,
        "type": message.type,
        "from": message.sender.actor,
        "from_name": message.sender.name,
        "from_session": message.sender.session_id,
        "to": message.to,
        "subject": message.subject,
        "payload": message.payload,
        "structured": message.structured,
        "in_reply_to": message.in_reply_to,
        "tainted": message.tainted_by is not None,
        "tainted_by": message.tainted_by,
        "delivery": message.delivery,
        "for_run": message.for_run,
        "state": str(message.state),
        "attempts": message.attempts,
        "last_error": message.last_error,
        "posted_at": message.posted_at,
        "delivered_at": message.delivered_at,
        "run_id": message.run_id,
        "turn": message.turn,
        "expires_at": message.expires_at,
        "digest": message.digest,
        "n": message.n,
    }


NOUN = Noun(
    name="message",
    cls=Message,
    folded=frozenset(FOLDED),
    fold=fold,
    keep=lambda message: not message.is_final or message.untold,
    view=view,
    status=lambda message: UNTOLD if message.untold else str(message.state),
)
#: folded by NOUN, together with the messages
MAILBOX = Noun(
    name="mailbox",
    cls=Mailbox,
    folded=frozenset(),
    fold=lambda tables, entry: (),
    keep=lambda box: box.is_open,
    status=lambda box: None,
)


def mailbox(state: State, session_id: str) -> Mailbox | None:
    """Return the mailbox of a loaded session, for reading only; None if nothing in it is open."""
    return state.table(Mailbox, session_id).get(session_id)


def pending(state: State, session_id: str) -> int:
    """Return the number of pending messages of a loaded session."""
    box = mailbox(state, session_id)
    return len(box.pending) if box is not None else 0


def is_open(state: State, session_id: str) -> bool:
    """Return whether a loaded session has messages that are not before the model yet."""
    box = mailbox(state, session_id)
    return box is not None and bool(box.pending or box.claimed)


def unread(state: State, session_id: str) -> list[str]:
    """Return the ids of the messages of a loaded session that are not before the model yet."""
    box = mailbox(state, session_id)
    return [key.rpartition("/")[2] for key in (*box.claimed, *box.pending)] if box is not None else []
