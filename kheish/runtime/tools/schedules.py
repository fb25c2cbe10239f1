"""Schedules and wakes of an agent: `schedule_create`, `schedule_list`, `schedule_update`, `schedule_cancel`,
`wake_after`, `wake_at`. All of them concern the agent's own session only, and schedules that the agent wrote.

A schedule is a file like a user's, so that a person can read, change and remove it. A wake is an entry of the session.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

import orjson
from pydantic import Field

from kheish import ids
from kheish.domain.definitions import KINDS, Definition
from kheish.domain.events import WakeCancelled, WakeSet
from kheish.domain.schedules import schedule as schedules, timing, wakes
from kheish.domain.schedules.definition import ScheduleFile, default_zone
from kheish.domain.schedules.wakes import Wake
from kheish.errors import KheishError
from kheish.ids import MOST
from kheish.runtime.tools.base import Arguments, Context, Effect, Replay, Result, Tool, ToolError
from kheish.runtime.tools.interact import derived

_KIND = "schedules"
_JSON = "application/json"
_LONGEST = 366 * 86_400


class Files(Protocol):
    """The writer of Definitions (`authoring.editor`)."""

    async def put(self, kind: str, id: str, raw: bytes, media: str, *, if_match: str | None, by: str) -> bool:
        """Create or replace a definition, and put it in force. Raises KheishError."""

    async def delete(self, kind: str, id: str, *, if_match: str | None, by: str) -> None:
        """Remove a definition. Raises KheishError."""


class _Input(Arguments):
    content: str = Field(min_length=1, description="The task of each run, as one text.")
    metadata: dict[str, Any] = Field(default_factory=dict, description="Data of your own.")
    route: str | None = Field(None, description="The route to a model; left out: the session's.")


class _Start(Arguments):
    session: str | None = Field(None, description="Your own session; may be left out.")
    input: _Input


class _Times(Arguments):
    title: str | None = Field(None, max_length=500, description="A name for people.")
    cron: str | None = Field(None, description="Five fields: minute hour day month weekday; or @hourly … @yearly.")
    every: str | None = Field(None, description="An interval: 15m, 2h; at least 5s.")
    at: str | None = Field(None, description="One time: 2026-12-01T09:00Z.")
    timezone: str | None = Field(None, description="The time zone of cron and at: Europe/Berlin.")
    overlap: Literal["skip", "queue_one", "parallel"] | None = Field(
        None, description="What happens while an earlier run is not done; left out: skip."
    )
    misfire: Literal["once", "skip"] | None = Field(None, description="Missed times: one is made up for, or none.")
    max_runs: int | None = Field(None, ge=1, le=MOST, description="After so many runs it is completed.")
    unattended: Literal["ask", "deny"] | None = Field(None, description="deny: no person is asked during the runs.")
    paused: bool | None = Field(None, description="Whether times are skipped for now.")


class ScheduleCreate(_Times):
    id: str = Field(min_length=1, max_length=128, description="A name: a-z, 0-9, '.', '_', '-'.")
    start: _Start


class ScheduleUpdate(_Times):
    id: str = Field(min_length=1, max_length=128, description="The schedule's name.")
    start: _Start | None = Field(None, description="Another task; left out: it stays.")


class ScheduleCancel(Arguments):
    id: str = Field(min_length=1, max_length=128, description="The name of a schedule, or the id of a wake.")


class ScheduleList(Arguments):
    pass


class WakeAfter(Arguments):
    after: str = Field(description="A duration from now: 90s, 15m, 2h.")
    note: str = Field(min_length=1, max_length=8000, description="What you will have to do then; you get this text.")


class WakeAt(Arguments):
    at: str = Field(description="A time: 2026-12-01T09:00Z; without Z or an offset, in the daemon's time zone.")
    note: str = Field(min_length=1, max_length=8000, description="What you will have to do then; you get this text.")


def make(files: Callable[[], Files | None]) -> tuple[Tool, ...]:
    """Return the tools. `files` returns the writer of Definitions; without one, no schedule can be written."""

    def writer() -> Files:
        found = files()
        if found is None:
            raise ToolError("Schedules cannot be written here.")
        return found

    async def create(arguments: ScheduleCreate, context: Context) -> Result:
        data = _data(arguments, context)
        existing = context.state.definitions.by_kind[_KIND].get(arguments.id)
        if existing is not None and not _is_same(existing, data):
            raise ToolError(f"There is a schedule {arguments.id!r} already; choose another name, or update yours.")
        if existing is None:
            _check_room(context)
        return await _store(writer(), arguments.id, data, context)

    async def update(arguments: ScheduleUpdate, context: Context) -> Result:
        one = await _own(arguments.id, context)
        given = _data(arguments, context)
        kept = dict(one.value.model_dump(mode="json", exclude_unset=True))
        if given.keys() & {"cron", "every", "at"}:
            kept = {name: value for name, value in kept.items() if name not in ("cron", "every", "at")}
        return await _store(writer(), arguments.id, {**kept, **given}, context)

    async def cancel(arguments: ScheduleCancel, context: Context) -> Result:
        wake = context.state.table(Wake, context.session_id).get(arguments.id)
        if wake is not None and wake.status == "pending":
            draft = WakeCancelled(wake_id=wake.wake_id).on(context.session_id, context.run_id, by=context.agent_id)
            return Result(content=f"The wake at {wake.at} is cancelled.", drafts=(draft,))
        if arguments.id not in context.state.definitions.by_kind[_KIND]:
            known = ", ".join(_names(context)) or "none"
            return Result(content=f"There is no schedule and no pending wake {arguments.id!r}. Yours: {known}.")
        await _own(arguments.id, context)
        try:
            await writer().delete(_KIND, arguments.id, if_match=None, by=_by(context))
        except KheishError as error:
            raise ToolError(error.detail) from error
        return Result(content=f"The schedule {arguments.id} is cancelled: its file is removed.")

    return (
        _tool("schedule_create", _CREATE, ScheduleCreate, create),
        _tool("schedule_update", _UPDATE, ScheduleUpdate, update),
        _tool("schedule_cancel", _CANCEL, ScheduleCancel, cancel),
        _tool("schedule_list", _LIST, ScheduleList, _list),
        _tool("wake_after", _AFTER, WakeAfter, _wake_after),
        _tool("wake_at", _AT, WakeAt, _wake_at),
    )


_CREATE = (
    "Have a task of this session run at times to come: by cron, at an interval, or once. It is stored as a file, and "
    "continues after this run. For a single reminder in this session, wake_after and wake_at are simpler."
)
_UPDATE = "Change a schedule of this session. Fields that you leave out stay; another cadence begins now."
_CANCEL = "End a schedule of this session, or a wake that has not fired yet."
_LIST = "List the schedules and the pending wakes of this session, with their next times."
_AFTER = "Get a new turn of this session after some time, with your note. Use it instead of waiting in a command."
_AT = "Get a new turn of this session at a time, with your note."


def _tool(name: str, about: str, arguments: type[Arguments], run: Any) -> Tool:
    effect, replay = Effect.COORDINATION, Replay.SAFE
    return Tool(name=name, description=about, arguments=arguments, effect=effect, replay=replay, run=run)


# --- schedules --------------------------------------------------------------------------------------------------------


def _data(arguments: _Times, context: Context) -> dict[str, Any]:
    """Return the fields of the file that were given. Raises ToolError for another session than the agent's own."""
    data = arguments.model_dump(mode="json", exclude_none=True, exclude={"id"})
    start = data.get("start")
    if start is not None:
        if start.get("session", context.session_id) != context.session_id:
            raise ToolError(f"Your schedules run in your own session {context.session_id!r}; leave session out.")
        data["start"] = {"session": context.session_id, "input": {k: v for k, v in start["input"].items() if v}}
    return data


async def _store(files: Files, id: str, data: Mapping[str, Any], context: Context) -> Result:
    try:
        await files.put(_KIND, id, orjson.dumps(data), _JSON, if_match=None, by=_by(context))
    except KheishError as error:
        faults = "".join(f"\n- {fault.path}: {fault.message}" for fault in error.errors)
        raise ToolError(f"The schedule is not stored: {error.detail}{faults}") from error
    file: ScheduleFile = context.state.definitions.get(_KIND, id).value
    first = timing.after(file.cadence, int(context.state.clock()), context.state.clock())
    when = "never, since that time is past" if first is None else timing.local(first, file.zone)
    return Result(
        content=f"The schedule {id} is stored ({KINDS[_KIND].path(id)}); it fires first at {when} ({file.zone}).",
        detail={"schedule_id": id, "next": timing.shown(first)},
    )


def _is_same(one: Definition, data: Mapping[str, Any]) -> bool:
    """Return whether a schedule is what a call would write: the call is repeated after a kill."""
    given: dict[str, Any] = one.value.model_dump(mode="json", exclude_unset=True)
    return given == data


async def _own(id: str, context: Context) -> Definition:
    """Return a schedule of the agent's own session that the agent wrote itself. Raises ToolError."""
    one = context.state.definitions.by_kind[_KIND].get(id)
    if one is None or one.value.start.session != context.session_id:
        known = ", ".join(_names(context)) or "none"
        raise ToolError(f"There is no schedule {id!r} of this session. Yours: {known}.")
    [doc] = await schedules.newest(context.state, [id])
    if doc is not None and doc["set_by"] != _by(context):
        raise ToolError(f"{id} was last changed by {doc['set_by']}, and not by you; ask a person to change it.")
    return one


def _names(context: Context) -> list[str]:
    known = context.state.definitions.by_kind[_KIND]
    return [id for id, one in known.items() if one.value.start.session == context.session_id]


def _check_room(context: Context) -> None:
    if len(_names(context)) + len(wakes.pending(context.state, context.session_id)) >= wakes.MOST:
        raise ToolError(f"This session has {wakes.MOST} schedules and wakes already; cancel some first.")


def _by(context: Context) -> str:
    return f"agent:{context.agent_id}"


async def _list(arguments: ScheduleList, context: Context) -> Result:
    state, names = context.state, _names(context)
    docs = await schedules.newest(state, names)
    lines = []
    for name, doc in zip(names, docs, strict=True):
        file: ScheduleFile = state.definitions.get(_KIND, name).value
        shown = "not applied yet" if doc is None else f"{doc['state']}, next {doc['next'] or 'never'}"
        lines.append(f"{name}: {file.cadence.text} ({file.zone}); {shown}")
    lines += [f"{wake.wake_id}: at {wake.at}: {wake.note[:200]}" for wake in wakes.pending(state, context.session_id)]
    return Result(content="\n".join(lines) or "This session has no schedules and no pending wakes.")


# --- wakes ------------------------------------------------------------------------------------------------------------


async def _wake_after(arguments: WakeAfter, context: Context) -> Result:
    try:
        seconds = ids.duration(arguments.after)
    except ValueError as error:
        raise ToolError(f"{error}.") from error
    return _wake(context.state.clock() + seconds, arguments.note, context)


async def _wake_at(arguments: WakeAt, context: Context) -> Result:
    try:
        return _wake(timing.instant(arguments.at, default_zone()), arguments.note, context)
    except ValueError as error:
        raise ToolError(f"{error}.") from error


def _wake(time: float, note: str, context: Context) -> Result:
    now = context.state.clock()
    if not now < time <= now + _LONGEST:
        raise ToolError(f"A wake is in the future, within a year; it is {ids.stamp(now)} now.")
    _check_room(context)
    wake = WakeSet(wake_id=derived("wake", context.key), at=ids.stamp(time), note=note)
    return Result(
        content=f"You get a new turn with your note at {wake.at} ({wake.wake_id}). End this turn if nothing is left.",
        detail={"wake_id": wake.wake_id, "at": wake.at},
        drafts=(wake.on(context.session_id, context.run_id, by=context.agent_id),),
    )
