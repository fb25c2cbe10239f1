"""Events of connectors: entries of the stream `ingress`, each of one connector."""

from __future__ import annotations

from dataclasses import field
from typing import Any, Literal

from kheish.state.event import Event, frozen

INGRESS = "ingress"


@frozen
class _OfConnector(Event):
    """The base of the entries of one connector."""

    stream = INGRESS
    owned_by = "connector_id"
    connector_id: str


@frozen
class IngressReceived(_OfConnector):
    """A receipt, in one group with the run, the Flow or the message that it led to. `keys` are its idempotency keys: a
    later request with one of them is a duplicate. `place` is where an answer goes (channel and thread, chat and topic).
    `binding` is the key of the session. `offset` is the position of a poll loop after it."""

    kind = "ingress.received"
    receipt_id: str
    keys: tuple[str, ...] = ()
    sender: str | None = None
    person: str | None = None
    what: str = "message"
    session_id: str | None = None
    run_id: str | None = None
    flow_id: str | None = None
    message_id: str | None = None
    binding: str | None = None
    place: dict[str, Any] = field(default_factory=dict)
    offset: int | None = None
    refused: str | None = None  # it led to nothing, and would not the next time


@frozen
class SessionBound(_OfConnector):
    """A key of an outside conversation that leads to one session for good. It is a connector's own: `values` are those
    of its fields, which the key alone does not tell apart. An entry without them, of an earlier version, belongs to the
    first request with its key; `renews` says that this is the one."""

    kind = "session.bound"
    key: str
    session_id: str
    values: tuple[str, ...] = ()
    renews: bool = False


@frozen
class OffsetMoved(_OfConnector):
    """The position of a poll loop after updates that led to nothing."""

    kind = "ingress.offset_moved"
    offset: int


@frozen
class ChatMoved(_OfConnector):
    """A chat that continues under another id: keys with the new id mean the sessions of the old one."""

    kind = "ingress.chat_moved"
    old: str
    new: str
    offset: int | None = None


@frozen
class AskMade(_OfConnector):
    """A message with buttons for an approval or a question, before it is sent. `buttons` map random ids to answers;
    none without people who may answer."""

    kind = "ask.made"
    ask_id: str
    about: Literal["approval", "question"]
    thing_id: str
    session_id: str
    run_id: str
    digest: str
    place: dict[str, Any]
    buttons: dict[str, dict[str, Any]] = field(default_factory=dict)


@frozen
class AskSent(_OfConnector):
    """The platform's reference of a message with buttons."""

    kind = "ask.sent"
    ask_id: str
    reference: dict[str, Any]


@frozen
class AskUsed(_OfConnector):
    """A button that a person used, in one group with the decision. It replaces the buttons where another person must
    decide as well, and by those of the next item of a question, with what is `chosen` so far."""

    kind = "ask.used"
    ask_id: str
    button_id: str
    person: str
    buttons: dict[str, dict[str, Any]] = field(default_factory=dict)
    chosen: dict[str, tuple[str, ...]] = field(default_factory=dict)


@frozen
class AskRenewed(_OfConnector):
    """Other buttons of a message, since what is asked has changed."""

    kind = "ask.renewed"
    ask_id: str
    digest: str
    buttons: dict[str, dict[str, Any]] = field(default_factory=dict)


@frozen
class AskClosed(_OfConnector):
    """The end of a message with buttons: it was updated, or could not be."""

    kind = "ask.closed"
    ask_id: str
    outcome: str
    reason: str | None = None
