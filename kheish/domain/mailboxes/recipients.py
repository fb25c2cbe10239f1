"""The addressees of messages: an agent by its id, or its session's root agent by the session's id; and the notices to
the senders of those that are not delivered."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from kheish.domain.agents import agent as agents
from kheish.domain.mailboxes import letters
from kheish.domain.mailboxes.message import Message
from kheish.errors import Damaged, NotFound, SessionDeleted, StoreFailed

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


async def tell_sender(state: State, session_id: str, key: str, sender: str | None) -> None:
    """Post a notice of a dead letter to its sender's session, if it exists, and record that it was posted."""
    async with contextlib.AsyncExitStack() as used:
        try:
            await used.enter_async_context(state.using(session_id))
        except (NotFound, Damaged):
            return
        try:
            if sender is not None:
                await used.enter_async_context(state.using(sender))
        except (NotFound, Damaged):
            sender = None  # it is gone: there is none to tell
        with contextlib.suppress(StoreFailed):
            letters.tell_sender(state, key, sender)


async def tell_senders(state: State, session_id: str) -> None:
    """Post the notices of all dead letters in a loaded session that have none, since the session is to be deleted."""
    for message in [one for one in state.table(Message, session_id).values() if one.untold]:
        await tell_sender(state, session_id, message.key, message.sender.session_id)
