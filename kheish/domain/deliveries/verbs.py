"""Changes of deliveries by the daemon's engine and by users. Each returns drafts, or appends one group."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from kheish.domain import events
from kheish.domain.deliveries.delivery import OPEN, STUCK, Delivery, DeliveryState, Switch, read
from kheish.domain.events import Draft
from kheish.domain.events.outputs import DELIVERIES
from kheish.domain.outputs import targets
from kheish.errors import DeliveryStateConflict
from kheish.state import pins
from kheish.state.encoding import plain
from kheish.state.state import State


def created(
    output_id: str, kind: str, target: Mapping[str, Any], *, content: str | None = None
) -> events.DeliveryCreated:
    """Return the delivery of an output to a target; the same output and target give the same id."""
    digest = hashlib.sha256(f"{output_id} {targets.key_of(target)}".encode()).hexdigest()
    return events.DeliveryCreated(
        delivery_id=f"dlv_{digest[:26]}", output_id=output_id, output_kind=kind, target=dict(target), content=content
    )


def append(state: State, delivery: Delivery, event: events.Event, *, by: str = "daemon") -> Delivery:
    """Append an entry about a delivery of a loaded session, and return the delivery as it is then."""
    state.append(event.on(delivery.session_id, delivery.run_id, by=by))
    return state.get(Delivery, delivery.delivery_id)


def resolve(state: State, doc: Mapping[str, Any], reason: str, *, by: str) -> Draft:
    """Return the entry that settles a stuck delivery without sending it. Raises DeliveryStateConflict."""
    delivery = _stuck(state, doc, "resolved")
    event = events.DeliveryResolved(delivery_id=delivery.delivery_id, reason=reason, delivery=_written(delivery))
    return event.on(delivery.session_id, delivery.run_id, by=by)


def replay(state: State, doc: Mapping[str, Any], *, by: str) -> Draft:
    """Return the entry that sends a stuck delivery again. Raises DeliveryStateConflict."""
    delivery = _stuck(state, doc, "replayed")
    event = events.DeliveryReplayed(delivery_id=delivery.delivery_id, delivery=_written(delivery))
    return event.on(delivery.session_id, delivery.run_id, by=by)


def _stuck(state: State, doc: Mapping[str, Any], verb: str) -> Delivery:
    """Return a stuck delivery, from memory or its document. Raises DeliveryStateConflict."""
    id = doc["delivery_id"]
    delivery = state.find(Delivery, id) or read(doc)
    if delivery.state not in STUCK:
        hint = "it is sent by itself" if delivery.state in OPEN else "it is settled"
        raise DeliveryStateConflict(
            f"The delivery {id} is {delivery.state}; only a dead letter or a held delivery can be {verb} ({hint}).",
            from_status=str(delivery.state),
            to_status=str(DeliveryState.RESOLVED if verb == "resolved" else DeliveryState.PENDING),
        )
    return delivery


def _written(delivery: Delivery) -> dict[str, Any]:
    written: dict[str, Any] = plain(delivery)
    return written


# --- switches ---------------------------------------------------------------------------------------------------------


async def off(state: State, name: str) -> str | None:
    """Return the reason why an output is switched off by its receiver; None for one that is on. Raises Unavailable."""
    async with pins.owner(state, DELIVERIES, name):
        switch = state.find(Switch, name)
    found = state.definitions.by_kind["outputs"].get(name)
    if switch is None or switch.state == "on" or found is None or found.digest != switch.digest:
        return None
    return switch.reason or "its receiver refuses all deliveries"


async def switch_off(state: State, name: str, reason: str) -> None:
    """Switch an output off until its file changes or a user switches it on. Raises Unavailable."""
    found = state.definitions.by_kind["outputs"].get(name)
    if found is None or await off(state, name) is not None:
        return
    async with pins.owner(state, DELIVERIES, name):
        event = events.OutputSwitched(output=name, state="off", digest=found.digest, reason=reason)
        state.append(event.on())


async def switch_on(state: State, name: str, *, by: str) -> None:
    """Switch an output on again; one that is on stays as it is. Raises NotFound, Unavailable."""
    found = state.definitions.get("outputs", name)
    if await off(state, name) is None:
        return
    async with pins.owner(state, DELIVERIES, name):
        state.append(events.OutputSwitched(output=name, state="on", digest=found.digest).on(by=by))
