"""The memory of a session by HTTP: what its next prompt has, and what a prompt had earlier."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from falcon.asgi import Request, Response

from kheish.api import at_revision, views
from kheish.api.http import media
from kheish.api.http.operation import bind, get
from kheish.api.http.paging import Param
from kheish.api.memory import answers, files, proposals
from kheish.api.services import Services
from kheish.domain.events import ModelRequested
from kheish.domain.sessions.session import Session
from kheish.errors import NotFound
from kheish.runtime.memory import catalog as listing
from kheish.store.git import revisions
from kheish.store.log import index

_QUERY = Param(name="query", about="The task of a possible next run; it selects the records of earlier runs.")


class SessionsMemory:
    """The resource of `/v1/sessions/{session_id}/memory`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._state = services.state
        self._memory = services.memory

    async def session_memory(self, req: Request, resp: Response, session_id: str) -> None:
        """Answer with the memory in the session's next prompt, and the reasons."""
        given = req.context.query
        if (rev := given.get("at")) is not None:
            return media.send(resp, await self._earlier(session_id, rev))
        async with self._state.using(session_id):
            persona = self._state.get(Session, session_id).settings["persona"]
            recalled = await self._memory.recall(session_id, persona, given.get("query", ""))
        return media.send(resp, answers.recalled(session_id, recalled))

    async def _earlier(self, session_id: str, rev: str) -> dict[str, Any]:
        """Return the files in the last prompt before a revision. Raises NotFound, Invalid."""
        await views.document(self._state, Session, session_id)
        revision = revisions.parse(rev)
        is_event = isinstance(revision, revisions.Event) and 0 <= revision.n <= self._state.n
        n = revision.n if is_event else (await self._services.past.resolve(rev)).n  # type: ignore[union-attr]  # `is_event` says which
        await self._state.caught_up()
        line = await asyncio.to_thread(self._last_request, session_id, n or 0)
        if line is None:
            raise NotFound(f"The session {session_id!r} had no prompt before {rev}.")
        loaded = line["data"].get("memory", ())
        known = await asyncio.to_thread(listing.origins, self._state, [one["digest"] for one in loaded])
        rows = []
        for one in loaded:
            origin = known.get(one["digest"])
            by = origin.origin if origin is not None else "agent"
            rows.append({**one, "why": "it was in the prompt", "origin": by, "tokens": 0})
        return {"session_id": session_id, "text": None, "files": rows, "records": [], "n": line["n"]}

    def _last_request(self, session_id: str, n: int) -> dict[str, Any] | None:
        line = index.last_of(self._state.index, session_id, ModelRequested.kind, n)
        return orjson.loads(line) if line is not None else None


OPERATIONS = (
    *proposals.OPERATIONS,
    *files.OPERATIONS,
    *bind(
        SessionsMemory,
        get(
            "/v1/sessions/{session_id}/memory",
            SessionsMemory.session_memory,
            "Get the memory in the session's next prompt and the reasons, or what a prompt had earlier.",
            answers.SessionMemory,
            _QUERY,
            at_revision.AT,
            problems=(404,),
        ),
    ),
)
