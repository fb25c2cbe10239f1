"""Requests with the output as JSON, signed by Standard Webhooks; all attempts have the same `webhook-id`."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import orjson

from kheish.auth import netguard, signing
from kheish.auth.netguard import Answer
from kheish.domain.mcp.server import FromSlot
from kheish.domain.outputs import targets
from kheish.runtime.outputs.base import Gone, Job, Passing, Refused, Sent, Way

#: bytes of an answer that are read: for a `status` and a reason
_ANSWER_BYTES = 64 * 1024
_PASSING = frozenset({408, 409, 423, 425, 429})
_SHOWN = 300
_LONGEST = 86_400.0


async def send(job: Job, way: Way) -> Sent:
    """Deliver by a POST. Raises NotDelivered, KheishError."""
    url = str(targets.addressed(job.sink, job.target, "url"))
    headers = {"Content-Type": "application/json", "webhook-id": job.delivery_id}
    async with contextlib.AsyncExitStack() as stack:
        for name, value in job.sink.headers.items():
            lent = await stack.enter_async_context(way.lend(value.slot)) if isinstance(value, FromSlot) else None
            headers[name] = lent.value if lent is not None else str(value)
        if job.sink.secret is not None:
            key = await stack.enter_async_context(way.lend(job.sink.secret))
            try:
                headers |= signing.sign(key.value, job.delivery_id, int(way.now()), job.body)
            except ValueError as error:
                raise Passing(f"{job.sink.secret}: {error}") from error
        answer = await netguard.send(
            "POST", url, allow=way.allow, headers=headers, content=job.body, limit=_ANSWER_BYTES, timeout=way.seconds
        )
    check(answer, way.now())
    return Sent()


def check(answer: Answer, now: float) -> None:
    """Raise NotDelivered for an answer that is no success."""
    said = f"it answered {answer.status}"
    terminal = _terminal(answer)
    if terminal is not None:
        raise Refused(f"it refused the delivery for good: {terminal}")
    if answer.leads_to is not None:
        raise Refused(f"{said}, a redirect to {answer.leads_to}; put that address into the file")
    if 200 <= answer.status < 300:
        return
    if answer.status == 410:
        raise Gone(f"{said} (gone)")
    if answer.status >= 500 or answer.status in _PASSING:
        raise Passing(said, retry_after=retry_after(answer.headers, now))
    raise Refused(f"{said}{_words(answer)}")


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds of `Retry-After`, which is a number or a date; None without one that can be read."""
    text = headers.get("retry-after", "").strip()
    if text.isdecimal():
        return min(float(text), _LONGEST)
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        at = parsedate_to_datetime(text)
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        return min(max(0.0, (at - datetime.fromtimestamp(now, UTC)).total_seconds()), _LONGEST)
    return None


def _terminal(answer: Answer) -> str | None:
    """Return the reason in `{"status": "terminal", "reason": …}`, or None."""
    if answer.is_cut or b'"terminal"' not in answer.body:
        return None
    try:
        value = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(value, dict) or value.get("status") != "terminal":
        return None
    return " ".join(str(value.get("reason") or "no reason given").split())[:_SHOWN]


def _words(answer: Answer) -> str:
    text = " ".join(answer.body.decode("utf-8", "replace").split())[:_SHOWN]
    return f": {text}" if text and answer.media.startswith(("text/plain", "application/json")) else ""
