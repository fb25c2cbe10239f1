"""Sessions that a Definition describes: the existing one, or the entry that creates it, for a larger group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kheish import ids
from kheish.auth.tokens import Principal
from kheish.daemon.workspaces import Workspaces
from kheish.domain import personas
from kheish.domain.events import Draft
from kheish.domain.personas import Persona
from kheish.domain.schedules.definition import NewSession
from kheish.domain.sessions import session as sessions
from kheish.domain.sessions.session import Session
from kheish.domain.workers import placement
from kheish.state.state import State
from kheish.store.files import blob_id


async def open_session(
    state: State,
    workspaces: Workspaces,
    session_id: str,
    new: NewSession,
    *,
    labels: Mapping[str, str],
    title: str | None,
    caller: Principal,
    by: str,
) -> tuple[Draft | None, Session]:
    """Return a session that is pinned, and the entry that creates a missing one. `caller` has the right to choose the
    workspace. Raises NotFound, WorkspaceNotAllowed, Forbidden."""
    existing = state.find(Session, session_id)
    if existing is not None:
        return None, existing
    settings = new.model_dump(mode="json", exclude_none=True, exclude={"workspace", "persona", "worker"})
    settings = {name: value for name, value in settings.items() if value not in ({}, [])}
    settings |= {"labels": {**labels, **new.labels}}
    if new.title is None and title is not None:
        settings["title"] = title
    named: Persona | None = None
    if new.persona is not None:
        one = state.definitions.get("personas", new.persona)
        settings["persona"] = personas.snapshot(new.persona, one.value, one.digest, ids.now(), blob=blob_id(one.raw))
        named = one.value
    if (worker := placement.placed(state, new.worker, named.worker if named is not None else None)) is not None:
        settings["worker"] = worker
    if new.workspace is None:
        workspace = await workspaces.default(session_id)
    else:
        workspace = await workspaces.choose(new.workspace, caller, session_id)
    existing = state.find(Session, session_id)  # it may have been created meanwhile
    if existing is not None:
        return None, existing
    draft = sessions.made(state, session_id, settings, workspace=workspace, by=by)
    event: Any = draft.event
    settings = {**sessions.SETTINGS, **event.settings}
    return draft, Session(
        session_id=session_id, path=event.path, agent_id=event.agent_id, created_at="", made=0, settings=settings
    )
