"""Turns: the lease of an agent to speak once in a thread. The state machine is the table MOVES."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from enum import StrEnum
from typing import Any

from kheish import ids
from kheish.domain import events
from kheish.domain.events import Entry, Event, changed, frozen
from kheish.domain.shown import View
from kheish.state.event import adapter
from kheish.state.noun import Noun, Tables


class TurnState(StrEnum):
    """The states of a turn."""

    QUEUED = "queued"  # a place in the queue: it follows from the thread, and is in no journal
    GRANTED = "granted"
    PASSED = "passed"
    POSTED = "posted"
    SILENT = "silent"
    EXPIRED = "expired"


#: (state, event) → the possible new states; None is the state before the first event. A missing key is ignored
MOVES: Mapping[tuple[TurnState | None, type[Event]], frozenset[TurnState]] = {
    (None, events.TurnGranted): frozenset({TurnState.GRANTED}),
    (None, events.TurnsClosed): frozenset({TurnState.PASSED}),
    (TurnState.GRANTED, events.TurnRenewed): frozenset({TurnState.GRANTED}),
    (TurnState.GRANTED, events.TurnReplied): frozenset({TurnState.GRANTED}),
    (TurnState.GRANTED, events.TurnEnded): frozenset({TurnState.POSTED, TurnState.SILENT, TurnState.EXPIRED}),
}


@frozen
class Reply:
    """The message of a turn before it appears."""

    message_id: str
    text: str
    reply_to: str | None = None
    replied_to: str | None = None
    attachments: tuple[str, ...] = ()
    tainted_by: str | None = None


@frozen
class Turn:
    """A turn as recorded in the journal."""

    turn_id: str
    channel_id: str
    thread: str
    member: str
    state: TurnState
    rank: tuple[str, ...]
    made: int
    n: int
    session_id: str | None = None
    run_id: str | None = None
    granted_at: str | None = None
    expires_at: str | None = None
    ended_at: str | None = None
    replies_left: int = 0
    upto: int = 0
    reply: Reply | None = None
    reason: str | None = None

    @property
    def ends(self) -> float:
        """The end of the lease in seconds since 1970."""
        return ids.seconds_of(self.expires_at) if self.expires_at is not None else 0.0


FOLDED = (events.TurnGranted, events.TurnRenewed, events.TurnReplied, events.TurnEnded, events.TurnsClosed)


def fold(tables: Tables, entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    table: dict[str, Turn] = tables[Turn]
    event: Any = entry.event
    if isinstance(event, events.TurnsClosed):
        return [_fold_passed(table, event, one, entry) for one in event.passed]
    old = table.get(event.turn_id)
    if (old.state if old is not None else None, type(event)) not in MOVES:
        return ()
    if isinstance(event, events.TurnGranted):
        given = {one.name: getattr(event, one.name) for one in fields(event)}
        table[event.turn_id] = Turn(**given, state=TurnState.GRANTED, made=entry.n, n=entry.n, granted_at=entry.at)
    elif old is not None:
        table[event.turn_id] = changed(old, n=entry.n, **_fold_change(old, event, entry.at))
    return (event.turn_id,)


def _fold_passed(table: dict[str, Turn], event: events.TurnsClosed, one: events.Passed, entry: Entry) -> str:
    table[one.turn_id] = Turn(
        turn_id=one.turn_id, channel_id=event.channel_id, thread=event.thread, member=one.member, rank=one.rank,
        state=TurnState.PASSED, made=entry.n, n=entry.n, ended_at=entry.at, reason=event.reason,
    )  # fmt: skip
    return one.turn_id


def _fold_change(old: Turn, event: Any, at: str) -> dict[str, Any]:
    match event:
        case events.TurnRenewed(expires_at=expires_at):
            return {"expires_at": expires_at}
        case events.TurnReplied() if old.reply is None:
            return {"reply": Reply(**{one.name: getattr(event, one.name) for one in fields(Reply)})}
        case events.TurnEnded(state=state, reason=reason):
            return {"state": TurnState(state), "reason": reason, "ended_at": at}
        case _:
            return {}


@frozen
class TurnView(View):
    """A turn of an agent in a thread."""

    shown_as = "ChannelTurn"
    internal = frozenset({"upto", "made", "n"})
    turn_id: str
    channel: str
    thread: str
    member: str
    session_id: str | None
    run_id: str | None
    """Its run; null while it is in the queue."""
    state: TurnState
    """`queued`: in the queue; `passed`: it was in the queue, and got no turn."""
    granted_at: str | None
    expires_at: str | None
    """The end of the lease; it is extended while the run lives and no other agent waits."""
    ended_at: str | None
    replies_left: int
    """The messages that agents may post, with this one, to the newest message of a person."""
    rank: tuple[str, ...]
    """The reasons for its place."""
    reason: str | None
    """The reason of its end; of a place in the queue, what holds it up."""
    upto: int
    """The number of the entry up to which it was shown the thread."""
    reply: Reply | None
    """Its message, which appears when the run ends."""
    made: int
    n: int


def view(turn: Turn) -> TurnView:
    """Return the turn as the API shows it."""
    given = {one.name: getattr(turn, one.name) for one in fields(TurnView) if one.name != "channel"}
    return TurnView(channel=turn.channel_id, **given)


def read(doc: Mapping[str, Any]) -> Turn:
    """Return the turn in a document of the index."""
    turn: Turn = adapter(Turn).validate_python(
        {("channel_id" if name == "channel" else name): value for name, value in doc.items()}
    )
    return turn


NOUN = Noun(
    name="channel_turn",
    cls=Turn,
    folded=frozenset(FOLDED),
    fold=fold,
    keep=lambda turn: turn.state is TurnState.GRANTED,
    view=view,
    status=lambda turn: str(turn.state),
    filters=("channel", "thread"),
    read=read,
)
