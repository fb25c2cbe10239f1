"""The session filter of tokens: each request concerns a permitted session, or is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from falcon.asgi import Request

from kheish.api.http.operation import Tie
from kheish.auth.tokens import Principal
from kheish.domain.mailboxes import recipients
from kheish.domain.nouns import BY_CLASS
from kheish.errors import Forbidden, NotFound
from kheish.state.state import State


async def check(state: State, caller: Principal, req: Request, params: Mapping[str, Any], tie: Tie | None) -> None:
    """Raise Forbidden for other sessions, and NotFound for a thing that is missing (or hidden from this caller)."""
    if "session_id" in params:
        return see(caller, params["session_id"])
    if isinstance(tie, type):
        return await _thing(state, caller, tie, params[f"{BY_CLASS[tie].name}_id"])
    if tie == "agent":
        return see(caller, await _session_of_agent(state, params["agent_id"]))
    if tie == "query" and req.method == "GET":
        session_id = req.context.query.get("session") or req.context.query.get("session_id")
        if session_id is None:
            raise Forbidden(f"This token sees {', '.join(caller.sessions)} only; add ?session=ID.")
        return see(caller, session_id)
    if tie != "none":
        raise Forbidden(f"This token sees {', '.join(caller.sessions)} only; {req.uri_template or ''} covers more.")
    return None


async def _session_of_agent(state: State, agent_id: str) -> str:
    """Return the session of an agent; for an unknown agent its id, so that a caller does not learn which exist."""
    try:
        return await recipients.resolve(state, agent_id)
    except NotFound:
        return agent_id


def see(caller: Principal, session_id: str) -> None:
    """Raise Forbidden for a session outside the token's filter, whether or not it exists."""
    if not caller.may_see(session_id):
        raise Forbidden(f"This token has no access to the session {session_id!r}.")


async def _thing(state: State, caller: Principal, cls: type, id: str) -> None:
    noun = BY_CLASS[cls].name
    value: Any = state.find(cls, id)
    session_id = value.session_id if value is not None else None
    if session_id is None:
        doc = await asyncio.to_thread(state.index.thing, noun, id)
        session_id = doc["session_id"] if doc else None
    if session_id is None or not caller.may_see(session_id):
        raise NotFound(f"There is no {noun} {id!r}.")
