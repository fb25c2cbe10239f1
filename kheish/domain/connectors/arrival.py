"""The meaning of a request: an arrival, a press of a button, a move of a chat, or nothing. Children that read
bodies import this module, so it imports little."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A verified request in the words of Kheish. `fields` fill in templates; `content` is its text; `keys` are its
    idempotency keys; `files` are its attachments, which are fetched later."""

    keys: tuple[str, ...]
    content: str
    fields: dict[str, Any]
    what: str = "message"
    sender: str | None = None
    event: str | None = None
    chat: str | None = None
    team: str | None = None
    session: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    place: dict[str, Any] = field(default_factory=dict)
    files: tuple[dict[str, Any], ...] = ()
    offset: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Click:
    """A press of a button: the platform's user, the place, and what the platform needs for a private answer."""

    button_id: str
    sender: str
    place: dict[str, Any]
    answer_to: dict[str, Any] = field(default_factory=dict)
    offset: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """A request that leads to nothing: acknowledged, with the reason. `answer` is what the platform expects back."""

    reason: str
    answer: dict[str, Any] | None = None
    offset: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A chat that got another id, by a message of a sender in a chat."""

    old: str
    new: str
    offset: int | None = None
    sender: str | None = None
    event: str | None = None
    chat: str | None = None
    team: str | None = None


Parsed = Arrival | Click | Ignored | Moved
