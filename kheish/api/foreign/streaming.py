"""Answers of other protocols by ASGI: JSON, and server-sent events with heartbeats."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson

from kheish.api.foreign.entrance import wire
from kheish.api.http.feed import HEARTBEAT, PING
from kheish.api.services import Services
from kheish.auth import redaction
from kheish.state import encoding


async def send_json(
    send: Any, status: int, document: Mapping[str, Any], headers: Mapping[str, str], services: Services
) -> None:
    """Send a document; an error, which may quote the request, without known secrets."""
    if status >= 400:
        body = encoding.scrubbed(orjson.dumps(redaction.shown(dict(document)), default=str), services.state.scrub)
    else:
        body = orjson.dumps(document)
    known = {"Content-Type": "application/json", "Content-Length": str(len(body)), "X-Content-Type-Options": "nosniff"}
    await send({"type": "http.response.start", "status": status, "headers": wire({**known, **headers})})
    await send({"type": "http.response.body", "body": body})


async def send_events(
    send: Any, receive: Any, events: AsyncIterator[bytes], headers: Mapping[str, str] | None = None
) -> None:
    """Send events as they come, and a heartbeat in long pauses, until they end or the client leaves."""
    known = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    await send({"type": "http.response.start", "status": 200, "headers": wire({**known, **(headers or {})})})
    leaving = asyncio.ensure_future(_until_gone(receive))
    upcoming: asyncio.Future[bytes] | None = None
    try:
        while True:
            upcoming = upcoming or asyncio.ensure_future(anext(events))
            done, _ = await asyncio.wait((upcoming, leaving), timeout=HEARTBEAT, return_when=asyncio.FIRST_COMPLETED)
            if leaving in done:
                return
            if upcoming not in done:
                await _write(send, PING)
                continue
            try:
                chunk = upcoming.result()
            except StopAsyncIteration:
                await send({"type": "http.response.body", "body": b""})
                return
            upcoming = None
            if chunk:
                await _write(send, chunk)
    finally:
        leaving.cancel()
        if upcoming is not None and not upcoming.done():
            upcoming.cancel()
            await asyncio.wait((upcoming,))
        with contextlib.suppress(RuntimeError):
            await events.aclose()  # type: ignore[attr-defined]  # each is a generator


async def _write(send: Any, chunk: bytes) -> None:
    await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _until_gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
