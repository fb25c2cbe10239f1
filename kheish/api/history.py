"""A session's past by HTTP: its commits, what happened between two moments, what was said, and forks."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from falcon.asgi import Request, Response

from kheish import ids
from kheish.api import at_revision, models, search, views
from kheish.api.http import filtering, media, paging
from kheish.api.http.paging import Given, Param
from kheish.api.services import Services
from kheish.api.sessions import fresh_id, load_or_new
from kheish.domain import forks, history
from kheish.domain.sessions import Session
from kheish.errors import Forbidden, SessionConflict
from kheish.store import revisions
from kheish.store.revisions import FORMS

MOST = 2000
DIFF_LIMIT = 500
DIFF = (
    Param(name="from", about=f"What came after this: {FORMS}. Without it, from the beginning."),
    Param(name="to", about="Up to this. Without it, up to now."),
    Param(name="limit", kind="count", least=1, most=MOST, about=f"How many entries at most ({DIFF_LIMIT})."),
)
SEARCH = (
    *paging.PAGE,
    Param(name="q", about=f"What to look for: {search.QUERY}. All of it must be said.", required=True),
)


class History:
    """`/v1/sessions/{id}/history`, `/diff`, `/search` and `/fork`."""

    def __init__(self, parts: Services) -> None:
        self._parts = parts
        self._state = parts.state

    async def on_get_history(self, req: Request, resp: Response, session_id: str) -> None:
        """A page of the commits that changed a session, newest first; also of one that is deleted."""
        media.send(resp, await at_revision.commits(self._parts, session_id, req.context.query))

    async def on_get_diff(self, req: Request, resp: Response, session_id: str) -> None:
        """What happened in a session between two moments: as a conversation, and the entries themselves."""
        given: Given = req.context.query
        doc = await views.document(self._state, Session, session_id)
        begin, after = await self._moment(given.get("from"))
        end, upto = await self._moment(given.get("to"))
        await self._state.caught_up()
        limit = given.get("limit", DIFF_LIMIT)
        rows = await asyncio.to_thread(self._rows, doc, after or 0, limit + 1)
        lines = [line for n, _, line in rows if upto is None or n <= upto]
        entries = [orjson.loads(line) for line in lines[:limit]]
        following = f"n:{entries[-1]['n']}" if len(lines) > limit else None
        answer = {
            "session_id": session_id,
            "path": doc["path"],
            "from": begin,
            "to": end,
            "text": await asyncio.to_thread(history.told, entries),
            "entries": entries,
            "next_from": following,
        }
        media.send(resp, answer)

    def _rows(self, session: dict[str, Any], after: int, limit: int) -> list[tuple[int, str, str]]:
        """Return the session's entries, those before it was forked included, oldest first."""
        rows: list[tuple[int, str, str]] = []
        for session_id, upto in reversed(history.lineage(self._state, session)):
            part = self._state.index.events(after, limit=limit - len(rows), session=session_id)
            rows += [row for row in part if upto is None or row[0] <= upto]
            if len(rows) >= limit:
                break
        return rows

    async def _moment(self, rev: str | None) -> tuple[dict[str, Any] | None, int | None]:
        """A moment as the answer shows it, and its event number. An event need not be committed yet."""
        if rev is None:
            return None, None
        wanted = revisions.parse(rev)
        if isinstance(wanted, revisions.Event) and 0 <= wanted.n <= self._state.n:
            commit = await self._parts.past.holding(wanted.n)
            return {"rev": rev, "commit": commit, "n": wanted.n}, wanted.n
        moment = await self._parts.past.resolve(rev)
        return {"rev": rev, "commit": moment.commit, "n": moment.n}, moment.n

    async def on_get_search(self, req: Request, resp: Response, session_id: str) -> None:
        """A page of what was said in a session, newest first."""
        given: Given = req.context.query
        doc = await views.document(self._state, Session, session_id)
        media.send(resp, await search.entries(self._state, doc, given.get("q", ""), given))

    async def on_post_fork(self, req: Request, resp: Response, session_id: str) -> None:
        """Make a session (201) with the history of this one up to a moment; the same request finds it again (200)."""
        body = await media.read(req, models.ForkSession)
        target = ids.check_slug(body.session_id, "session_id") if body.session_id else fresh_id(req)
        filtering.see(req.context.caller, target)
        source = await views.document(self._state, Session, session_id)
        copied = await self._copied(source, body.at)
        if copied.settings["workspace"] != source["workspace"] and req.context.caller.role != "admin":
            # An earlier workspace of the session is one that is chosen anew.
            await self._parts.workspaces.choose(copied.settings["workspace"], req.context.caller, target)
        await load_or_new(self._state, target)
        there = self._state.find(Session, target)
        if there is not None:
            _compare(there, copied)
            return media.send(resp, views.of(self._state, there))
        path = self._state.place_session(target)
        conversation = await asyncio.to_thread(forks.write, self._state.root, path, copied, target)
        made = forks.create(
            self._state,
            target,
            path,
            copied,
            conversation,
            title=body.title,
            commit=await self._parts.past.holding(copied.n),
            by=req.context.principal,
        )
        doc = views.of(self._state, made)
        await self._state.durable()
        resp.set_header("Location", f"/v1/sessions/{target}")
        return media.send(resp, doc, status=201, n=made.n)

    async def _copied(self, source: dict[str, Any], rev: str | None) -> forks.History:
        """The history up to a moment. Raises Invalid, NotFound, Forbidden."""
        seq: int | None = None
        n = self._state.durable_n
        if rev is not None and isinstance(wanted := revisions.parse(rev), revisions.Seq):
            seq = wanted.seq
        elif rev is not None:
            _, found = await self._moment(rev)
            n = min(n, found or 0)
        await self._state.caught_up()
        copied = await asyncio.to_thread(
            forks.read,
            self._state.root,
            source["session_id"],
            source["path"],
            self._state.index,
            seq=seq,
            n=None if seq is not None else n,
        )
        if copied.settings.get("permission_mode") == "bypass" and not self._parts.allow_bypass:
            raise Forbidden("The permission mode bypass needs a daemon that was started with --allow-bypass.")
        return copied


def _compare(there: Session, copied: forks.History) -> None:
    origin = there.forked_from or {}
    if (origin.get("session_id"), origin.get("seq")) != (copied.origin, copied.seq):
        raise SessionConflict(
            f"There is a session {there.session_id!r} already, and it is not this fork; choose another id."
        )
