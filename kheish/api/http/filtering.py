"""The session and project filters of tokens: each request concerns what is permitted, or is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from falcon.asgi import Request

from kheish.api.http.operation import Tie
from kheish.auth.tokens import Principal
from kheish.domain.mailboxes import recipients
from kheish.domain.nouns import BY_CLASS
from kheish.domain.sessions.session import Session
from kheish.errors import Forbidden, NotFound
from kheish.state.state import State
from kheish.store.log.pages import Keep


async def check(state: State, caller: Principal, req: Request, params: Mapping[str, Any], tie: Tie | None) -> None:
    """Raise Forbidden for other sessions, and NotFound for a thing that is missing (or hidden from this caller)."""
    if "session_id" in params:
        return await see(state, caller, params["session_id"])
    if isinstance(tie, type):
        return await _thing(state, caller, tie, params[f"{BY_CLASS[tie].name}_id"])
    if tie == "agent":
        return await see(state, caller, await _session_of_agent(state, params["agent_id"]))
    if tie == "project" and caller.projects:
        return _see_project(caller, params["id"])
    if tie == "query" and req.method == "GET":
        return await _query(state, caller, req.context.query)
    if tie != "none" and not (tie == "new" and req.method == "POST"):
        raise Forbidden(f"This token sees {caller.limits} only; {req.uri_template or ''} covers more.")
    return None


async def _query(state: State, caller: Principal, query: Mapping[str, Any]) -> None:
    session_id = query.get("session") or query.get("session_id")
    if session_id is not None:
        return await see(state, caller, session_id)
    if query.get("project") is not None and caller.projects and not caller.sessions:
        return _see_project(caller, query["project"])
    wanted = "?session=ID" if caller.sessions or not caller.projects else "?session=ID or ?project=ID"
    raise Forbidden(f"This token sees {caller.limits} only; add {wanted}.")


async def _session_of_agent(state: State, agent_id: str) -> str:
    """Return the session of an agent; for an unknown agent its id, so that a caller does not learn which exist."""
    try:
        return await recipients.resolve(state, agent_id)
    except NotFound:
        return agent_id


async def see(state: State, caller: Principal, session_id: str) -> None:
    """Raise Forbidden for a session outside the token's filters, whether or not it exists."""
    if not await may_see(state, caller, session_id):
        raise _no_access(session_id)


def see_new(state: State, caller: Principal, session_id: str, project: str | None) -> None:
    """Raise Forbidden for a new session outside the token's filters; a filter of projects needs the session's
    `project`, or a membership of its id."""
    see_name(caller, session_id)
    if not _is_of_project(state, caller, session_id, project):
        raise Forbidden(f"This token sees {caller.limits} only; create the session in a project that it sees.")


def check_placement(caller: Principal, worker: object) -> None:
    """Raise Forbidden if a limited token names a worker: the daemon's persona files and the parent place its work."""
    if caller.limits and worker is not None:
        raise Forbidden(
            f"A token that is limited to sessions ({caller.limits}) cannot choose a worker: omit it. A persona that "
            "names the worker can place the session there."
        )


def see_name(caller: Principal, session_id: str) -> None:
    """Raise Forbidden for the id of a new session outside the token's filter of sessions."""
    if not caller.may_see(session_id):
        raise _no_access(session_id)


def _no_access(session_id: str) -> Forbidden:
    return Forbidden(f"This token has no access to the session {session_id!r}.")


async def may_see(state: State, caller: Principal, session_id: str) -> bool:
    """Return whether a session is within the token's filters: it is of a project if it works for it, or is a
    member."""
    if not caller.may_see(session_id):
        return False
    if _is_of_project(state, caller, session_id, None):
        return True
    session = state.find(Session, session_id)
    if session is not None:
        own = session.settings.get("project")
    else:
        own = (await asyncio.to_thread(state.index.thing, "session", session_id) or {}).get("project")
    return own is not None and caller.may_see_project(own)


def visible(state: State, caller: Principal) -> Keep | None:
    """Return the condition on the documents of sessions in a list for a caller; None if it sees all."""
    if not caller.limits:
        return None

    def is_visible(doc: Mapping[str, Any]) -> bool:
        id = doc["session_id"]
        return caller.may_see(id) and _is_of_project(state, caller, id, doc.get("project"))

    return is_visible


def _is_of_project(state: State, caller: Principal, session_id: str, own: str | None) -> bool:
    """Return whether a session that works for the project `own`, if any, is within the token's filter of projects."""
    projects = [*state.definitions.projects_of(session_id), *([own] if own is not None else [])]
    return not caller.projects or any(map(caller.may_see_project, projects))


def _see_project(caller: Principal, project: str) -> None:
    if not caller.may_see_project(project):
        raise Forbidden(f"This token has no access to the project {project!r}.")


async def _thing(state: State, caller: Principal, cls: type, id: str) -> None:
    noun = BY_CLASS[cls].name
    value: Any = state.find(cls, id)
    session_id = value.session_id if value is not None else None
    if session_id is None:
        doc = await asyncio.to_thread(state.index.thing, noun, id)
        session_id = doc["session_id"] if doc else None
    if session_id is None or not await may_see(state, caller, session_id):
        raise NotFound(f"There is no {noun} {id!r}.")
