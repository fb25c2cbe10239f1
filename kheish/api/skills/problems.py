"""Problems of skills outside the state root: in configured folders, and in the workspace of a session."""

from __future__ import annotations

from typing import Any

from kheish import ids
from kheish.api.services import Services
from kheish.domain.sessions.session import Session
from kheish.runtime.skills.catalog import Listing
from kheish.store.edits import problems as words


async def of(services: Services, session_id: str | None) -> list[dict[str, Any]]:
    """Return the problems of the configured folders; with a session, those of its workspace as well. Raises
    NotFound."""
    if session_id is None and not services.config().skills.folders:
        return []
    listing = await listed(services, session_id)
    found = [*listing.skills.values(), *listing.shadowed]
    problems = [*listing.problems, *(one for skill in found for one in skill.problems)]
    now = ids.now()
    return [{**words.view(one), "since": now} for one in dict.fromkeys(problems)]


async def listed(services: Services, session_id: str | None) -> Listing:
    """Return the skills that a session finds; None: those that do not depend on a workspace. Raises NotFound."""
    if session_id is None:
        return await services.skills.list_for(None)
    async with services.state.using(ids.check_slug(session_id, "session")):
        workspace = services.state.get(Session, session_id).settings["workspace"]
        return await services.skills.list_for(workspace)
