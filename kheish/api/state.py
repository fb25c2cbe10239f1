"""The state root's past by HTTP: commits, and where the branch is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from falcon.asgi import Request, Response

from kheish.api import at_revision
from kheish.api.http import media, paging
from kheish.api.http.paging import Given, Param
from kheish.api.services import Services
from kheish.errors import Invalid, InvalidCursor

_COMMIT = re.compile(r"[0-9a-f]{40}\Z")
LOG = (
    *paging.PAGE,
    *paging.SESSION,
    Param(name="path", about="Only commits that changed this file or folder of the state root."),
)
BLAME = (Param(name="path", about="The file, such as routes/local.yaml.", required=True), at_revision.AT)


class StateRoot:
    """`/v1/state/…`."""

    def __init__(self, parts: Services) -> None:
        self._parts = parts

    async def on_get_log(self, req: Request, resp: Response) -> None:
        """A page of commits, newest first."""
        given = req.context.query
        path, session = given.get("path"), paging.session_of(given)
        if session is not None:
            if path is not None:
                raise Invalid("Send either path or session.")
            return media.send(resp, await at_revision.commits(self._parts, session, given))
        return media.send(resp, await commits(self._parts, given, path))

    async def on_get_blame(self, req: Request, resp: Response) -> None:
        """Who wrote each line of a file of people's."""
        given = req.context.query
        if not (path := given.get("path")):
            raise Invalid("Send ?path=, such as routes/local.yaml.")
        commit, lines = await self._parts.past.blame(path, given.get("at"))
        media.send(resp, {"path": path, "commit": commit, "lines": lines})

    async def on_post_put_back(self, req: Request, resp: Response) -> None:
        """After the branch was moved back: commit all that the daemon had on top of it. Raises Conflict."""
        media.send(resp, await self._parts.upkeep.decide("put_back"))

    async def on_post_accept_rewind(self, req: Request, resp: Response) -> None:
        """After the branch was moved back: go on from there. Raises Conflict."""
        media.send(resp, await self._parts.upkeep.decide("accept"))

    async def on_post_gc(self, req: Request, resp: Response) -> None:
        """Pack git's objects now. Raises Unavailable."""
        media.send(resp, await self._parts.upkeep.gc())

    async def on_post_reindex(self, req: Request, resp: Response) -> None:
        """Make the index again."""
        media.send(resp, await self._parts.upkeep.reindex())

    async def on_get_head(self, req: Request, resp: Response) -> None:
        """Where the branch is, and which events are committed."""
        media.send(resp, await self._parts.git.head())


async def commits(parts: Services, given: Given, path: str | None) -> Mapping[str, Any]:
    """A page of commits; a cursor holds the commit that the next page begins with. Raises InvalidCursor."""
    if path is not None and (path.startswith("/") or ".." in path.split("/")):
        raise Invalid(f"{path!r} is no path in the state root.")
    rev = paging.place_of("c", given.get("cursor"))
    if rev is not None and not _COMMIT.match(rev):
        raise InvalidCursor("The cursor is not one that this list gave; start again without it.")
    limit = given.get("limit", paging.LIMIT)
    found = [dict(one) for one in await parts.git.log(limit + 1, path=path, rev=rev)]
    more = len(found) > limit
    return media.page(found[:limit], paging.cursor_of("c", found[limit]["commit"]) if more else None)
