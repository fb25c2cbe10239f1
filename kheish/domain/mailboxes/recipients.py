"""The addressees of messages: an agent by its id, or its session's root agent by the session's id."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kheish.domain.sessions.session import Session
from kheish.errors import NotFound, SessionDeleted

if TYPE_CHECKING:
    from kheish.state.state import State

_AGENT = "agent_"


async def resolve(state: State, agent_id: str, *, caller: str | None = None) -> str:
    """Return the session of an agent. `caller` is the session of the agent that asks, for names.

    Raises NotFound, SessionDeleted.
    """
    if agent_id.startswith(_AGENT):
        await state.caught_up()
        page = await asyncio.to_thread(state.index.things, "session", limit=1, fields={"agent_id": agent_id})
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
    """Return the status of a loaded session as senders see it."""
    return state.get(Session, session_id).status
