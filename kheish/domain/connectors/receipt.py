"""Receipts: what each request of a connector led to, found again by its idempotency keys; and the keys of outside
conversations, which lead to one session for good. Both have ended when they are made, so that the index alone keeps
them, however many there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

import orjson

from kheish.domain import events
from kheish.domain.events import Entry, frozen
from kheish.domain.shown import View
from kheish.state.noun import Noun, Tables

if TYPE_CHECKING:
    from kheish.state.state import State


@frozen
class Receipt(View):
    """A request of a connector, and what it led to."""

    receipt_id: str
    connector: str
    state: Literal["accepted", "refused"]
    what: str
    """message, edit, event, command."""
    keys: tuple[str, ...]
    """The idempotency keys; a later request with one of them is a duplicate."""
    sender: str | None
    """The platform's user, or the value of `map.actor`."""
    person: str | None
    """The person behind the sender, by the connector's `people`."""
    session_id: str | None
    run_id: str | None
    """The run that it started."""
    flow_id: str | None
    """The Flow that it started."""
    message_id: str | None
    """The message that it became in a channel."""
    binding: str | None
    """The key that led to the session."""
    place: dict[str, Any]
    """The place that it came from: channel and thread, chat and topic."""
    reason: str | None
    """The reason why it was refused."""
    at: str
    made: int
    n: int


@frozen
class KnownKey(View):
    """An idempotency key of a connector."""

    key_id: str
    receipt_id: str
    made: int
    n: int


@frozen
class Binding(View):
    """A key of an outside conversation, with its session."""

    key: str
    session_id: str
    connector: str
    made: int
    n: int
    values: tuple[str, ...] = ()
    """The values of the fields in the key; none in entries of earlier versions."""


@frozen
class Bound:
    """The session that a conversation leads to, if it is known. `renews` an entry of an earlier version."""

    session_id: str | None
    renews: bool = False


def fold(tables: Tables, entry: Entry) -> Iterable[str]:
    """Fold an entry into the receipts and return the ids that changed."""
    event: Any = entry.event
    tables[Receipt][event.receipt_id] = Receipt(
        receipt_id=event.receipt_id, connector=event.connector_id,
        state="refused" if event.refused is not None else "accepted", what=event.what, keys=event.keys,
        sender=event.sender, person=event.person, session_id=event.session_id, run_id=event.run_id,
        flow_id=event.flow_id, message_id=event.message_id, binding=event.binding, place=event.place,
        reason=event.refused, at=entry.at, made=entry.n, n=entry.n,
    )  # fmt: skip
    return (event.receipt_id,)


def fold_keys(tables: Tables, entry: Entry) -> Iterable[str]:
    """Fold an entry into the keys and return the ids that changed."""
    event: Any = entry.event
    ids = [key_id(event.connector_id, key) for key in event.keys]
    for id in ids:
        tables[KnownKey][id] = KnownKey(key_id=id, receipt_id=event.receipt_id, made=entry.n, n=entry.n)
    return ids


def fold_binding(tables: Tables, entry: Entry) -> Iterable[str]:
    """Fold an entry into the bindings and return the ids that changed."""
    event: Any = entry.event
    # Earlier versions had one key for all connectors, without the values: those entries keep their ids.
    ids = [binding_id(event.connector_id, event.key, event.values)] if event.values else [event.key]
    if event.renews:
        ids.append(event.key)
    for id in ids:
        tables[Binding][id] = Binding(
            key=event.key, session_id=event.session_id, connector=event.connector_id, made=entry.n, n=entry.n,
            values=event.values,
        )  # fmt: skip
    return ids


def _read(cls: Any) -> Any:
    names = {one.name for one in fields(cls)}

    def read(doc: Mapping[str, Any]) -> Any:
        given = {name: value for name, value in doc.items() if name in names}
        given |= {name: tuple(given[name]) for name in ("keys", "values") if name in given}
        return cls(**given)

    return read


NOUN = Noun(
    name="receipt",
    cls=Receipt,
    folded=frozenset({events.IngressReceived}),
    fold=fold,
    keep=lambda _: False,
    view=lambda one: one,
    status=lambda one: one.state,
    filters=("run_id", "flow_id", "message_id"),
    read=_read(Receipt),
)
KEYS = Noun(
    name="ingress_key",
    cls=KnownKey,
    folded=frozenset({events.IngressReceived}),
    fold=fold_keys,
    keep=lambda _: False,
    view=lambda one: one,
    status=lambda _: None,
    read=_read(KnownKey),
)
BINDINGS = Noun(
    name="binding",
    cls=Binding,
    folded=frozenset({events.SessionBound}),
    fold=fold_binding,
    keep=lambda _: False,
    view=lambda one: one,
    status=lambda _: None,
    read=_read(Binding),
)


def key_id(connector_id: str, key: str) -> str:
    """Return the id of an idempotency key: keys are unique in a connector."""
    return f"{connector_id} {key}"


async def find(state: State, connector_id: str, keys: Iterable[str]) -> Mapping[str, Any] | None:
    """Return the receipt of one of the keys; None if all are new."""
    for key in keys:
        known = await state.recall(KnownKey, key_id(connector_id, key))
        if known is not None:
            return await state.recall(Receipt, known["receipt_id"])
    return None


def binding_id(connector_id: str, key: str, values: Sequence[str]) -> str:
    """Return the id of a conversation's key. Keys are unique in a connector, and no two lists of values have one."""
    return f"{connector_id} {sha256(orjson.dumps([key, *values])).hexdigest()}"


async def find_bound(state: State, connector_id: str, key: str, values: Sequence[str]) -> Bound:
    """Return the session that a conversation leads to; an entry of an earlier version counts for its own connector, and
    once."""
    known = await state.recall(Binding, binding_id(connector_id, key, values))
    if known is not None:
        return Bound(session_id=str(known["session_id"]))
    earlier = await state.recall(Binding, key)
    if earlier is None or earlier["connector"] != connector_id or earlier.get("values"):
        return Bound(session_id=None)
    return Bound(session_id=str(earlier["session_id"]), renews=True)


def session_of(connector_id: str, key: str, values: Sequence[str]) -> str:
    """Return the id of the session that a new key creates; always the same, and no other key's or connector's."""
    name = connector_id[:80].rstrip(".-_")
    return f"{name}-{sha256(binding_id(connector_id, key, values).encode()).hexdigest()[:16]}"
