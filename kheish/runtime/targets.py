"""Targets: whom a model call asks, and what is known of that server. It is asked for its window beside the calls."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from kheish.domain import routes
from kheish.domain.routes import Route
from kheish.domain.runs import Run
from kheish.domain.turns import Turn
from kheish.errors import KheishError
from kheish.runtime import model, windows
from kheish.runtime.agent import Agent
from kheish.runtime.drivers.base import ModelError, Request
from kheish.runtime.windows import Facts, Room

FIRST_WAIT = 1.0  # seconds that the first call waits for what the server says of itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server and model, with the route that leads there."""

    route_id: str
    route: Route
    model: str | None
    generation: dict[str, Any]
    server: str
    facts: Facts
    room: Room

    def streams(self, turn: Turn) -> bool:
        """Return whether the next answer is streamed. Some servers cut the connection where a prompt is too long for a
        streamed answer, and say what is wrong only to those who ask for a whole one: each third attempt does."""
        failures = turn.failed_on.get(self.route_id, 0)
        return self.route.capabilities.streaming and failures % 3 != 2


async def target(run: Run, agent: Agent, route_id: str, route: Route) -> Target:
    """Return whom a route asks for a run."""
    is_first = route_id == run.settings.route
    name = run.settings.model if is_first else route.model
    generation = run.settings.generation if is_first else dict(route.generation)
    server = windows.server_key(route.driver, route.api_base, name)
    facts = agent.windows.of(server)
    if route.driver == "openai" and route.api_base and time.monotonic() - facts.asked_at > windows.REMEMBERED:
        await _describe(run, agent, route_id, route, name, facts)
    return Target(
        route_id=route_id,
        route=route,
        model=name,
        generation=generation,
        server=server,
        facts=facts,
        room=windows.room(route, generation, facts),
    )


async def _describe(run: Run, agent: Agent, route_id: str, route: Route, name: str | None, facts: Facts) -> None:
    """Ask the server for its window in a task of its own; only the very first call waits for it, and not long."""
    is_new = facts.asked_at == float("-inf")
    facts.asked_at = time.monotonic()
    request = Request(route_id=route_id, model=name, messages=(), settings=routes.driver_settings(route))
    task = asyncio.get_running_loop().create_task(_learn(agent, run, route, request, facts))
    agent.windows.asking.add(task)
    task.add_done_callback(agent.windows.asking.discard)
    if is_new:
        await asyncio.wait({task}, timeout=FIRST_WAIT)


async def _learn(agent: Agent, run: Run, route: Route, request: Request, facts: Facts) -> None:
    try:
        facts.describe(await model.window(agent, run, route, request))
    except (KheishError, ModelError):
        return  # no credential, or out of scope: the call itself says so
