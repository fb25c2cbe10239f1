"""Trials of routes by HTTP."""

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict
from typing import Any, Literal

from falcon.asgi import Request, Response

from kheish.api.http import media
from kheish.api.http.answer import Answer
from kheish.api.http.operation import bind, post
from kheish.api.services import Services
from kheish.domain import routes
from kheish.errors import NotFound, RouteNotReady, TooMany
from kheish.runtime.abilities import trial


class TriedAbility(Answer):
    """The result of one small call."""

    ability: Literal["text", "streaming", "tools", "vision"]
    works: bool
    detail: str | None
    """The reason why it does not work."""
    seconds: float
    first_text: float | None
    """Seconds until the first text; null without any."""
    cost_usd: float | None
    input_tokens: int
    output_tokens: int


class RouteTrial(Answer):
    """The abilities of a route, and what to write into its file."""

    id: str
    tried: list[TriedAbility]
    context_window: int | None
    """The window that the server states, in tokens; null if it states none."""
    cost_usd: float | None
    """The cost of all calls; null without a price."""
    capabilities: dict[str, Any]
    """The fields that `capabilities` of the file lack, or have wrong."""


class RouteTrials:
    """The resource of `/v1/routes/{id}/test`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._one_at_a_time = asyncio.Lock()

    async def test_route(self, req: Request, resp: Response, id: str) -> None:
        """Try a route with one small call per ability, and answer with the results."""
        state = self._services.state
        route = state.definitions.routes.get(id)
        if route is None:
            raise NotFound(f"There is no route {id!r}.")
        if (why := routes.readiness(id, route, os.environ, state.slots)) is not None:
            raise RouteNotReady(why)
        if self._one_at_a_time.locked():
            raise TooMany("Another route is being tested; retry when it is done.", retry_after=10)
        async with self._one_at_a_time:
            done = await trial.run(id, route, self._services.broker, f"token:{req.context.principal}")
        costs = [one.cost_usd for one in done.tried if one.cost_usd is not None]
        doc = {
            "id": id,
            "tried": [asdict(one) for one in done.tried],
            "context_window": done.context_window,
            "cost_usd": sum(costs) if costs else None,
            "capabilities": done.capabilities(route),
        }
        media.send(resp, doc)


OPERATIONS = bind(
    RouteTrials,
    post(
        "/v1/routes/{id}/test",
        RouteTrials.test_route,
        "Try a route with one small call per ability.",
        None,
        RouteTrial,
        problems=(404, 409),
    ),
)
