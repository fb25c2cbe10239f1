"""Schedules by HTTP: their files with their state, the next times, the fires, trigger, pause and resume."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

from falcon.asgi import Request, Response

from kheish import ids
from kheish.api import definitions, views
from kheish.api.definitions import Definitions, DefinitionView
from kheish.api.http import media, paging
from kheish.api.http.answer import Answer
from kheish.api.http.bodies import Because, Body, Key
from kheish.api.http.operation import bind, get, post
from kheish.api.http.paging import Param
from kheish.api.services import Services
from kheish.domain import keys
from kheish.domain.definitions import KINDS, Definition
from kheish.domain.events import frozen
from kheish.domain.schedules import firing, schedule as schedules, timing
from kheish.domain.schedules.definition import ScheduleFile
from kheish.domain.schedules.fire import Fire, FireState, FireView
from kheish.domain.schedules.schedule import SCHEDULES, Schedule
from kheish.domain.shown import View
from kheish.errors import NotFound
from kheish.state import pins
from kheish.store import parsing
from kheish.store.edits import definitions as reading

KIND = KINDS["schedules"]
NEXT, MOST_NEXT = 5, 100
COUNT = (Param(name="count", kind="count", least=1, most=MOST_NEXT, about=f"The number of times ({NEXT})."),)
FIRES = (*paging.PAGE, paging.choices("state", FireState), paging.text("run_id"), paging.text("flow_id"))


@frozen
class InFlight(View):
    """A fire that has not ended."""

    fire_id: str
    planned: str
    session_id: str | None
    run_id: str | None
    """Its run; null while it waits for an earlier fire, or for a retry."""
    flow_id: str | None


@frozen
class FireCounts(View):
    """The number of fires by state."""

    claimed: int
    skipped: int
    settled: int
    failed: int


@frozen
class ScheduleDetailsView(DefinitionView):
    """A schedule: the fields of its file, and the following."""

    of_now = True

    state: Literal["active", "paused", "completed"]
    timezone: str
    """The time zone in effect."""
    next: str | None
    """The next occurrence, also while it is paused; null if there is no more."""
    last: str | None
    """The planned time of the newest fire that was claimed."""
    in_flight: list[InFlight]
    counts: FireCounts
    pause_reason: str | None
    """The reason of a pause."""


class NextTime(Answer):
    """A time to come."""

    planned: str
    local: str
    """The same in the schedule's time zone."""


class NextTimes(Answer):
    """The times to come, also of a paused schedule."""

    items: list[NextTime]
    timezone: str
    next_cursor: str | None


class TriggerSchedule(Body):
    """A request to fire now."""

    idempotency_key: Key | None = None
    """The same key fires once. It may also be sent as the header Idempotency-Key."""


class ScheduleFiles(Definitions):
    """The files, each with the state of its schedule."""

    added = ("state", "timezone", "next", "last", "in_flight", "counts", "pause_reason")

    async def stored(self, id: str, by: str) -> None:
        found = self._state.definitions.get(KIND.name, id)
        async with pins.owner(self._state, SCHEDULES, id):
            firing.set_file(self._state, id, found.value, found.digest, now=self._state.clock(), by=by)

    async def _foreseen(self, raw: bytes, kind: str) -> dict[str, Any]:
        return {"next": await parsing.run(_foresee, raw, kind, self._state.clock())}

    async def _added(self, found: Sequence[Definition]) -> list[dict[str, Any]]:
        known = await schedules.newest(self._state, [one.id for one in found])
        return [_state(one.value, doc) for one, doc in zip(found, known, strict=True)]


def _foresee(raw: bytes, kind: str, now: float) -> list[dict[str, str]]:
    """Return the next times of a schedule that is not saved yet. Parses untrusted text: call it in a thread."""
    file = (reading.parse_json if kind == media.JSON else reading.parse)(ScheduleFile, raw, KIND.path("new")).value
    if file is None:
        return []
    times = timing.upcoming(file.cadence, int(now), timing.after(file.cadence, int(now), now), NEXT)
    return [{"planned": ids.stamp(one), "local": timing.local(one, file.zone)} for one in times]


def _state(file: ScheduleFile, doc: dict[str, Any] | None) -> dict[str, Any]:
    if doc is None or doc["is_removed"]:  # the file is a moment old
        doc = {"state": "paused" if file.paused else "active", "next": None, "last": None, "in_flight": [],
               "counts": {"claimed": 0, "skipped": 0, "settled": 0, "failed": 0}, "pause_reason": None}  # fmt: skip
    return {**{name: doc[name] for name in ScheduleFiles.added if name != "timezone"}, "timezone": file.zone}


class Schedules:
    """The resource of the paths below `/v1/schedules/{id}` that other Definitions do not have."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._state = services.state

    async def schedule_next(self, req: Request, resp: Response, id: str) -> None:
        """Answer with the times to come, oldest first."""
        file = self._file(id)
        count = req.context.query.get("count", NEXT)
        async with pins.owner(self._state, SCHEDULES, id):
            schedule = firing.find(self._state, id)
            first, anchor = None, int(self._state.clock())
            if schedule is not None and not schedule.is_removed:
                first = timing.read(schedule.next) if schedule.next is not None else None
                anchor = timing.read(schedule.anchor)
                if file.max_runs is not None:
                    count = min(count, max(file.max_runs - schedule.runs, 0))
        times = await asyncio.to_thread(timing.upcoming, file.cadence, anchor, first, count)
        items = [{"planned": ids.stamp(one), "local": timing.local(one, file.zone)} for one in times]
        media.send(resp, {"items": items, "timezone": file.zone, "next_cursor": None})

    async def schedule_fires(self, req: Request, resp: Response, id: str) -> None:
        """Answer with a page of fires, newest first; also those of a schedule that was removed."""
        ids.check_slug(id, "id")
        given = {**req.context.query, "session": f"{SCHEDULES}/{id}", "status": req.context.query.get("state", ())}
        page = await views.listed(self._state, Fire, given)
        if not page["items"] and id not in self._state.definitions.by_kind[KIND.name]:
            await views.document(self._state, Schedule, id)  # raises NotFound
        media.send(resp, page)

    async def trigger_schedule(self, req: Request, resp: Response, id: str) -> None:
        """Fire now (202), whatever the time, a pause, or a fire in flight."""
        body = await media.read(req, TriggerSchedule)
        self._file(id)
        request = media.idempotency(req, body, f"schedules/{id}/trigger")
        key = await keys.known(self._state, request)
        if key is not None and key.result is not None:
            fire = await self._fire_of(key.result)
        else:
            fire_id = await self._services.schedules.trigger(id, by=req.context.principal, key=key)
            fire = await views.document(self._state, Fire, fire_id)
        await self._state.durable()
        resp.set_header("Location", f"/v1/schedules/{id}/fires")
        media.send(resp, fire, status=202, n=fire["n"])

    async def _fire_of(self, started: str) -> dict[str, Any]:
        """Return the fire that started a run or a Flow."""
        await self._state.caught_up()
        for name in ("run_id", "flow_id"):
            page = await asyncio.to_thread(self._state.index.things, "fire", limit=1, fields={name: started})
            if page.items:
                return page.items[0]
        raise NotFound(f"There is no fire of {started!r}.")

    async def pause_schedule(self, req: Request, resp: Response, id: str) -> None:
        """Skip occurrences from now on; a paused schedule remains unchanged."""
        body = await media.read(req, Because)
        await self._change(req, resp, id, is_paused=True, reason=body.reason)

    async def resume_schedule(self, req: Request, resp: Response, id: str) -> None:
        """End a pause; what was skipped meanwhile is not made up for."""
        await media.read(req, Body)
        await self._change(req, resp, id, is_paused=False, reason=None)

    async def _change(self, req: Request, resp: Response, id: str, *, is_paused: bool, reason: str | None) -> None:
        found, by = self._state.definitions.get(KIND.name, ids.check_slug(id, "id")), req.context.principal
        async with pins.owner(self._state, SCHEDULES, id):
            firing.set_file(self._state, id, found.value, found.digest, now=self._state.clock(), by=by)
            if is_paused:
                firing.pause(self._state, id, by=by, reason=reason)
            else:
                firing.resume(self._state, id, by=by)
        n = self._state.n
        await self._state.durable()
        await ScheduleFiles(self._services, KIND).get_definition(req, resp, id)
        resp.set_header(media.EVENT, str(n))

    def _file(self, id: str) -> ScheduleFile:
        """Return the file in force. Raises NotFound, Invalid."""
        file: ScheduleFile = self._state.definitions.get(KIND.name, ids.check_slug(id, "id")).value
        return file


ONE = "/v1/schedules/{id}"
OPERATIONS = (
    *definitions.operations(KIND, ScheduleFiles, ScheduleDetailsView),
    *bind(
        Schedules,
        get(
            f"{ONE}/next",
            Schedules.schedule_next,
            "List the next times, also of a paused schedule.",
            NextTimes,
            *COUNT,
            problems=(404,),
        ),
        get(
            f"{ONE}/fires",
            Schedules.schedule_fires,
            "List the fires with their outcomes, newest first.",
            FireView,
            *FIRES,
            page=True,
            problems=(404,),
        ),
        post(
            f"{ONE}/trigger",
            Schedules.trigger_schedule,
            "Fire now, whatever the time, a pause, or a fire in flight.",
            TriggerSchedule,
            FireView,
            good=(202,),
            problems=(404, 409),
            key=True,
        ),
        post(
            f"{ONE}/pause",
            Schedules.pause_schedule,
            "Skip occurrences from now on.",
            Because,
            ScheduleDetailsView,
            problems=(404, 409),
        ),
        post(
            f"{ONE}/resume",
            Schedules.resume_schedule,
            "End a pause.",
            Body,
            ScheduleDetailsView,
            problems=(404, 409),
        ),
    ),
)
