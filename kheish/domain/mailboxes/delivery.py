"""Delivery: claims of pending messages by a run of their own, or by the next turn of the active run.

Both claim in posting order, so that the messages of one sender never overtake each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from kheish import ids
from kheish.domain import events, intake
from kheish.domain.events import Draft, Item, Spilled
from kheish.domain.mailboxes import framing
from kheish.domain.mailboxes.letters import MESSAGE_BYTES, size_of
from kheish.domain.mailboxes.message import Mailbox, Message, MessageState, key_of, mailbox
from kheish.domain.runs import Run
from kheish.domain.sessions.session import Session
from kheish.errors import InsufficientStorage, KheishError, StoreFailed

if TYPE_CHECKING:
    from kheish.state.state import State

KIND = "mailbox_delivery"
#: what one run or turn takes at most; the first message always has room
MESSAGES, BYTES = 20, MESSAGE_BYTES
#: a message with its text for the model
Framed = tuple[Message, tuple[Item, ...]]


# --- a run of their own -----------------------------------------------------------------------------------------------


def claim(state: State, session_id: str, now: float) -> Run | None:
    """Submit a run for pending messages of a loaded session, if none is active and no claim is in flight.

    A refused submission counts as an attempt. Raises InsufficientStorage, StoreFailed.
    """
    session, box = state.get(Session, session_id), mailbox(state, session_id)
    if box is None or not box.pending or box.claimed_by is not None or session.active or session.ended_at:
        return None
    if box.retry_at is not None and box.retry_at > now:
        return None
    batch = list(_batch(state, box, lambda message: not _waits_for_its_run(state, message)))
    if not batch:
        return None
    senders = {message.sender.actor for message in batch}
    given = intake.Input(
        session_id=session_id,
        items=tuple(item for message in batch for item in framing.framed(message)),
        actor=senders.pop() if len(senders) == 1 else "daemon",
        source="mailbox",
        kind=KIND,
        message_ids=tuple(message.message_id for message in batch),
        unattended="deny" if all(message.unattended for message in batch) else "ask",
    )
    try:
        run = intake.submit(state, given, by="daemon")
    except (InsufficientStorage, StoreFailed):
        raise
    except KheishError as error:
        failed = events.MessageAttempted(message_ids=given.message_ids, error=f"{error.code}: {error.detail}")
        state.append(failed.on(session_id))
        return None
    assert isinstance(run, Run)  # there is no key
    return run


def _waits_for_its_run(state: State, message: Message) -> bool:
    """Return whether a user steers a run that is not over: a parked one."""
    run = state.find(Run, message.for_run) if message.for_run is not None else None
    return run is not None and not run.is_final


def started(state: State, run: Run) -> list[Draft]:
    """Return the delivery of the messages that a run has claimed, for the group of its start."""
    box = mailbox(state, run.session_id)
    if box is None or box.claimed_by != run.run_id:
        return []
    claimed = [state.get(Message, key) for key in box.claimed]
    return [_delivered(message).on(run.session_id, run.run_id) for message in claimed]


# --- a turn of the active run -----------------------------------------------------------------------------------------


def due(state: State, run: Run) -> list[Framed]:
    """Return the messages for the run's next turn, with their text for the model."""
    box = mailbox(state, run.session_id)
    if box is None or not box.for_turns or box.claimed_by is not None:
        return []

    def fits(message: Message) -> bool:
        return message.delivery == "next_turn" and message.for_run in (None, run.run_id)

    return [(message, framing.framed(message)) for message in _batch(state, box, fits)]


def in_turn(state: State, run: Run, turn: int, mail: Sequence[Framed]) -> list[Draft] | None:
    """Return the delivery of messages, for the group of the turn's request; None if one is not pending any more."""
    known = [state.find(Message, key_of(message.session_id, message.message_id)) for message, _ in mail]
    if any(message is None or message.state is not MessageState.PENDING for message in known):
        return None
    return [_delivered(message, turn, items).on(run.session_id, run.run_id) for message, items in mail]


def _delivered(message: Message, turn: int | None = None, items: tuple[Item, ...] = ()) -> events.MessageDelivered:
    taint = f"{message.tainted_by}, by {message.sender.actor}" if message.tainted_by is not None else None
    return events.MessageDelivered(message_id=message.message_id, turn=turn, items=items, tainted_by=taint)


# --- both -------------------------------------------------------------------------------------------------------------


def _batch(state: State, box: Mailbox, fits: Callable[[Message], bool]) -> Iterator[Message]:
    """Yield pending messages in order, as many as fit into one prompt. Behind one that stays, those of its sender stay,
    too."""
    held: set[tuple[str, str | None]] = set()
    count = size = 0
    for key in box.pending:
        message = state.get(Message, key)
        lane = message.sender.actor, message.for_run
        if _is_expired(state, message):
            continue  # the daemon makes it a dead letter
        if lane in held or not fits(message):
            held.add(lane)
            continue
        size += message.payload.bytes if isinstance(message.payload, Spilled) else size_of(message.payload)
        if count and (count >= MESSAGES or size > BYTES):
            return
        count += 1
        yield message


def _is_expired(state: State, message: Message) -> bool:
    return message.expires_at is not None and message.expires_at <= ids.stamp(state.clock())
