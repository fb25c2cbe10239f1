"""Targets: the server of a model call, and the facts about it. Its window is queried beside the calls."""

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

FIRST_WAIT = 1.0  # seconds that the first call waits for the server's description


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server and model, with its route."""

    route_id: str
    route: Route
    model: str | None
    generation: dict[str, Any]
    server: str
    facts: Facts
    room: Room

    def streams(self, turn: Turn) -> bool:
        """Return whether the next answer is streamed.

        Some servers cut the connection if a prompt is too long for a streamed answer, and report the reason only for
        whole answers: each third attempt requests one.
        """
        failures = turn.failed_on.get(self.route_id, 0)
        return self.route.capabilities.streaming and failures % 3 != 2


async def target(run: Run, agent: Agent, route_id: str, route: Route) -> Target:
    """Return the target of a route for a run."""
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
    """Query the server's window in a background task; only the very first call waits for it, for a short time."""
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
        return  # no credential, or out of scope: the call itself reports it
