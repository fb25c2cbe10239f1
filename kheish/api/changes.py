"""`GET /v1/sessions/{id}/changes`: the files of the workspace that a session's tools changed."""

from __future__ import annotations

from falcon.asgi import Request, Response

from kheish.api import views
from kheish.api.http import media, paging
from kheish.api.services import Services
from kheish.beneath import pool
from kheish.domain import workspaces
from kheish.domain.sessions import Session
from kheish.errors import InvalidCursor
from kheish.runtime import net_diffs
from kheish.runtime.changed_files import Place


class Changes:
    """What a session changed in its workspace."""

    def __init__(self, parts: Services) -> None:
        self._state = parts.state

    async def on_get(self, req: Request, resp: Response, session_id: str) -> None:
        """A page of files, the last changed first. Raises NotFound, InvalidCursor, WorkspaceSlow."""
        given = req.context.query
        session = await views.document(self._state, Session, session_id)
        below = _place(given.get("cursor"))
        await self._state.caught_up()
        door = workspaces.door_of(self._state, session["workspace"] or "/")
        items, rest = await pool.run(
            door, net_diffs.listed, self._state, session, below, given.get("limit", paging.LIMIT)
        )
        media.send(resp, media.page(items, None if rest is None else paging.cursor_of("c", f"{rest[0]}.{rest[1]}")))


def _place(cursor: str | None) -> Place | None:
    given = paging.place_of("c", cursor)
    if given is None:
        return None
    n, _, rank = given.partition(".")
    if not all(part.isascii() and part.isdecimal() and len(part) < 19 for part in (n, rank)):
        raise InvalidCursor("The cursor is not one that this list gave; start again without it.")
    return int(n), int(rank)
