"""The addressees of messages: an agent by its id, or its session's root agent by the session's id."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kheish.domain.agents import agent as agents
from kheish.errors import NotFound, SessionDeleted

if TYPE_CHECKING:
    from kheish.state.state import State

_AGENT = "agent_"


async def resolve(state: State, agent_id: str, *, caller: str | None = None) -> str:
    """Return the session of an agent. `caller` is the session of the agent that asks: it may name a child, or `parent`.

    Raises NotFound, SessionDeleted.
    """
    if agent_id.startswith(_AGENT):
        await state.caught_up()
        page = await asyncio.to_thread(state.index.things, "session", limit=1, fields={"agent_id": agent_id})
        if page.items:
            return str(page.items[0]["session_id"])
    asking = agents.find_in(state, caller)
    if asking is not None:
        if agent_id == "parent" and asking.parent_session is not None:
            return asking.parent_session
        await state.caught_up()
        fields = {"parent": asking.agent_id, "path": f"{asking.path}/{agent_id}"}
        page = await asyncio.to_thread(state.index.things, "agent", limit=1, fields=fields)
        if page.items:
            return str(page.items[0]["session_id"])
    try:
        async with state.using(agent_id):
            return agent_id
    except SessionDeleted:
        raise
    except NotFound:
        raise NotFound(f"There is no agent {agent_id!r}.") from None


def recipient_status(state: State, session_id: str) -> str:
    """Return the status of the agent of a loaded session."""
    return agents.of_session(state, session_id).status
