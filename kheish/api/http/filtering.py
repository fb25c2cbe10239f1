"""Tokens that may see some sessions only: each request is about one of these, or is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from falcon.asgi import Request

from kheish.auth.tokens import Principal
from kheish.domain.approvals import Approval
from kheish.domain.questions import Question
from kheish.domain.runs import Run
from kheish.domain.state import State
from kheish.domain.tables import BY_CLASS
from kheish.errors import Forbidden, NotFound

#: things that belong to a session, by the name of their id in a path
_THINGS: Mapping[str, type] = {"run_id": Run, "approval_id": Approval, "question_id": Question}
#: lists that take `?session=`
_LISTS = frozenset({"/v1/runs", "/v1/approvals", "/v1/questions", "/v1/events"})
#: what is about no session, and tells nothing of any
_FREE = frozenset({"/v1/permissions/check", "/openapi.json", "/v1/auth/login", "/v1/auth/login-links"})


async def check(state: State, caller: Principal, req: Request, params: Mapping[str, Any]) -> None:
    """Raises Forbidden, and NotFound for a thing that is not there (or not for this caller to know of)."""
    template = req.uri_template or ""
    if "session_id" in params:
        return see(caller, params["session_id"])
    for name, cls in _THINGS.items():
        if name in params:
            return await _thing(state, caller, cls, params[name])
    if template in _LISTS and req.method == "GET":
        wanted = req.context.query.get("session") or req.context.query.get("session_id")
        if wanted is None:
            raise Forbidden(f"This token sees {', '.join(caller.sessions)} only; ask with ?session=ID.")
        return see(caller, wanted)
    if template not in _FREE:
        raise Forbidden(f"This token sees {', '.join(caller.sessions)} only; {template} is about more.")
    return None


def see(caller: Principal, session_id: str) -> None:
    """Raises Forbidden for a session that the token's filter keeps from it, there or not."""
    if not caller.may_see(session_id):
        raise Forbidden(f"This token does not see the session {session_id!r}.")


async def _thing(state: State, caller: Principal, cls: type, id: str) -> None:
    noun = BY_CLASS[cls].name
    value: Any = state.find(cls, id)
    session_id = value.session_id if value is not None else None
    if session_id is None:
        doc = await asyncio.to_thread(state.index.thing, noun, id)
        session_id = doc["session_id"] if doc else None
    if session_id is None or not caller.may_see(session_id):
        raise NotFound(f"There is no {noun} {id!r}.")
