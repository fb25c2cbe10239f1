"""The close of an agent with all agents below it, also those that have settled and are not in memory."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from kheish.domain.agents import ending, standing
from kheish.domain.agents.agent import Agent
from kheish.domain.sessions import end as session_end
from kheish.runtime.projects import work
from kheish.state import pins
from kheish.state.state import State

_OPEN = sorted({"idle", *standing.LIVE, *standing.ENDED} - {"closed"})
_PAGE = 200


async def close(
    state: State, agent_id: str, stopped: ending.Stopped, *, by: str, reason: str | None, cascade: bool
) -> list[str]:
    """Close an agent; with `cascade`, all agents below it before. Returns the closed agents, the innermost first.

    Raises NotFound, AgentStateConflict, SessionNotIdle for one that owns open tasks of projects.
    """
    await state.caught_up()
    closed: list[str] = []
    if cascade:
        for doc in await _children(state, agent_id):
            closed += await close(state, doc["agent_id"], stopped, by=by, reason=reason, cascade=True)
    async with AsyncExitStack() as used:
        await used.enter_async_context(pins.thing(state, Agent, agent_id))
        owned = await work.owned(state, state.get(Agent, agent_id).session_id)
        agent = state.get(Agent, agent_id)
        session_end.check_owned(agent.session_id, owned)
        if agent.parent_session is not None:
            await used.enter_async_context(state.using(agent.parent_session))
        return [*closed, *ending.close(state, agent, stopped, by=by, reason=reason, cascade=cascade)]


async def _children(state: State, agent_id: str) -> list[dict[str, Any]]:
    children: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = await asyncio.to_thread(
            state.index.things, "agent", limit=_PAGE, cursor=cursor, statuses=_OPEN, fields={"parent": agent_id}
        )
        children += page.items
        cursor = page.next_cursor
        if cursor is None:
            return children
