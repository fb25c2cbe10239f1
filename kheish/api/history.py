"""A session's past by HTTP: commits, journal, events, diffs between two moments, search, forks, deletion."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import orjson
from falcon.asgi import Request, Response
from pydantic import Field

from kheish import ids
from kheish.api import at_revision, search, views
from kheish.api.http import filtering, media, paging, sse
from kheish.api.http.answer import Answer
from kheish.api.http.bodies import Body, Name
from kheish.api.http.operation import bind, delete, get, post
from kheish.api.http.paging import Given, Param
from kheish.api.journal import page
from kheish.api.services import Services
from kheish.api.sessions import fresh_id, using_or_new
from kheish.beneath import pool
from kheish.domain import history, workspaces
from kheish.domain.events import Entry
from kheish.domain.forks import fork as forks
from kheish.domain.mailboxes import recipients
from kheish.domain.memory.names import Place as MemoryPlace
from kheish.domain.sessions import end as session_end
from kheish.domain.sessions.session import Session, SessionView
from kheish.errors import Forbidden, InvalidCursor, SessionConflict
from kheish.runtime import net_diffs
from kheish.runtime.changed_files import Place
from kheish.runtime.memory import forks as memory_forks
from kheish.runtime.projects import work
from kheish.store.git import revisions
from kheish.store.git.revisions import FORMS

MOST = 2000
DIFF_LIMIT = 500
DIFF = (
    Param(name="from", about=f"The start, exclusive: {FORMS}. Without it, the beginning."),
    Param(name="to", about="The end, inclusive. Without it, now."),
    Param(name="limit", kind="count", least=1, most=MOST, about=f"The maximum number of entries ({DIFF_LIMIT})."),
)
SEARCH = (
    *paging.PAGE,
    Param(name="q", about=f"The query: {search.QUERY}. All of its words must occur.", required=True),
)


class ForkSession(Body):
    """A new session with the history of another."""

    at: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """The moment to fork at: a commit, a tag, an event number (`n:90412`), a time (`@{2026-11-22T12:00:00Z}`), or an
    entry of its journal (`seq:17`); without it, now."""
    session_id: Name | None = None
    """An id of your choice; without it, one is generated."""
    title: Annotated[str, Field(max_length=500)] | None = None
    """A title for people; without it, that of the other session."""


class Moment(Answer):
    """A requested moment."""

    rev: str
    commit: str | None
    """The first commit that contains it; null if it is not committed yet."""
    n: int
    """Its newest event."""


class SessionDiff(Answer):
    """The events of a session between two moments."""

    session_id: str
    path: str
    from_: Moment | None
    """null: the beginning."""
    to: Moment | None
    """null: now."""
    text: str
    """As a conversation."""
    entries: list[page.Event]
    """The journal lines, oldest first."""
    next_from: str | None
    """The cursor of the next page, as `from`; null on the last page."""


class DeletedSession(Answer):
    """The remaining data of a deleted session."""

    session_id: str
    path: str
    """Its former folder."""
    deleted_at: str
    deleted_by: str
    last_n: int
    remains: str
    """A description of the data that remains in git's history."""


class History:
    """The resource of a session's `/history`, `/diff`, `/changes`, `/search`, `/fork`, `/journal` and `/events`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._state = services.state
        self._feed = services.feed

    async def session_history(self, req: Request, resp: Response, session_id: str) -> None:
        """List the commits that changed a session, newest first, even if it is deleted."""
        media.send(resp, await at_revision.commits(self._services, session_id, req.context.query))

    async def session_diff(self, req: Request, resp: Response, session_id: str) -> None:
        """Answer with the events of a session between two moments: as a conversation, and the entries themselves."""
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
        """Return the session's entries, including those before it was forked, oldest first."""
        rows: list[tuple[int, str, str]] = []
        for session_id, upto in reversed(history.lineage(self._state, session)):
            part = self._state.index.events(after, limit=limit - len(rows), session=session_id)
            rows += [row for row in part if upto is None or row[0] <= upto]
            if len(rows) >= limit:
                break
        return rows

    async def _moment(self, rev: str | None) -> tuple[dict[str, Any] | None, int | None]:
        """Return a moment as the answer shows it, and its event number. An event need not be committed yet."""
        if rev is None:
            return None, None
        revision = revisions.parse(rev)
        if isinstance(revision, revisions.Event) and 0 <= revision.n <= self._state.n:
            commit = await self._services.past.holding(revision.n)
            return {"rev": rev, "commit": commit, "n": revision.n}, revision.n
        moment = await self._services.past.resolve(rev)
        return {"rev": rev, "commit": moment.commit, "n": moment.n}, moment.n

    async def session_changes(self, req: Request, resp: Response, session_id: str) -> None:
        """List changed files, the last changed first. Raises NotFound, InvalidCursor, WorkspaceSlow."""
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
        """Search the conversation of a session, newest match first."""
        given: Given = req.context.query
        doc = await views.document(self._state, Session, session_id)
        media.send(resp, await search.entries(self._state, doc, given.get("q", ""), given))

    async def fork_session(self, req: Request, resp: Response, session_id: str) -> None:
        """Create a session (201) with the history of another; the same request returns it again (200)."""
        body = await media.read(req, ForkSession)
        target = ids.check_slug(body.session_id, "session_id") if body.session_id else fresh_id(req)
        filtering.see_name(req.context.caller, target)
        source = await views.document(self._state, Session, session_id)
        copied = await self._copied(source, body.at)
        if copied.settings["workspace"] != source["workspace"] and req.context.caller.role != "admin":
            # The fork starts with a new workspace choice; an earlier workspace of the session is not inherited.
            await self._services.workspaces.choose(copied.settings["workspace"], req.context.caller, target)
        async with using_or_new(self._state, target):
            existing = self._state.find(Session, target)
            if existing is not None:
                _compare(existing, copied)
                return media.send(resp, views.of(self._state, existing))
            path = self._state.place_session(target)
            conversation = await asyncio.to_thread(forks.write, self._state.root, path, copied, target)
            await self._copy_memory(copied, body.at, target, req.context.principal)
            made = forks.create(
                self._state,
                target,
                path,
                copied,
                conversation,
                title=body.title,
                commit=await self._services.past.holding(copied.n),
                by=req.context.principal,
            )
        doc = views.of(self._state, made)
        await self._state.durable()
        resp.set_header("Location", f"/v1/sessions/{target}")
        return media.send(resp, doc, status=201, n=made.n)

    async def _copy_memory(self, copied: forks.History, rev: str | None, target: str, by: str) -> None:
        """Give the fork the memory files that the session had then: those of the commit, and before the first commit
        the present ones."""
        folder = MemoryPlace("session", copied.origin).folder
        commit = await self._commit_of(rev, copied.n)
        files = await self._services.past.files(commit, folder) if commit is not None else None
        await memory_forks.copy(self._services.memory.keeper, copied.origin, target, files, by=by)

    async def _commit_of(self, rev: str | None, n: int) -> str | None:
        """Return the commit that a fork starts from; None: the newest state, or one that is not committed yet."""
        if rev is None:
            return None
        moment = None if isinstance(revisions.parse(rev), revisions.Seq) else (await self._moment(rev))[0]
        return moment["commit"] if moment is not None else await self._services.past.holding(n)

    async def _copied(self, source: dict[str, Any], rev: str | None) -> forks.History:
        """Return the history up to a moment. Raises Invalid, NotFound, Forbidden."""
        seq: int | None = None
        n = self._state.durable_n
        if rev is not None and isinstance(revision := revisions.parse(rev), revisions.Seq):
            seq = revision.seq
        elif rev is not None:
            _, until = await self._moment(rev)
            n = min(n, until or 0)
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
        if copied.settings.get("permission_mode") == "bypass" and not self._services.allow_bypass:
            raise Forbidden("The permission mode bypass needs a daemon that was started with --allow-bypass.")
        return copied

    async def delete_session(self, req: Request, resp: Response, session_id: str) -> None:
        """Remove a session from the tree and the index, and report what remains in git's history."""
        async with self._state.using(session_id):
            session_end.check_owned(session_id, await work.owned(self._state, session_id))
            await recipients.tell_senders(self._state, session_id)
            entry = session_end.delete(self._state, session_id, by=req.context.principal)
        await self._state.durable()
        media.send(resp, {**session_end.tombstone(entry), "remains": _remains(entry)}, n=entry.n)

    async def session_journal(self, req: Request, resp: Response, session_id: str) -> None:
        """Answer with a page of journal lines, oldest first, verbatim."""
        await views.document(self._state, Session, session_id)
        await self._state.caught_up()
        media.send(resp, await page.read(self._services, session_id, req.context.query))

    async def session_events(self, req: Request, resp: Response, session_id: str) -> None:
        """Stream the session's events."""
        await views.document(self._state, Session, session_id)
        sse.answer(req, resp, self._services, self._feed, session=session_id)


def _remains(entry: Entry) -> str:
    path = session_end.tombstone(entry)["path"]
    return (
        "The next commit removes the folder, within seconds. Git keeps it: earlier commits have it, and so does every "
        f"clone and push of them (git log -- {path}). The workspace is unchanged. Rotate secrets in the history."
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
        raise InvalidCursor("The cursor is not from this list; restart without it.")
    return int(n), int(rank)


ONE = "/v1/sessions/{session_id}"
OPERATIONS = bind(
    History,
    get(
        f"{ONE}/history",
        History.session_history,
        "List commits that changed a session, newest first.",
        at_revision.Commit,
        *paging.PAGE,
        page=True,
        problems=(404,),
    ),
    get(
        f"{ONE}/diff",
        History.session_diff,
        "Get the events between two moments.",
        SessionDiff,
        *DIFF,
        problems=(404,),
    ),
    get(
        f"{ONE}/changes",
        History.session_changes,
        "List files of the workspace that the session's file tools changed, the last changed first. Changes by "
        "commands (`bash`) are not recorded.",
        net_diffs.ChangedFileView,
        *paging.PAGE,
        page=True,
        problems=(404,),
    ),
    get(
        f"{ONE}/search",
        History.search_session,
        "Search the conversation, newest match first.",
        search.Found,
        *SEARCH,
        page=True,
        problems=(404,),
    ),
    post(
        f"{ONE}/fork",
        History.fork_session,
        "Create a session with the history of another (201); the same request returns it again (200).",
        ForkSession,
        SessionView,
        good=(201, 200),
        problems=(404, 409),
        key=True,
    ),
    delete(
        ONE,
        History.delete_session,
        "Remove a session from the tree and the index; git's history keeps it.",
        DeletedSession,
        problems=(404, 409),
    ),
    get(
        f"{ONE}/journal",
        History.session_journal,
        "List journal lines, oldest first.",
        page.Event,
        *page.PARAMS,
        page=True,
        problems=(404,),
    ),
    get(
        f"{ONE}/events",
        History.session_events,
        "Stream the session's events.",
        None,
        *sse.PARAMS,
        media="text/event-stream",
        problems=(404,),
    ),
)
