"""One model call: through the route's gate, with the credential read at the moment of use."""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256

import orjson

from kheish.domain import routes
from kheish.domain.routes import Route
from kheish.domain.runs import Run
from kheish.runtime import gates
from kheish.runtime.agent import Agent
from kheish.runtime.drivers.base import Reply, Request


async def call(agent: Agent, run: Run, route: Route, request: Request, show: Callable[[str], None]) -> Reply:
    """One model call through the route's gate. While it lasts, the run may be stopped at once."""
    per_route = agent.state.definitions.config.concurrency.per_route
    agent.interruptible.add(run.run_id)
    try:
        async with agent.gates.call(request.route_id, route.limits, per_route) as lane:
            reply = await agent.executor.complete(route.driver, request, show)
            gates.used(lane, route.limits, reply.usage.input_tokens + reply.usage.output_tokens)
            return reply
    finally:
        agent.interruptible.discard(run.run_id)


def credential(route: Route) -> str | None:
    """What the route's `auth_ref` names, read at the moment of use."""
    return routes.credential(route, os.environ)


def digest(request: Request) -> str:
    """sha256 of the request's canonical form; the request itself can be made again from earlier entries."""
    content = {"model": request.model, "messages": request.messages, "tools": request.tools, "how": request.generation}
    return sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
