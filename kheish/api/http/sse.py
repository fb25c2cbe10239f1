"""Event streams: first the journals, then live events, without a gap or a duplicate."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from falcon.asgi import Request, Response

from kheish.api.http import media, paging
from kheish.api.http.feed import PING, Feed, Filter, Narrow, Reader
from kheish.api.http.paging import Given, Param
from kheish.api.services import Services
from kheish.domain import events
from kheish.errors import Invalid, TooMany, Unauthorized, Unavailable, UnknownEvent
from kheish.store.edits.problems import nearest
from kheish.store.log import owners
from kheish.texts import is_number

MOST_STREAMS = 4096
ROWS = 500
#: seconds between two reads of an index that is behind
PAUSE = 0.02
#: shown once and never replayed; the journal does not have them
LIVE_KINDS = ("model.delta", "tool.output")
Receive = Callable[[], Awaitable[dict[str, Any]]]
#: whether the caller's token and login are still valid
Lasts = Callable[[], bool]
#: the callback slot for disconnects that `app.App` fills; Falcon does not notify a stream
RECEIVE = "kheish.receive"

PARAMS = (
    Param(name="after", kind="count", about="Everything after this event number, then live (0: everything)."),
    Param(name="kind", many=True, about="Only events of this kind, such as `tool.finished`."),
)


class Stream:
    """The body of an event stream, as Falcon iterates over it."""

    def __init__(
        self,
        services: Services,
        feed: Feed,
        reader: Reader,
        lasts: Lasts,
        receive: Receive | None = None,
        caller: str = "",
    ) -> None:
        self._caller = caller
        self._lasts = lasts
        self._state = services.state
        self._feed = feed
        self._reader = reader
        self._receive = receive
        self._watch: asyncio.Task[None] | None = None
        self._open = True
        self._forget = services.closing.then(reader.close)
        feed.streams += 1
        feed.by_caller.opened(caller)
        if services.closing.begun:
            reader.close()

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> bytes:
        reader = self._reader
        if self._watch is None and self._receive is not None:
            self._watch = asyncio.create_task(_until_gone(self._receive, reader))
        while True:
            if not self._lasts():
                raise StopAsyncIteration
            if data := reader.take():
                return data
            if reader.closed:
                raise StopAsyncIteration
            if not reader.attached:
                if data := await self._catch_up():
                    return data
            elif reader.pinged:
                reader.pinged = False
                return PING
            else:
                await reader.wait()

    async def _catch_up(self) -> bytes:
        """Return a page from the index; at its end, attach to the live events."""
        reader = self._reader
        data, reached, more = await asyncio.to_thread(self._page, reader.last)
        reader.last = max(reader.last, reached)
        if not more and not self._feed.join(reader, self._state.durable_n):
            with contextlib.suppress(Unavailable):
                await self._state.caught_up()
            if not data:
                await asyncio.sleep(PAUSE)
        return data

    def _page(self, after: int) -> tuple[bytes, int, bool]:
        filtered = self._reader.filter
        newest = self._state.index.newest()  # read first: the query sees everything up to this number
        rows = self._rows(after)
        shown = (
            rows if filtered.narrow is None else [row for row in rows if _takes(filtered.narrow, filtered.kinds, *row)]
        )
        if filtered.stream is not None and filtered.kinds:
            shown = [row for row in shown if row[1] in filtered.kinds]
        text = "".join([f"id: {n}\nevent: {kind}\ndata: {line}\n\n" for n, kind, line in shown])
        more = len(rows) == ROWS
        reached = rows[-1][0] if rows else after
        return text.encode(), reached if more else max(reached, newest), more

    def _rows(self, after: int) -> list[tuple[int, str, str]]:
        filtered = self._reader.filter
        if filtered.stream is not None:
            return owners.events(self._state.index, f"journals/{filtered.stream}", after, ROWS)
        return self._state.index.events(
            after,
            limit=ROWS,
            session=filtered.session,
            run=filtered.run,
            # all kinds if `narrow` decides: it may learn from one kind which others it accepts
            kinds=sorted(filtered.kinds) if filtered.narrow is None else (),
        )

    async def close(self) -> None:
        """Release everything; the client disconnected, or the daemon stops."""
        if self._open:
            self._open = False
            self._feed.streams -= 1
            self._feed.by_caller.closed(self._caller)
        self._forget()
        self._feed.leave(self._reader)
        self._reader.close()
        if self._watch is not None:
            self._watch.cancel()


def _takes(narrow: Narrow, kinds: frozenset[str], n: int, kind: str, line: str) -> bool:
    return narrow(kind, orjson.loads(line).get("run"), line.encode()) and (not kinds or kind in kinds)


async def _until_gone(receive: Receive, reader: Reader) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    reader.close()


def answer(
    req: Request,
    resp: Response,
    services: Services,
    feed: Feed,
    *,
    session: str | None = None,
    run: str | None = None,
    stream: str | None = None,
    narrow: Narrow | None = None,
) -> None:
    """Answer with an event stream, filtered by the query. Raises UnknownEvent, Invalid, TooMany."""
    if feed.streams >= MOST_STREAMS:
        raise TooMany(f"There are {MOST_STREAMS} open event streams; close some.")
    caller: str = req.context.principal
    feed.by_caller.check(caller, services.config().api.streams)
    given: Given = req.context.query
    filtered = Filter(
        session=session or paging.session_of(given),
        run=run or given.get("run"),
        stream=stream,
        kinds=_kinds(given.get("kind", ())),
        narrow=narrow,
    )
    newest = services.state.durable_n
    after = _after(req, given, newest)
    reader = Reader(filtered, newest if after is None else after)
    if after is None:
        feed.join(reader, newest)
    resp.content_type = "text/event-stream; charset=utf-8"
    resp.set_headers({"Cache-Control": "no-store", "X-Accel-Buffering": "no", media.EVENT: str(newest)})
    resp.stream = Stream(services, feed, reader, lasts(services, req), req.scope.get(RECEIVE), caller)


def lasts(services: Services, req: Request) -> Lasts:
    """Return a check of the caller's token. It runs before each event and at each ping, so that a revoked or expired
    token gets no further event.
    """
    login, digest = req.context.login, req.context.digest
    if login is not None:
        return lambda: services.logins.holder(login) is not None
    return lambda: services.tokens.holder(digest) is not None


def check_lasts(services: Services, req: Request) -> None:
    """Raise Unauthorized if the caller's token ended during a wait."""
    if not lasts(services, req)():
        raise Unauthorized("The token (or the login) was revoked, or has expired, since the request began.")


def _after(req: Request, given: Given, newest: int) -> int | None:
    """Return the event number to start after.

    An EventSource that reconnects repeats its address, so its header is newer.
    """
    text = req.get_header("Last-Event-ID")
    after: int | None = given.get("after")
    if text:
        if not (is_number(text) and len(text) < 19):
            raise UnknownEvent(f"Last-Event-ID is {text[:40]!r}, which is not an event number.")
        after = int(text)
    if after is not None and after > newest:
        raise UnknownEvent(f"There is no event {after} yet; the newest is {newest}.", newest=newest)
    return after


def _kinds(given: tuple[str, ...]) -> frozenset[str]:
    known = (*events.kinds(), *LIVE_KINDS)
    for kind in given:
        if kind not in known:
            near = nearest(kind, known)
            raise Invalid(f"There is no event kind {kind!r}{f'; did you mean {near!r}?' if near else ''}")
    return frozenset(given)
