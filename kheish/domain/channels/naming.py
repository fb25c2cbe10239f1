"""The names of members: as the file has them, else an agent's nickname or persona, else the member's id."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kheish.domain.agents.agent import Agent
from kheish.domain.channels.definition import ChannelFile, MemberFile
from kheish.domain.sessions.session import Session

if TYPE_CHECKING:
    from kheish.state.state import State


async def member_names(state: State, file: ChannelFile) -> dict[str, str]:
    """Return the names of all members by their ids. A name that the file has not follows the agent."""
    names = {one.member: one.name or one.member for one in file.members}
    following = [one for one in file.agents if one.name is None]
    if following:
        names |= await asyncio.to_thread(_follow, state, following)
    return names


def _follow(state: State, members: list[MemberFile]) -> dict[str, str]:
    names = {}
    for one in members:
        session = _document(state, Session, one.session or "")
        agent = _document(state, Agent, session["agent_id"]) if session is not None else None
        persona: Mapping[str, Any] = (session or {}).get("persona") or {}
        name = (agent or {}).get("nickname") or persona.get("display_name") or one.member
        names[one.member] = " ".join(str(name).split())[:80] or one.member
    return names


def _document(state: State, cls: type, id: str) -> dict[str, Any] | None:
    """Return the newest document of a thing, from memory or the index. Blocks on disk."""
    noun = state.nouns.by_class[cls]
    change = state.unjournaled.get((cls, id))
    value = change.value if change is not None else None
    return state.document(noun, value) if value is not None else state.index.thing(noun.name, id)
