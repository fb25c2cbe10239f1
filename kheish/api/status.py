"""The daemon itself by HTTP: status, problems, config, usage, logs, events, pause and resume."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from falcon.asgi import Request, Response

from kheish.api.flows.events import follow
from kheish.api.http import media, paging, sse
from kheish.api.http.answer import Answer, Free
from kheish.api.http.bodies import Body, Name
from kheish.api.http.operation import bind, get, post
from kheish.api.http.paging import Given, Param
from kheish.api.services import Services
from kheish.domain import events
from kheish.domain.budgets import Spend
from kheish.domain.nouns import BY_CLASS
from kheish.errors import Fault, Invalid

PROBLEMS = (*paging.PAGE, paging.choices("severity", ("error", "warning")), paging.text("path"), paging.text("code"))
USAGE = (
    *paging.PAGE,
    *paging.SESSION,
    paging.text("route"),
    paging.text("day", "Only this UTC day, such as 2026-11-22."),
    Param(name="by", kind="choice", choices=("session", "route", "day"), many=True, about="Group by these fields."),
)
LEVELS = ("debug", "info", "warning", "error", "critical")
LOGS = (*paging.PAGE, Param(name="level", kind="choice", choices=LEVELS, about="The lowest level."))
EVENTS = (
    *sse.PARAMS,
    *paging.SESSION,
    Param(name="run", about="Only events of this run."),
    Param(name="flow", about="Only events of this Flow and its runs."),
)
_COUNTED = ("model_calls", "input_tokens", "output_tokens", "cached_tokens")
_UNKNOWN = {"cost_usd": None, "estimated": False}
_ROWS = 1000


class WhichRoute(Body):
    """The scope of a pause or a resume."""

    route: Name | None = None
    """Only work that uses this route; null: everything."""


class Resume(WhichRoute):
    """The scope of a resume, and whether it takes over."""

    takeover: bool = False
    """Write a new incarnation to the backup's remote first, so that the daemon that has pushed there pauses."""


class FileProblem(Answer):
    """A problem in a file."""

    problem_id: str
    path: str
    line: int | None
    column: int | None
    severity: Literal["error", "warning"]
    code: str
    message: str
    suggestion: str | None
    since: str


class UsageRow(Answer):
    """Usage and cost. With `by`, the fields that are summed over are null."""

    session_id: str | None
    route: str | None
    day: str | None
    model_calls: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost_usd: float | None
    estimated: bool


class LogLine(Answer):
    """A line of the daemon's log; `text` may have several lines if a traceback follows."""

    number: int
    at: str
    level: str
    name: str
    text: str


class Paused(Answer):
    """The paused parts of the daemon."""

    everything: bool
    routes: list[str]


class Daemon:
    """The resource of `/v1/status` and related paths."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._state = services.state
        self._feed = services.feed

    async def status(self, req: Request, resp: Response) -> None:
        """Answer with the daemon's activity and condition."""
        media.send(resp, self._services.status())

    async def problems(self, req: Request, resp: Response) -> None:
        """Answer with the problems in files."""
        given = req.context.query
        rows = [one for one in self._services.problems() if _matches(one, given)]
        start = paging.number_of("p", given.get("cursor")) or 0
        end = start + given.get("limit", paging.LIMIT)
        cursor = paging.cursor_of("p", end) if end < len(rows) else None
        media.send(resp, media.page([dict(one) for one in rows[start:end]], cursor))

    async def logs(self, req: Request, resp: Response) -> None:
        """Answer with the newest lines of the daemon's log, newest first."""
        given = req.context.query
        below, least = paging.number_of("g", given.get("cursor")), LEVELS.index(given.get("level", LEVELS[0]))
        rows = [
            line
            for line in self._services.logs()
            if (below is None or line["number"] < below) and LEVELS.index(line["level"]) >= least
        ]
        page = rows[: given.get("limit", paging.LIMIT)]
        cursor = paging.cursor_of("g", page[-1]["number"]) if len(page) < len(rows) else None
        media.send(resp, media.page([dict(one) for one in page], cursor))

    async def config(self, req: Request, resp: Response) -> None:
        """Answer with the settings in force."""
        media.send(resp, self._services.config().model_dump(mode="json"))

    async def events(self, req: Request, resp: Response) -> None:
        """Stream all events, or with `?flow=` those of a Flow."""
        if flow_id := req.context.query.get("flow"):
            return await follow(self._services, self._feed, req, resp, flow_id)
        return sse.answer(req, resp, self._services, self._feed)

    async def pause(self, req: Request, resp: Response) -> None:
        """Pause one route or all: no new step starts."""
        route = self._route(await media.read(req, WhichRoute))
        if route not in self._state.paused:
            self._state.append(events.DaemonPaused(route=route).on(by=req.context.principal))
            self._state.paused.add(route)
            return await self._paused(resp, self._state.n)
        return await self._paused(resp, None)

    async def resume(self, req: Request, resp: Response) -> None:
        """Resume a route, or everything that is paused.

        A takeover comes first; if it fails, nothing resumes.
        """
        given = await media.read(req, Resume)
        route = self._route(given)
        if given.takeover:
            if route is not None:
                fault = Fault("/route", "cannot be combined with takeover")
                raise Invalid("A takeover applies to everything.", errors=[fault])
            await self._services.backup.take_over()
        going_on = set(self._state.paused) if route is None else self._state.paused & {route}
        if going_on:
            self._state.append(
                *(events.DaemonResumed(route=one).on(by=req.context.principal) for one in sorted(going_on, key=str))
            )
            self._state.paused -= going_on
            return await self._paused(resp, self._state.n)
        return await self._paused(resp, None)

    def _route(self, given: WhichRoute) -> str | None:
        route = given.route
        if route is not None and route not in self._state.definitions.by_kind["routes"]:
            raise Invalid(f"There is no route {route!r}.", errors=[Fault("/route", "is unknown")])
        return route

    async def _paused(self, resp: Response, n: int | None) -> None:
        paused = self._state.paused
        answer = {"everything": None in paused, "routes": sorted(one for one in paused if one is not None)}
        await self._state.durable()
        media.send(resp, answer, n=n)

    async def usage(self, req: Request, resp: Response) -> None:
        """Answer with the usage: by session, route and day, or aggregated."""
        given: Given = req.context.query
        await self._state.caught_up()
        if "by" not in given:
            page = await asyncio.to_thread(self._spends, given, given.get("limit", paging.LIMIT), given.get("cursor"))
            return media.send(resp, media.page(page[0], page[1]))
        rows = await asyncio.to_thread(lambda: _sums(self._all_spends(given), given["by"]))
        limit, start = given.get("limit", paging.LIMIT), paging.number_of("u", given.get("cursor")) or 0
        cursor = paging.cursor_of("u", start + limit) if start + limit < len(rows) else None
        return media.send(resp, media.page(rows[start : start + limit], cursor))

    def _spends(self, given: Given, limit: int, cursor: str | None) -> tuple[list[dict[str, Any]], str | None]:
        page = self._state.index.things(
            BY_CLASS[Spend].name,
            limit=limit,
            cursor=cursor,
            session=paging.session_of(given),
            statuses=(given["day"],) if "day" in given else (),
            fields={"route": given["route"]} if "route" in given else {},
        )
        return page.items, page.next_cursor

    def _all_spends(self, given: Given) -> Iterable[dict[str, Any]]:
        cursor: str | None = None
        while True:
            rows, cursor = self._spends(given, _ROWS, cursor)
            yield from rows
            if cursor is None:
                return


def _matches(problem: Mapping[str, Any], given: Given) -> bool:
    return (
        problem["severity"] in given.get("severity", (problem["severity"],))
        and problem["path"] == given.get("path", problem["path"])
        and problem["code"] == given.get("code", problem["code"])
    )


def _sums(rows: Iterable[Mapping[str, Any]], by: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return a row for each combination, in the order of their names; aggregated fields are null."""
    kept = {"session_id" if name == "session" else name for name in by}
    sums: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows:
        head = {name: row[name] if name in kept else None for name in ("session_id", "route", "day")}
        sum_ = sums.setdefault(
            tuple(value or "" for value in head.values()), {**head, **dict.fromkeys(_COUNTED, 0), **_UNKNOWN}
        )
        for name in _COUNTED:
            sum_[name] += row[name]
        sum_["estimated"] = sum_["estimated"] or row["estimated"]
        if row["cost_usd"] is not None:
            sum_["cost_usd"] = (sum_["cost_usd"] or 0.0) + row["cost_usd"]
    return [sums[key] for key in sorted(sums)]


OPERATIONS = bind(
    Daemon,
    get("/v1/status", Daemon.status, "Get the daemon's activity and condition.", Free, early=True),
    get("/v1/problems", Daemon.problems, "List problems in files.", FileProblem, *PROBLEMS, page=True),
    get("/v1/config", Daemon.config, "Get the effective settings.", Free),
    get("/v1/usage", Daemon.usage, "Get the usage and its cost.", UsageRow, *USAGE, page=True),
    get("/v1/logs", Daemon.logs, "List the newest lines of the daemon's log.", LogLine, *LOGS, page=True),
    get(
        "/v1/events",
        Daemon.events,
        "All events.",
        None,
        *EVENTS,
        media="text/event-stream",
        problems=(404,),
        tie="query",
    ),
    post("/v1/pause", Daemon.pause, "Pause: no new step starts.", WhichRoute, Paused),
    post("/v1/resume", Daemon.resume, "Resume after a pause.", Resume, Paused, problems=(409,)),
)
