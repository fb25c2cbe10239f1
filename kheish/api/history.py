"""A session's past by HTTP: commits, journal, events, diffs between two moments, what was said, forks, deletion."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import orjson
from falcon.asgi import Request, Response
from pydantic import Field

from kheish import ids
from kheish.api import answers, answers_past, at_revision, search, views
from kheish.api.http import filtering, media, paging, sse
from kheish.api.http.bodies import Body, Name
from kheish.api.http.operation import bind, delete, get, post
from kheish.api.http.paging import Given, Param
from kheish.api.services import Services
from kheish.api.sessions import fresh_id, using_or_new
from kheish.beneath import pool
from kheish.domain import forks, history, session_end, workspaces
from kheish.domain.events import Entry
from kheish.domain.sessions import Session
from kheish.errors import Forbidden, InvalidCursor, SessionConflict
from kheish.runtime import net_diffs
from kheish.runtime.changed_files import Place
from kheish.store.git import revisions
from kheish.store.git.revisions import FORMS

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
JOURNAL = (
    *paging.PAGE,
    Param(name="after", kind="count", about="Entries after this event number."),
    Param(name="run", about="Only those of this run."),
    Param(name="kind", many=True, about="Only entries of this kind."),
)


class ForkSession(Body):
    """A new session with the history of another."""

    at: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Up to when: a commit, a tag, an event number (`n:90412`), a time (`@{2026-11-22T12:00:00Z}`), or an entry of its
    journal (`seq:17`); without it, up to now."""
    session_id: Name | None = None
    """A name of your choice; without it, one is made."""
    title: Annotated[str, Field(max_length=500)] | None = None
    """For people; without it, that of the other."""


class History:
    """`/v1/sessions/{id}/history`, `/diff`, `/changes`, `/search`, `/fork`, `/journal` and `/events`."""

    def __init__(self, parts: Services) -> None:
        self._parts = parts
        self._state = parts.state
        self._feed = parts.feed

    async def session_history(self, req: Request, resp: Response, session_id: str) -> None:
        """A page of the commits that changed a session, newest first; also of one that is deleted."""
        media.send(resp, await at_revision.commits(self._parts, session_id, req.context.query))

    async def session_diff(self, req: Request, resp: Response, session_id: str) -> None:
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

    async def session_changes(self, req: Request, resp: Response, session_id: str) -> None:
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

    async def search_session(self, req: Request, resp: Response, session_id: str) -> None:
        """A page of what was said in a session, newest first."""
        given: Given = req.context.query
        doc = await views.document(self._state, Session, session_id)
        media.send(resp, await search.entries(self._state, doc, given.get("q", ""), given))

    async def fork_session(self, req: Request, resp: Response, session_id: str) -> None:
        """Make a session (201) with the history of this one up to a moment; the same request finds it again (200)."""
        body = await media.read(req, ForkSession)
        target = ids.check_slug(body.session_id, "session_id") if body.session_id else fresh_id(req)
        filtering.see(req.context.caller, target)
        source = await views.document(self._state, Session, session_id)
        copied = await self._copied(source, body.at)
        if copied.settings["workspace"] != source["workspace"] and req.context.caller.role != "admin":
            # An earlier workspace of the session is one that is chosen anew.
            await self._parts.workspaces.choose(copied.settings["workspace"], req.context.caller, target)
        async with using_or_new(self._state, target):
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

    async def delete_session(self, req: Request, resp: Response, session_id: str) -> None:
        """Take a session out of the tree and the index; says what stays in git's history."""
        async with self._state.using(session_id):
            entry = session_end.delete(self._state, session_id, by=req.context.principal)
        await self._state.durable()
        media.send(resp, {**session_end.tombstone(entry), "remains": _remains(entry)}, n=entry.n)

    async def session_journal(self, req: Request, resp: Response, session_id: str) -> None:
        """A page of journal lines, oldest first, verbatim."""
        await views.document(self._state, Session, session_id)
        await self._state.caught_up()
        given: Given = req.context.query
        limit = given.get("limit", paging.LIMIT)
        place = paging.number_of("n", given.get("cursor"))
        rows = await asyncio.to_thread(
            self._state.index.events,
            given.get("after", 0) if place is None else place,
            limit=limit + 1,
            session=session_id,
            run=given.get("run"),
            kinds=given.get("kind", ()),
        )
        more = len(rows) > limit
        cursor = f'"{paging.cursor_of("n", rows[limit - 1][0])}"' if more else "null"
        lines = ",".join(line for _, _, line in rows[:limit])
        media.send(resp, f'{{"items":[{lines}],"next_cursor":{cursor}}}'.encode())

    async def session_events(self, req: Request, resp: Response, session_id: str) -> None:
        """The session's events as a stream."""
        await views.document(self._state, Session, session_id)
        sse.answer(req, resp, self._parts, self._feed, session=session_id)


def _remains(entry: Entry) -> str:
    path = session_end.tombstone(entry)["path"]
    return (
        "The folder goes with the next commit, within seconds. Git never forgets: the commits up to then still have "
        f"it, and so has every clone and push of them (git log -- {path}). Its workspace is left as it is. Rotate what "
        "must not be known."
    )


def _compare(there: Session, copied: forks.History) -> None:
    origin = there.forked_from or {}
    if (origin.get("session_id"), origin.get("seq")) != (copied.origin, copied.seq):
        raise SessionConflict(
            f"There is a session {there.session_id!r} already, and it is not this fork; choose another id."
        )


def _place(cursor: str | None) -> Place | None:
    given = paging.place_of("c", cursor)
    if given is None:
        return None
    n, _, rank = given.partition(".")
    if not all(part.isascii() and part.isdecimal() and len(part) < 19 for part in (n, rank)):
        raise InvalidCursor("The cursor is not one that this list gave; start again without it.")
    return int(n), int(rank)


ONE = "/v1/sessions/{session_id}"
OPERATIONS = bind(
    History,
    get(
        f"{ONE}/history",
        History.session_history,
        "Commits that changed a session, newest first.",
        answers.Commit,
        *paging.PAGE,
        page=True,
        problems=(404,),
    ),
    get(
        f"{ONE}/diff",
        History.session_diff,
        "What happened between two moments.",
        answers_past.SessionDiff,
        *DIFF,
        problems=(404,),
    ),
    get(
        f"{ONE}/changes",
        History.session_changes,
        "Files of the workspace that the session's file tools changed, the last changed first. What commands (`bash`) "
        "changed is not seen.",
        answers_past.ChangedFile,
        *paging.PAGE,
        page=True,
        problems=(404,),
    ),
    get(
        f"{ONE}/search",
        History.search_session,
        "What was said, newest first.",
        answers_past.Found,
        *SEARCH,
        page=True,
        problems=(404,),
    ),
    post(
        f"{ONE}/fork",
        History.fork_session,
        "Make a session with this one's history (201); the same request finds it again (200).",
        ForkSession,
        answers.Session,
        good=(201, 200),
        problems=(404, 409),
        key=True,
    ),
    delete(
        ONE,
        History.delete_session,
        "Take a session out of the tree and the index; git's history keeps it.",
        answers_past.DeletedSession,
        problems=(404, 409),
    ),
    get(
        f"{ONE}/journal",
        History.session_journal,
        "Journal lines, oldest first.",
        answers.Event,
        *JOURNAL,
        page=True,
        problems=(404,),
    ),
    get(
        f"{ONE}/events",
        History.session_events,
        "The session's events.",
        None,
        *sse.PARAMS,
        media="text/event-stream",
        problems=(404,),
    ),
)
