"""The state root's past by HTTP: commits, and where the branch is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from falcon.asgi import Request, Response

from kheish.api import answers, answers_past, at_revision
from kheish.api.http import media, paging
from kheish.api.http.answer import Free
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


class StateRoot:
    """`/v1/state/…`."""

    def __init__(self, parts: Services) -> None:
        self._parts = parts

    async def state_log(self, req: Request, resp: Response) -> None:
        """A page of commits, newest first."""
        given = req.context.query
        path, session = given.get("path"), paging.session_of(given)
        if session is not None:
            if path is not None:
                raise Invalid("Send either path or session.")
            return media.send(resp, await at_revision.commits(self._parts, session, given))
        return media.send(resp, await commits(self._parts, given, path))

    async def state_blame(self, req: Request, resp: Response) -> None:
        """Who wrote each line of a file of people's."""
        given = req.context.query
        if not (path := given.get("path")):
            raise Invalid("Send ?path=, such as routes/local.yaml.")
        commit, lines = await self._parts.past.blame(path, given.get("at"))
        media.send(resp, {"path": path, "commit": commit, "lines": lines})

    async def put_back_state(self, req: Request, resp: Response) -> None:
        """After the branch was moved back: commit all that the daemon had on top of it. Raises Conflict."""
        media.send(resp, await self._parts.upkeep.decide("put_back"))

    async def accept_rewind(self, req: Request, resp: Response) -> None:
        """After the branch was moved back: go on from there. Raises Conflict."""
        media.send(resp, await self._parts.upkeep.decide("accept"))

    async def pack_state(self, req: Request, resp: Response) -> None:
        """Pack git's objects now. Raises Unavailable."""
        media.send(resp, await self._parts.upkeep.gc())

    async def reindex_state(self, req: Request, resp: Response) -> None:
        """Make the index again."""
        media.send(resp, await self._parts.upkeep.reindex())

    async def state_head(self, req: Request, resp: Response) -> None:
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


OPERATIONS = bind(
    StateRoot,
    get(
        "/v1/state/log",
        StateRoot.state_log,
        "Commits, newest first.",
        answers.Commit,
        *LOG,
        page=True,
        problems=(404,),
    ),
    get(
        "/v1/state/blame",
        StateRoot.state_blame,
        "Who wrote each line of a file of people's, and with which commit.",
        answers_past.Blame,
        *BLAME,
        problems=(404, 503),
    ),
    get("/v1/state/head", StateRoot.state_head, "Where the branch is.", Free),
    post(
        "/v1/state/put-back",
        StateRoot.put_back_state,
        "The branch was moved back: bring the daemon's files back.",
        None,
        Free,
        problems=(409,),
        decides=True,
    ),
    post(
        "/v1/state/accept-rewind",
        StateRoot.accept_rewind,
        "The branch was moved back: go on from there.",
        None,
        Free,
        problems=(409,),
        decides=True,
    ),
    post("/v1/state/gc", StateRoot.pack_state, "Pack git's objects now.", None, Free),
    post("/v1/state/reindex", StateRoot.reindex_state, "Make the index again.", None, Free),
)
