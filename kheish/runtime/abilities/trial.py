"""A trial of a route: one small call per ability, with its time and cost, and what to write into the route's file."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from kheish.auth import broker
from kheish.auth.broker import Broker
from kheish.domain import routes
from kheish.domain.routes import Route
from kheish.errors import CredentialRevoked
from kheish.runtime.abilities.probes import PROBES, Probe, Seen
from kheish.runtime.drivers import described, registry
from kheish.runtime.drivers.base import ModelError, Reply, Request
from kheish.texts import is_blank

#: seconds of one call
SECONDS = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """The result of one call. `first_text` is the time until the first piece of text, in seconds."""

    ability: str
    works: bool
    detail: str | None
    seconds: float
    first_text: float | None = None
    cost_usd: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """All results, and the window that the server states."""

    tried: tuple[Tried, ...]
    context_window: int | None

    def capabilities(self, route: Route) -> dict[str, Any]:
        """Return what the route's `capabilities` lack, or have wrong; nothing if its model did not answer at all."""
        works = {one.ability: one.works for one in self.tried}
        if not works.get("text"):
            return {}
        written = route.capabilities
        found = {
            name: works[name] for name in ("streaming", "tools", "vision") if works[name] != getattr(written, name)
        }
        window = self.context_window
        if window is not None and (written.context_window is None or written.context_window > window):
            return {"context_window": window, **found}
        return found


async def run(id: str, route: Route, lender: Broker, by: str) -> Trial:
    """Try a route. Raises the errors of its credential."""
    base = Request(
        route_id=id, model=route.model, messages=(), generation=dict(route.generation),
        settings=routes.driver_settings(route),
    )  # fmt: skip
    if route.auth_ref is None:
        return await _tried(route, base)
    async with lender.lease((by,), route.auth_ref, f"route:{id}", scope=()) as lease:
        return await broker.using(lease, _tried(route, replace(base, credential=lease.value)))


async def _tried(route: Route, base: Request) -> Trial:
    tried: list[Tried] = []
    for number, probe in enumerate(PROBES):
        tried.append(await _one(route, replace(base, answers=number), probe))
        if probe.ability == "text" and not tried[0].works:
            break  # the others would fail for the same reason, and cost as much
    window = await described.window(base) if route.driver == "openai" else None
    return Trial(tried=tuple(tried), context_window=window)


async def _one(route: Route, base: Request, probe: Probe) -> Tried:
    """Return the result of one call; a failure is one."""
    began = time.monotonic()
    pieces: list[float] = []
    request = replace(base, messages=(probe.message,), tools=probe.tools, stream=probe.stream)
    reply: Reply | None = None
    try:
        driver = await registry.get(route.driver)
        async with asyncio.timeout(SECONDS):
            reply = await driver.complete(request, lambda text: pieces.append(time.monotonic()))
        fault = probe.fault(Seen(reply=reply, pieces=len(pieces)))
        if fault is not None and is_blank(reply.text) and not reply.calls:
            fault = f"the answer is empty (finish reason {reply.finish_reason})"
    except CredentialRevoked:
        raise
    except ModelError as error:
        fault, reply = error.message, error.reply
    except TimeoutError:
        fault = f"there was no answer within {SECONDS:.0f} s"
    used = _used(route, reply)
    return Tried(
        ability=probe.ability,
        works=fault is None,
        detail=fault,
        seconds=round(time.monotonic() - began, 3),
        first_text=round(pieces[0] - began, 3) if pieces else None,
        **used,
    )


def _used(route: Route, reply: Reply | None) -> Mapping[str, Any]:
    if reply is None:
        return {}
    cost = routes.cost_usd(route, reply.usage)
    return {
        "cost_usd": reply.cost_usd if cost is None else cost,
        "input_tokens": reply.usage.input_tokens,
        "output_tokens": reply.usage.output_tokens,
    }
