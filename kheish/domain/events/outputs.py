"""Events of deliveries, in the sessions that they belong to; and the switching off of outputs, in a stream."""

from __future__ import annotations

from typing import Any, Literal

from kheish.state.event import Event, frozen

DELIVERIES = "deliveries"


@frozen
class DeliveryCreated(Event):
    """A delivery of an output to a target. `content` is the text of an announcement, which is no output of the run."""

    kind = "delivery.created"
    delivery_id: str
    output_id: str
    output_kind: str
    target: dict[str, Any]
    content: str | None = None


@frozen
class _OfDelivery(Event):
    """The base of the entries that change a delivery."""

    delivery_id: str


@frozen
class DeliveryStarted(_OfDelivery):
    """An attempt that is about to begin."""

    kind = "delivery.started"
    attempt: int
    digest: str = ""  # of the body


@frozen
class DeliveryProgressed(_OfDelivery):
    """The parts that are delivered."""

    kind = "delivery.progressed"
    parts_done: int
    parts: int
    receipt: str | None = None  # the platform's id of the newest part


@frozen
class DeliveryDelayed(_OfDelivery):
    """A failed attempt that is repeated. `unknown_end`: it may have arrived."""

    kind = "delivery.delayed"
    reason: str
    until: str
    unknown_end: bool = False


@frozen
class DeliveryDelivered(_OfDelivery):
    kind = "delivery.delivered"
    parts: int = 1
    receipt: str | None = None
    found: bool = False  # a look-up found it at the target, after an attempt with an unknown end


@frozen
class DeliveryHeld(_OfDelivery):
    """A delivery that waits for a user, since the end of its attempt is unknown."""

    kind = "delivery.held"
    reason: str


@frozen
class DeliveryDied(_OfDelivery):
    """A delivery that became a dead letter."""

    kind = "delivery.died"
    headline = "delivery failed: {session} to {output} ({reason})"
    output: str  # the name of the output
    reason: str


@frozen
class DeliveryResolved(_OfDelivery):
    """A dead letter, or a held delivery, that a user settled without sending it. `delivery` is the whole value, which
    may have left memory."""

    kind = "delivery.resolved"
    reason: str
    delivery: dict[str, Any]


@frozen
class DeliveryReplayed(_OfDelivery):
    """A dead letter, or a held delivery, that a user sends again."""

    kind = "delivery.replayed"
    delivery: dict[str, Any]


@frozen
class _OfOutput(Event):
    """The base of the entries about an output."""

    stream = DELIVERIES
    owned_by = "output"
    output: str


@frozen
class OutputSwitched(_OfOutput):
    """An output that a receiver switched off (410), or a user on again. It holds for one content of the file."""

    kind = "output.switched"
    state: Literal["on", "off"]
    digest: str
    reason: str | None = None


@frozen
class OutputTested(_OfOutput):
    """A sample that a user sent; `error` is the reason if it did not arrive."""

    kind = "output.tested"
    error: str | None = None
