"""Bodies of Slack and Telegram, read in a confined child with a deadline, as those of http (`picking`)."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from kheish.domain.connectors.arrival import Arrival, Click, Ignored, Moved, Parsed
from kheish.errors import Invalid
from kheish.jobs import confined
from kheish.runtime.connectors import bodies, slack, telegram

_SECONDS = 2.0
_POOL = confined.Pool("platforms", size=1)
_MEANINGS: dict[str, Any] = {one.__name__: one for one in (Arrival, Click, Ignored, Moved)}


async def read_slack(raw: bytes, media: str) -> Parsed:
    """Return what a verified body of Slack means. Raises Invalid."""
    return _meaning(await _read(slack_body, raw, media))


async def read_envelope(raw: bytes) -> tuple[dict[str, Any], Parsed | None]:
    """Return an envelope of Socket Mode without its payload, and what it means; None for one of the connection. Raises
    Invalid."""
    answer = await _read(slack_envelope, raw)
    return answer["envelope"], _meaning(answer) if "meaning" in answer else None


async def read_telegram(raw: bytes) -> Parsed:
    """Return what a verified update of Telegram means. Raises Invalid."""
    return _meaning(await _read(telegram_body, raw))


async def _read(function: Any, *args: Any) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = await _POOL.call(function, *args, seconds=_SECONDS)
    except confined.Overdue as error:
        raise Invalid("The body takes too long to read; send less.") from error
    except confined.Failed as error:
        raise Invalid("The body cannot be read: it needs too much memory, or holds what is no text.") from error
    if "fault" in answer:
        raise Invalid(answer["fault"])
    return answer


def _meaning(answer: dict[str, Any]) -> Parsed:
    value = {name: tuple(one) if isinstance(one, list) else one for name, one in answer["value"].items()}
    found: Parsed = _MEANINGS[answer["meaning"]](**value)
    return found


# --- called in a confined child ---------------------------------------------------------------------------------------


def slack_body(raw: bytes, media: str) -> dict[str, Any]:
    """Return what a body of Slack means, as plain values, or `fault`."""
    try:
        return _plain(slack.read(raw, media))
    except Invalid as error:
        return {"fault": error.detail}


def slack_envelope(raw: bytes) -> dict[str, Any]:
    """Return what an envelope means, as plain values, or `fault`."""
    try:
        envelope = bodies.read_object(raw)
    except Invalid as error:
        return {"fault": error.detail}
    payload = envelope.pop("payload", None)
    head = {"envelope": {name: envelope.get(name) for name in ("type", "envelope_id", "accepts_response_payload")}}
    if not isinstance(envelope.get("envelope_id"), str):
        return head
    return {**head, **_plain(slack.envelope(envelope.get("type"), payload))}


def telegram_body(raw: bytes) -> dict[str, Any]:
    """Return what an update means, as plain values, or `fault`."""
    try:
        return _plain(telegram.read(raw))
    except Invalid as error:
        return {"fault": error.detail}


def _plain(found: Parsed) -> dict[str, Any]:
    return {"meaning": type(found).__name__, "value": asdict(found)}
