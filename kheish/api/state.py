"""The state root's past by HTTP: commits, and the branch's position."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from falcon.asgi import Request, Response

from kheish.api import at_revision
from kheish.api.http import media, paging
from kheish.api.http.answer import Answer, Free
from kheish.api.http.operation import bind, get, post
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


class BlamedLine(Answer):
    """A line of a file, and the commit that wrote it."""

    line: int
    text: str
    commit: str
    author: str
    time: int
    """Seconds since 1970."""
    summary: str
    """The first line of the commit's message."""


class Blame(Answer):
    """The commit that wrote each line of a file."""

    path: str
    commit: str
    """As of this commit."""
    lines: list[BlamedLine]


class StateRoot:
    """The resource of `/v1/state/…`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def state_log(self, req: Request, resp: Response) -> None:
        """Answer with a page of commits, newest first."""
        given = req.context.query
        path, session = given.get("path"), paging.session_of(given)
        if session is not None:
            if path is not None:
                raise Invalid("Send either path or session.")
            return media.send(resp, await at_revision.commits(self._services, session, given))
        return media.send(resp, await commits(self._services, given, path))

    async def state_blame(self, req: Request, resp: Response) -> None:
        """Answer with the origin of each line of a user's file."""
        given = req.context.query
        if not (path := given.get("path")):
            raise Invalid("Send ?path=, such as routes/local.yaml.")
        commit, lines = await self._services.past.blame(path, given.get("at"))
        media.send(resp, {"path": path, "commit": commit, "lines": lines})

    async def put_back_state(self, req: Request, resp: Response) -> None:
        """Commit the daemon's later state on top of a branch that was moved back. Raises Conflict."""
        media.send(resp, await self._services.upkeep.decide("put_back"))

    async def accept_rewind(self, req: Request, resp: Response) -> None:
        """Continue from the new position of a branch that was moved back. Raises Conflict."""
        media.send(resp, await self._services.upkeep.decide("accept"))

    async def pack_state(self, req: Request, resp: Response) -> None:
        """Pack git's objects now. Raises Unavailable."""
        media.send(resp, await self._services.upkeep.gc())

    async def reindex_state(self, req: Request, resp: Response) -> None:
        """Rebuild the index."""
        media.send(resp, await self._services.upkeep.reindex())

    async def state_head(self, req: Request, resp: Response) -> None:
        """Answer with the branch's position, and the committed events."""
        media.send(resp, await self._services.git.head())


async def commits(services: Services, given: Given, path: str | None) -> Mapping[str, Any]:
    """Return a page of commits; a cursor holds the commit that the next page begins with. Raises InvalidCursor."""
    if path is not None and (path.startswith("/") or ".." in path.split("/")):
        raise Invalid(f"{path!r} is not a path in the state root.")
    rev = paging.place_of("c", given.get("cursor"))
    if rev is not None and not _COMMIT.match(rev):
        raise InvalidCursor("The cursor is not from this list; restart without it.")
    limit = given.get("limit", paging.LIMIT)
    rows = [dict(one) for one in await services.git.log(limit + 1, path=path, rev=rev)]
    more = len(rows) > limit
    return media.page(rows[:limit], paging.cursor_of("c", rows[limit]["commit"]) if more else None)


OPERATIONS = bind(
    StateRoot,
    get(
        "/v1/state/log",
        StateRoot.state_log,
        "List commits, newest first.",
        at_revision.Commit,
        *LOG,
        page=True,
        problems=(404,),
    ),
    get(
        "/v1/state/blame",
        StateRoot.state_blame,
        "Get the author and the commit of each line of a user's file.",
        Blame,
        *BLAME,
        problems=(404, 503),
    ),
    get("/v1/state/head", StateRoot.state_head, "Get the branch's position.", Free),
    post(
        "/v1/state/put-back",
        StateRoot.put_back_state,
        "After the branch was moved back: restore the daemon's files.",
        None,
        Free,
        problems=(409,),
        decides=True,
    ),
    post(
        "/v1/state/accept-rewind",
        StateRoot.accept_rewind,
        "After the branch was moved back: continue from its new position.",
        None,
        Free,
        problems=(409,),
        decides=True,
    ),
    post("/v1/state/gc", StateRoot.pack_state, "Pack git's objects now.", None, Free),
    post("/v1/state/reindex", StateRoot.reindex_state, "Rebuild the index.", None, Free),
)
