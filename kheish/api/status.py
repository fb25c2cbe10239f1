"""The daemon itself by HTTP: status, problems, usage, logs, events, pause and resume."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Literal

from falcon.asgi import Request, Response

from kheish import ids
from kheish.api import usage as summing
from kheish.api.flows.events import follow
from kheish.api.http import media, paging, sse
from kheish.api.http.answer import Answer, Free
from kheish.api.http.bodies import Body, Name
from kheish.api.http.operation import bind, get, post
from kheish.api.http.paging import Given, Param
from kheish.api.projects import events as project_events
from kheish.api.services import Services
from kheish.api.skills import problems as skill_problems
from kheish.domain import events
from kheish.domain.channels.channel import CHANNELS
from kheish.errors import Fault, Invalid

PROBLEMS = (
    *paging.PAGE,
    paging.choices("severity", ("error", "warning")),
    paging.text("path"),
    paging.text("code"),
    Param(name="session", about="Also the problems of skills in the workspace of this session."),
)
GROUPS = ("session", "route", "project", "day", "playbook", "agent", "root")
USAGE = (
    *paging.PAGE,
    *paging.SESSION,
    paging.text("route"),
    paging.text("project"),
    paging.text("playbook"),
    paging.text("day", "Only this UTC day, such as 2026-11-22."),
    Param(name="by", kind="choice", choices=GROUPS, many=True, about="Group by these fields."),
)
LEVELS = ("debug", "info", "warning", "error", "critical")
LOGS = (*paging.PAGE, Param(name="level", kind="choice", choices=LEVELS, about="The lowest level."))
EVENTS = (
    *sse.PARAMS,
    *paging.SESSION,
    Param(name="run", about="Only events of this run."),
    Param(name="flow", about="Only events of this Flow and its runs."),
    Param(name="project", about="Only events of this project, of its tasks, and of the runs that work for it."),
    Param(name="channel", about="Only events of this channel: messages, reactions, turns."),
)


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


class UsageAmount(Answer):
    """An amount of usage."""

    model_calls: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost_usd: float | None
    estimated: bool


class UsageRow(Answer):
    """Usage and cost. With `by`, the fields that are summed over are null."""

    session_id: str | None
    route: str | None
    day: str | None
    agent_id: str | None
    """The agent, with `by=agent`: the counts are those of its own runs."""
    root: str | None
    """The agent at the top of the tree, with `by=agent` and `by=root`; with the latter alone, the counts are those of
    the whole tree."""
    own: UsageAmount | None
    """The usage of the agent itself; null without `by=agent` or `by=root`."""
    subtree: UsageAmount | None
    """The usage of the agent and all agents below it."""
    model_calls: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost_usd: float | None
    estimated: bool
    project: str | None
    """The project that the runs worked for; null for none."""
    playbook: str | None = None
    """The Playbook of the Flows that the runs belonged to; null for none."""


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
        every = [*self._services.problems(), *await skill_problems.of(self._services, given.get("session"))]
        rows = [one for one in every if _matches(one, given)]
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

    async def events(self, req: Request, resp: Response) -> None:
        """Stream all events, or with `?flow=`, `?channel=` or `?project=` those of a Flow, a channel or a project."""
        if (channel_id := req.context.query.get("channel")) is not None:
            return self._channel_events(req, resp, channel_id)
        if flow_id := req.context.query.get("flow"):
            return await follow(self._services, self._feed, req, resp, flow_id)
        if project := req.context.query.get("project"):
            return project_events.follow(self._services, self._feed, req, resp, project)
        return sse.answer(req, resp, self._services, self._feed)

    def _channel_events(self, req: Request, resp: Response, channel_id: str) -> None:
        others = [name for name in ("session", "session_id", "run", "flow") if name in req.context.query]
        if others:
            raise Invalid(f"Filter by channel, or by {others[0]}: no event belongs to both.")
        stream = f"{CHANNELS}/{ids.check_slug(channel_id, 'channel')}"
        sse.answer(req, resp, self._services, self._feed, stream=stream)

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
        route, known = given.route, self._state.definitions.by_kind["routes"]
        if route is not None and route not in known and route not in self._state.paused:
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
        limit, cursor = given.get("limit", paging.LIMIT), given.get("cursor")
        kept = summing.Filter(
            session=paging.session_of(given),
            route=given.get("route"),
            project=given.get("project"),
            day=given.get("day"),
            playbook=given.get("playbook"),
        )
        if "by" not in given:
            rows, next_cursor = await asyncio.to_thread(
                summing.spends_page, self._state.index, kept, limit=limit, cursor=cursor
            )
            return media.send(resp, media.page(rows, next_cursor))
        rows = await asyncio.to_thread(summing.all_sums, self._state.index, given["by"], kept)
        start = paging.number_of("u", cursor) or 0
        end = start + limit
        next_cursor = paging.cursor_of("u", end) if end < len(rows) else None
        return media.send(resp, media.page(rows[start:end], next_cursor))


def _matches(problem: Mapping[str, Any], given: Given) -> bool:
    return (
        problem["severity"] in given.get("severity", (problem["severity"],))
        and problem["path"] == given.get("path", problem["path"])
        and problem["code"] == given.get("code", problem["code"])
    )


OPERATIONS = bind(
    Daemon,
    get("/v1/status", Daemon.status, "Get the daemon's activity and condition.", Free, early=True),
    get("/v1/problems", Daemon.problems, "List problems in files.", FileProblem, *PROBLEMS, page=True),
    get("/v1/usage", Daemon.usage, "Get the usage and its cost.", UsageRow, *USAGE, page=True, tie="query"),
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
