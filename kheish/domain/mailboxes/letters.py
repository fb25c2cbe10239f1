"""Posting messages, and what callers do with them: ack, redeliver."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import orjson

from kheish import ids
from kheish.domain import events
from kheish.domain.events import Draft, frozen
from kheish.domain.events.mailboxes import Delivery, MessageType, Sender
from kheish.domain.mailboxes.message import Message, MessageState, key_of, pending
from kheish.domain.sessions.session import Session
from kheish.errors import Fault, IdempotencyConflict, Invalid, MailboxFull, MessageStateConflict, TooLarge
from kheish.texts import is_line

if TYPE_CHECKING:
    from kheish.state.state import State

MESSAGE_BYTES = 64 * 1024
PENDING = 1000
SUBJECT_CHARACTERS = 200
#: the daemon as a sender
DAEMON = Sender(actor="daemon")
_CUT = "\n[… cut …]\n"
_NEVER = "9999"


@frozen
class Letter:
    """A message to post. `delivery` None: at the next turn if the recipient is busy, else in a run of its own."""

    type: MessageType
    sender: Sender
    payload: str | Mapping[str, Any]
    subject: str | None = None
    in_reply_to: str | None = None
    delivery: Delivery | None = None
    for_run: str | None = None
    expires_at: str | None = None  # as `normal_time` returns it
    message_id: str | None = None
    tainted_by: str | None = None
    unattended: bool = False


def sender_of(session: Session, name: str | None = None) -> Sender:
    """Return an agent as a sender: the root agent of a session has the session's id as its name."""
    return Sender(actor=f"agent:{session.agent_id}", name=name or session.session_id, session_id=session.session_id)


def draft(state: State, session_id: str, letter: Letter) -> Draft:
    """Return the event that posts a message into the mailbox of a loaded session, for a larger group.

    The recipient's fold makes it a dead letter if the session has ended. Raises NotFound; for a caller's message also
    Invalid, TooLarge, MailboxFull. A message of the daemon is never refused; its payload is cut.
    """
    session = state.get(Session, session_id)
    payload = letter.payload if isinstance(letter.payload, str) else dict(letter.payload)
    if letter.type == "message":
        check(letter)
        if pending(state, session_id) >= PENDING and not session.ended_at:
            raise MailboxFull(
                f"The mailbox of {session_id!r} has {PENDING} pending messages; wait until some are delivered."
            )
    else:
        payload = _within(payload)
    posted = events.MessagePosted(
        message_id=letter.message_id or ids.new("msg"),
        type=letter.type,
        sender=letter.sender,
        payload=payload,
        structured=not isinstance(payload, str),
        delivery=letter.delivery or ("next_turn" if session.active else "next_run"),
        digest=digest(letter),
        subject=letter.subject,
        in_reply_to=letter.in_reply_to,
        tainted_by=letter.tainted_by or _taint(state, letter.sender),
        for_run=letter.for_run,
        expires_at=letter.expires_at,
        unattended=letter.unattended,
    )
    return posted.on(session_id, by=letter.sender.actor)


def post(state: State, session_id: str, letter: Letter) -> str:
    """Post a message into the mailbox of a loaded session, and return its key; the same id with the same content is
    posted once.

    A caller that chooses the id has recalled the message before (`State.recall`). Raises as `draft`, and
    IdempotencyConflict for the id of another message.
    """
    doc = earlier(state, session_id, letter)
    if doc is not None:
        return key_of(session_id, doc["message_id"])
    posted = draft(state, session_id, letter)
    assert isinstance(posted.event, events.MessagePosted)
    state.append(posted)
    return key_of(session_id, posted.event.message_id)


def earlier(state: State, session_id: str, letter: Letter) -> Mapping[str, Any] | None:
    """Return the document of the message that was posted with the letter's id. Raises IdempotencyConflict if it had
    other content."""
    if letter.message_id is None:
        return None
    doc = state.recalled(Message, key_of(session_id, letter.message_id))
    if doc is not None and doc["digest"] != digest(letter):
        raise IdempotencyConflict(
            f"The message id {letter.message_id!r} was used for another message to this agent; use a new one.",
            result=letter.message_id,
        )
    return doc


def _taint(state: State, sender: Sender) -> str | None:
    """Return what tainted the sender's session: its messages carry it on."""
    session = state.find(Session, sender.session_id) if sender.session_id is not None else None
    return session.tainted_by if session is not None else None


def digest(letter: Letter) -> str:
    """Return the sha256 of what a caller sends: the same id with the same digest is the same message."""
    sent = [
        letter.type,
        letter.sender.actor,
        letter.payload if isinstance(letter.payload, str) else dict(letter.payload),
        letter.subject,
        letter.in_reply_to,
        letter.delivery,
        letter.for_run,
        letter.expires_at,
    ]
    return sha256(orjson.dumps(sent, option=orjson.OPT_SORT_KEYS)).hexdigest()


def check(letter: Letter) -> None:
    """Check what a caller sends. Raises Invalid, TooLarge."""
    size = size_of(letter.payload)
    if size > MESSAGE_BYTES:
        raise TooLarge(
            f"The message has {size} bytes; at most {MESSAGE_BYTES}. Write a file to the workspace, and send its path.",
            errors=[Fault("/payload", f"has {size} bytes; at most {MESSAGE_BYTES}")],
        )
    faults = []
    if not letter.payload:
        faults.append(Fault("/payload", "is empty"))
    if letter.subject is not None and not (is_line(letter.subject) and len(letter.subject) <= SUBJECT_CHARACTERS):
        faults.append(Fault("/subject", f"must be one line of at most {SUBJECT_CHARACTERS} characters"))
    if letter.message_id is not None and not ids.is_slug(letter.message_id):
        faults.append(Fault("/message_id", "must be 1 to 128 of a-z, 0-9, '.', '_', '-'"))
    if faults:
        raise Invalid("; ".join(f"{fault.path}: {fault.message}" for fault in faults) + ".", errors=faults)


def size_of(payload: Any) -> int:
    """Return the size of a payload in bytes."""
    return len(payload.encode()) if isinstance(payload, str) else len(orjson.dumps(payload))


def normal_time(text: str | None) -> str | None:
    """Return an RFC 3339 time in UTC, as entries have it; the index compares texts. Raises Invalid."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is not None:
            return ids.stamp(at.timestamp())
    except (ValueError, OverflowError):
        pass
    wrong = "must be an RFC 3339 time with its zone, such as 2026-12-01T09:00:00Z"
    raise Invalid(f"/expires_at: {wrong}.", errors=[Fault("/expires_at", wrong)])


def _within(payload: str | dict[str, Any]) -> str | dict[str, Any]:
    """Return a payload of the daemon in at most 64 KiB: its longest text is cut in the middle."""
    while (excess := size_of(payload) - MESSAGE_BYTES) > 0:
        payload = _shorter(payload, excess) if isinstance(payload, str) else _with_shorter_field(payload, excess)
    return payload


def _with_shorter_field(payload: dict[str, Any], excess: int) -> dict[str, Any]:
    longest = max(payload, key=lambda key: size_of(payload[key]))
    value = payload[longest]
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return {**payload, longest: _shorter(text, excess)}


def _shorter(text: str, excess: int) -> str:
    kept = max(0, len(text) - excess - len(_CUT) - 64)
    return f"{text[: kept // 2]}{_CUT}{text[len(text) - kept // 2 :]}" if kept else _CUT


def ack(state: State, session_id: str, message_id: str, *, by: str) -> Message:
    """Record that a caller has read a message in memory; an acked one stays as it is. Raises NotFound,
    MessageStateConflict."""
    message = state.get(Message, key_of(session_id, message_id))
    if message.state in (MessageState.PENDING, MessageState.DELIVERED):
        state.append(events.MessageAcked(message_id=message_id).on(session_id, by=by))
    elif message.state is not MessageState.ACKED:
        raise MessageStateConflict(
            f"The message {message_id!r} is {message.state}; only a pending or delivered one can be acked.",
            from_state=str(message.state),
            to_state="acked",
        )
    return state.get(Message, message.key)


def redeliver(state: State, doc: Mapping[str, Any], payload: Any, *, by: str) -> Message:
    """Send a dead letter again, from its document and its whole payload; the recipient's session is loaded.

    Raises MessageStateConflict, MailboxFull.
    """
    if doc["state"] != MessageState.DEAD_LETTER:
        raise MessageStateConflict(
            f"The message {doc['message_id']!r} is {doc['state']}; only a dead letter can be sent again.",
            from_state=doc["state"],
            to_state="pending",
        )
    session = state.get(Session, doc["session_id"])
    if pending(state, session.session_id) >= PENDING:
        raise MailboxFull(f"The mailbox of {session.session_id!r} has {PENDING} pending messages; try it later.")
    posted = events.MessagePosted(
        message_id=doc["message_id"],
        type=doc["type"],
        sender=Sender(actor=doc["from"], name=doc["from_name"], session_id=doc["from_session"]),
        payload=payload,
        structured=doc["structured"],
        delivery="next_turn" if session.active else "next_run",
        digest=doc["digest"],
        subject=doc["subject"],
        in_reply_to=doc["in_reply_to"],
        tainted_by=doc["tainted_by"],
        posted_at=doc["posted_at"],
    )
    state.append(posted.on(session.session_id, by=by))
    return state.get(Message, key_of(session.session_id, doc["message_id"]))


def expire(state: State, key: str, now: str) -> None:
    """Make a pending message in memory whose time is over a dead letter."""
    message = state.find(Message, key)
    if message is not None and message.state is MessageState.PENDING and (message.expires_at or _NEVER) <= now:
        died = events.MessageDied(message_id=message.message_id, reason=f"it expired at {message.expires_at}")
        state.append(died.on(message.session_id))


def tell_sender(state: State, key: str, sender: str | None) -> None:
    """Post a notice of a dead letter to its sender's session, in one group with the note that it was posted. Both
    sessions are loaded; `sender` is None if that one is gone."""
    message = state.find(Message, key)
    if message is None or not message.untold:
        return
    told = events.MessageSenderTold(message_id=message.message_id).on(message.session_id)
    if sender is None or state.get(Session, sender).ended_at is not None:
        state.append(told)
        return
    text = (
        f"Your message {message.message_id} to {message.to} was not delivered: {message.last_error}. It is a dead "
        "letter now; a user can send it again."
    )
    notice = Letter(type="notice", sender=DAEMON, payload=text, in_reply_to=message.message_id)
    state.append(draft(state, sender, notice), told)
