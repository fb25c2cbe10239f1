"""Deliveries: each output with each of its targets. The state machine is the table MOVES."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from enum import StrEnum
from typing import Any

from kheish.domain import events
from kheish.domain.events import Entry, Event, changed, frozen
from kheish.domain.shown import View
from kheish.state.noun import Noun, always


class DeliveryState(StrEnum):
    """The states of a delivery."""

    PENDING = "pending"
    DELIVERING = "delivering"
    RETRYING = "retrying"
    DELIVERED = "delivered"
    HELD = "held"
    DEAD_LETTER = "dead_letter"
    RESOLVED = "resolved"


S = DeliveryState
#: states in which the daemon has something to do
OPEN = frozenset({S.PENDING, S.DELIVERING, S.RETRYING})
#: states that a user may settle, or send again
STUCK = frozenset({S.HELD, S.DEAD_LETTER})

#: (state, event) → the new state; None is the state before the first event. A missing key is ignored
MOVES: Mapping[tuple[DeliveryState | None, type[Event]], DeliveryState] = {
    (None, events.DeliveryCreated): S.PENDING,
    (S.PENDING, events.DeliveryStarted): S.DELIVERING,
    (S.RETRYING, events.DeliveryStarted): S.DELIVERING,
    (S.DELIVERING, events.DeliveryProgressed): S.DELIVERING,
    (S.RETRYING, events.DeliveryProgressed): S.RETRYING,  # a look-up found parts of an attempt with an unknown end
    (S.DELIVERING, events.DeliveryDelayed): S.RETRYING,
    (S.DELIVERING, events.DeliveryDelivered): S.DELIVERED,
    (S.DELIVERING, events.DeliveryHeld): S.HELD,
    (S.RETRYING, events.DeliveryHeld): S.HELD,
    (S.PENDING, events.DeliveryDied): S.DEAD_LETTER,
    (S.RETRYING, events.DeliveryDied): S.DEAD_LETTER,
    (S.DELIVERING, events.DeliveryDied): S.DEAD_LETTER,
    (S.HELD, events.DeliveryResolved): S.RESOLVED,
    (S.DEAD_LETTER, events.DeliveryResolved): S.RESOLVED,
    (S.HELD, events.DeliveryReplayed): S.PENDING,
    (S.DEAD_LETTER, events.DeliveryReplayed): S.PENDING,
}
FOLDED = tuple(dict.fromkeys(event for _, event in MOVES))


@frozen
class Delivery:
    """A delivery as recorded in the journal."""

    delivery_id: str
    output_id: str
    kind: str
    run_id: str | None
    session_id: str
    target: dict[str, Any]
    state: DeliveryState
    created_at: str
    since: str  # the beginning of the time after which it is given up: its creation, or the newest replay
    made: int
    n: int
    content: str | None = None
    attempts: int = 0
    parts_done: int = 0
    parts: int | None = None
    next_try_at: str | None = None
    last_error: str | None = None
    unknown_end: bool = False
    is_unclear: bool = False  # the end of its newest attempt is unknown
    delivered_at: str | None = None
    ended_at: str | None = None
    receipt: str | None = None

    @property
    def output(self) -> str:
        """The name of the output that its target names."""
        return str(self.target.get("output"))

    @property
    def is_open(self) -> bool:
        """Return whether the daemon has something to do."""
        return self.state in OPEN


def fold(table: dict[str, Delivery], entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    event: Any = entry.event
    id = event.delivery_id
    old = table.get(id)
    if old is None and isinstance(event, events.DeliveryReplayed | events.DeliveryResolved):
        old = read(event.delivery)  # it had left memory
    state = MOVES.get((old.state if old is not None else None, type(event)))
    if state is None:
        return ()
    if old is None:
        table[id] = Delivery(
            delivery_id=id, output_id=event.output_id, kind=event.output_kind, run_id=entry.run,
            session_id=entry.session or "", target=event.target, state=state, created_at=entry.at, since=entry.at,
            made=entry.n, n=entry.n, content=event.content,
        )  # fmt: skip
    else:
        table[id] = changed(old, n=entry.n, state=state, **_fold_change(old, event, entry.at))
    return (id,)


def _fold_change(old: Delivery, event: Event, at: str) -> dict[str, Any]:
    match event:
        case events.DeliveryStarted(attempt=attempt):
            return {"attempts": attempt, "next_try_at": None}
        case events.DeliveryProgressed(parts_done=done, parts=parts, receipt=receipt):
            return {"parts_done": done, "parts": parts, "receipt": receipt or old.receipt, "is_unclear": False}
        case events.DeliveryDelayed(reason=reason, until=until, unknown_end=unknown):
            ends = {"unknown_end": old.unknown_end or unknown, "is_unclear": unknown}
            return {"last_error": reason, "next_try_at": until, **ends}
        case events.DeliveryDelivered(parts=parts, receipt=receipt):
            return {
                "parts": parts, "parts_done": parts, "receipt": receipt or old.receipt, "delivered_at": at,
                "ended_at": at, "last_error": None, "is_unclear": False, "next_try_at": None,
            }  # fmt: skip
        case events.DeliveryHeld(reason=reason) | events.DeliveryDied(reason=reason):
            unknown = old.unknown_end or isinstance(event, events.DeliveryHeld)
            return {"last_error": reason, "ended_at": at, "next_try_at": None, "unknown_end": unknown}
        case events.DeliveryResolved(reason=reason):
            return {"last_error": reason, "ended_at": at}
        case _:  # replayed: the parts that arrived are not sent again
            return {"since": at, "ended_at": None, "next_try_at": None, "is_unclear": False}


@frozen
class DeliveryView(View):
    """A delivery of an output to a target."""

    delivery_id: str
    output_id: str
    kind: str
    """The kind of the output: message, answer, approval, …"""
    run_id: str | None
    session_id: str
    target: dict[str, Any]
    """The reply target: the name of the output, and the address there."""
    state: str
    """pending, delivering, retrying, delivered, held, dead_letter or resolved."""
    attempts: int
    parts_done: int
    """The parts that have arrived; they are not sent again."""
    parts: int | None
    """The number of messages that the target gets; null before the first attempt."""
    next_try_at: str | None
    last_error: str | None
    """The reason of the newest failure, of a hold, or of a settlement."""
    unknown_end: bool
    """Whether the end of some attempt is unknown, so that it may have arrived twice."""
    created_at: str
    delivered_at: str | None
    ended_at: str | None
    """The time since which the daemon does nothing more for it."""
    receipt: str | None
    """The platform's id of the newest message."""
    content: str | None
    """The text of an announcement; null for an output of the run."""
    since: str
    """The time from which it is given up after `give_up`: its creation, or the newest replay."""
    is_unclear: bool
    """Whether the end of the newest attempt is unknown."""
    output: str
    """The name of the output or connector."""
    made: int
    n: int


def view(delivery: Delivery) -> DeliveryView:
    """Return the delivery as the API and the index show it."""
    return DeliveryView(**{one.name: getattr(delivery, one.name) for one in fields(DeliveryView)})


def read(doc: Mapping[str, Any]) -> Delivery:
    """Return the delivery in a document of the index."""
    known = {one.name for one in fields(Delivery)}
    given = {name: value for name, value in doc.items() if name in known}
    return Delivery(**{**given, "state": DeliveryState(doc["state"])})


NOUN = Noun(
    name="delivery",
    cls=Delivery,
    folded=frozenset(FOLDED),
    fold=lambda tables, entry: fold(tables[Delivery], entry),
    keep=lambda delivery: delivery.is_open,
    view=view,
    status=lambda delivery: str(delivery.state),
    filters=("run_id", "output_id", "output"),
)


@frozen
class Switch(View):
    """The switch of an output."""

    shown_as = "OutputSwitch"
    output: str
    state: str
    digest: str
    reason: str | None
    at: str
    made: int
    n: int


def fold_switch(table: dict[str, Switch], entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    event = entry.event
    assert isinstance(event, events.OutputSwitched)
    old = table.get(event.output)
    table[event.output] = Switch(
        output=event.output, state=event.state, digest=event.digest, reason=event.reason, at=entry.at,
        made=old.made if old is not None else entry.n, n=entry.n,
    )  # fmt: skip
    return (event.output,)


SWITCH = Noun(
    name="output_switch",
    cls=Switch,
    folded=frozenset({events.OutputSwitched}),
    fold=lambda tables, entry: fold_switch(tables[Switch], entry),
    keep=always,  # an owner is an output, so it has a single value
    view=lambda one: one,
    status=lambda one: one.state,
    read=lambda document: Switch(**document),
)
