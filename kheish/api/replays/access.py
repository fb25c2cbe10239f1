"""The right to replay a session: a replay shows what was said in it, so only callers that may read it have it."""

from __future__ import annotations

from kheish.api.http import filtering
from kheish.auth.tokens import Principal
from kheish.domain import routes
from kheish.domain.sessions.session import Session
from kheish.errors import KheishError
from kheish.state.state import State


async def check(
    state: State, caller: Principal, session: Session, selector: str | None, model: str | None = None
) -> None:
    """Raise Forbidden if a run would replay a session that the caller may not see."""
    if not caller.limits:
        return
    known, config = state.definitions.routes, state.definitions.config
    try:
        route_id, chosen = routes.choose(selector or session.settings["route"], config.default_route, known)
    except KheishError:
        return  # the submission refuses it with its own words
    route = known[route_id]
    recorded = model or chosen or route.model
    if route.driver == "replay" and recorded is not None:
        await filtering.see(state, caller, recorded)
