"""Hooks that are requests, signed by Standard Webhooks, through the network guard."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from kheish.auth import netguard, signing
from kheish.domain.hooks import answer
from kheish.domain.mcp.server import FromSlot
from kheish.errors import KheishError
from kheish.runtime.debug import wire
from kheish.runtime.hooks.asked import MOST_BYTES, Asked, HookFailed, Replied

_SHOWN = 200


async def run(asked: Asked, *, secrets: Mapping[str, str], allow: Sequence[str], now: float, timeout: float) -> Replied:
    """Send the input, and read the answer in the response. Raises HookFailed."""
    call = asked.file.http
    assert call is not None
    body = await asyncio.to_thread(asked.encoded)
    headers = {"Content-Type": "application/json"}
    for name, value in call.headers.items():
        headers[name] = secrets[value.slot] if isinstance(value, FromSlot) else value
    if call.secret is not None:
        try:
            headers |= signing.sign(secrets[call.secret], asked.invocation_id, int(now), body)
        except ValueError as error:
            raise HookFailed(str(error)) from error
    wire.sent(body)
    try:
        got = await netguard.send(
            "POST", call.url, allow=allow, headers=headers, content=body, limit=MOST_BYTES, timeout=timeout
        )
    except KheishError as error:
        raise HookFailed(error.detail) from error
    wire.got(got.body)
    if got.leads_to is not None or not 200 <= got.status < 300:
        where = f", a redirect to {got.leads_to}" if got.leads_to is not None else ""
        raise HookFailed(f"{call.url} answered {got.status}{where}", got.status)
    if got.is_cut:
        raise HookFailed(f"its answer has more than {MOST_BYTES} bytes", got.status)
    text = got.body.decode("utf-8", "replace")
    try:
        found = await asyncio.to_thread(answer.of_output, asked.moment, text, "", 0)
    except answer.Unreadable as error:
        raise HookFailed(str(error), got.status) from error
    return Replied(answer=found, exit_code=got.status)
