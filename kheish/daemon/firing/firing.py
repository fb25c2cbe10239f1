"""Firing of schedules: the claim of what is due, and the start of its run or Flow, in one group where possible.

The reactor calls it for occurrences, and the API for triggers. Each method takes the owner of the schedule into
memory, looks at the world, and decides at the end, without an await between the last look and the entries.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kheish import ids
from kheish.auth.tokens import Principal
from kheish.authoring.playbooks import source as sources
from kheish.authoring.playbooks.source import Read
from kheish.daemon.channels import notices
from kheish.daemon.firing import runs as runs_of
from kheish.daemon.workspaces import Workspaces
from kheish.domain import events, intake, keys, runs
from kheish.domain.definitions import Definition
from kheish.domain.events import Draft, Item
from kheish.domain.flows import inputs as flow_inputs, start as flow_start
from kheish.domain.flows.flow import Flow
from kheish.domain.flows.start import Start
from kheish.domain.keys import Key
from kheish.domain.projects.claims import Started
from kheish.domain.runs import Run
from kheish.domain.schedules import firing
from kheish.domain.schedules.definition import FlowStart, NewSession, NewTask, ObservationsStart, ScheduleFile
from kheish.domain.schedules.fire import Fire, fire_id
from kheish.domain.schedules.firing import Obstacle
from kheish.domain.schedules.schedule import SCHEDULES, OpenFire, Schedule
from kheish.domain.schedules.wakes import Wake
from kheish.domain.sessions import session as sessions
from kheish.domain.sessions.session import Session
from kheish.errors import (
    InsufficientStorage,
    KheishError,
    NoActiveVersion,
    NotFound,
    RouteNotReady,
    SessionNotIdle,
    StoreFailed,
    Unavailable,
    WorkspaceSlow,
)
from kheish.runtime import judging
from kheish.runtime.observations import selecting
from kheish.runtime.observations.service import Observations
from kheish.runtime.projects import work
from kheish.state import pins
from kheish.state.state import State

log = logging.getLogger(__name__)

#: errors that may pass: the start is retried
PASSING = (InsufficientStorage, NoActiveVersion, RouteNotReady, SessionNotIdle, Unavailable, WorkspaceSlow)
_FILE = Principal(name="schedules", role="admin")

#: returns the entries that precede the start, or None if it is no longer wanted; called at the last moment
Beside = Callable[[], Sequence[Draft] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """A start that is under way: of which schedule, for which time, and on whose behalf."""

    file: ScheduleFile
    schedule_id: str
    planned: str
    beside: Beside
    key: Key | None = None


class Firing:
    """The operations of the reactor and the API on schedules. `read` reads a Playbook's version."""

    def __init__(self, state: State, workspaces: Workspaces, read: Read, observations: Observations) -> None:
        self._state = state
        self._observations = observations
        self._workspaces = workspaces
        self._read = read

    def definition(self, schedule_id: str) -> Definition | None:
        """Return the file in force; None without one."""
        return self._state.definitions.by_kind["schedules"].get(schedule_id)

    async def apply_file(self, schedule_id: str, *, by: str = "person") -> Schedule | None:
        """Apply the file in force to the schedule, or its removal; return the schedule if it exists."""
        async with pins.owner(self._state, SCHEDULES, schedule_id):
            found = self.definition(schedule_id)
            if found is None:
                firing.remove(self._state, schedule_id, by=by)
                return None
            return firing.set_file(self._state, schedule_id, found.value, found.digest, now=self._state.clock(), by=by)

    # --- occurrences --------------------------------------------------------------------------------------------------

    async def occur(self, schedule_id: str, *, starts: bool = True) -> Schedule | None:
        """Act on what is due now: claim and start it, queue it, or skip it. Returns the schedule as it is then.

        Without `starts`, a fire with none before it is claimed only, and `follow` starts it.
        """
        state = self._state
        async with pins.owner(state, SCHEDULES, schedule_id):
            schedule = await self.apply_file(schedule_id)
            found = self.definition(schedule_id)
            if schedule is None or found is None:
                return None
            file: ScheduleFile = found.value
            due = await self._due(file, schedule)
            busy = await self._busy(schedule) if due is not None else None
            now = firing.get(state, schedule_id)
            if due is None or (now.next, now.digest) != (schedule.next, schedule.digest):
                return now  # nothing is due, or it was moved meanwhile: it is looked at again
            schedule = now
            why = firing.obstacle(file, schedule, due, busy)
            if why is not None:
                state.append(firing.skipped(schedule_id, due, why))
            elif firing.is_queued(file, schedule) or not (starts or schedule.in_flight):
                state.append(*firing.claimed(file, schedule, due))
            else:
                await self._begin_claimed(file, schedule, due)
            return firing.find(state, schedule_id)

    async def _due(self, file: ScheduleFile, schedule: Schedule) -> firing.Due | None:
        """Return what is due. A date of cron may be rare, and is searched for in a thread."""
        now = self._state.clock()
        if file.cadence.cron is None:
            return firing.due(file, schedule, now)
        return await asyncio.to_thread(firing.due, file, schedule, now)

    async def _begin_claimed(self, file: ScheduleFile, before: Schedule, due: firing.Due) -> None:
        id = before.schedule_id

        def beside() -> Sequence[Draft] | None:
            schedule = firing.find(self._state, id)
            if schedule is None or (schedule.next, schedule.is_paused) != (before.next, before.is_paused):
                return None
            return firing.claimed(file, schedule, due)

        await self._begin(Begin(file=file, schedule_id=id, planned=ids.stamp(due.planned), beside=beside))

    async def _busy(self, schedule: Schedule) -> Obstacle | None:
        """Return what an occurrence would be skipped for: the oldest fire in flight."""
        if not schedule.in_flight:
            return None
        one = next((one for one in schedule.in_flight if one.is_started), schedule.in_flight[0])
        if not one.is_started:
            return Obstacle(reason=f"overlap: the fire of {one.planned} has not started yet")
        doc = await self._newest(one)
        what = f"the previous run {one.run_id}" if one.run_id else f"the previous Flow {one.flow_id}"
        status = str(doc["status"]) if doc is not None else "unknown"
        asked = [*doc.get("pending_approvals", ()), *doc.get("pending_questions", ())] if doc is not None else []
        if status in runs.WAITING or status in ("waiting", "blocked"):
            waits = f"waits for {', '.join(asked)}" if asked else "waits for a person"
            return Obstacle(reason=f"overlap: {what} {waits}", behind=one.run_id or one.flow_id)
        return Obstacle(reason=f"overlap: {what} is {status}")

    async def _newest(self, one: OpenFire) -> dict[str, Any] | None:
        """Return the document of a fire's run or Flow, as it is now."""
        state = self._state
        cls: type[Any] = Run if one.run_id else Flow
        id = one.run_id or one.flow_id or ""
        value = state.find(cls, id)
        if value is not None:
            return state.document(state.nouns.by_class[cls], value)
        await state.caught_up()
        return await asyncio.to_thread(state.index.thing, state.nouns.by_class[cls].name, id)

    # --- claimed fires, triggers and ends -----------------------------------------------------------------------------

    async def follow(self, schedule_id: str) -> None:
        """Start the claimed fire whose turn it is; none while another is in flight."""
        async with pins.owner(self._state, SCHEDULES, schedule_id):
            schedule = firing.find(self._state, schedule_id)
            planned = firing.may_follow(schedule) if schedule is not None else None
            if planned is not None:
                await self._start(schedule_id, planned)

    async def retry(self, schedule_id: str, planned: str) -> None:
        """Start a claimed fire again, after an attempt that failed."""
        async with pins.owner(self._state, SCHEDULES, schedule_id):
            await self._start(schedule_id, planned)

    async def _start(self, schedule_id: str, planned: str, key: Key | None = None) -> None:
        found = self.definition(schedule_id)
        if found is None:
            return

        def beside() -> Sequence[Draft] | None:
            schedule = firing.find(self._state, schedule_id)
            one = firing.in_flight(schedule, planned) if schedule is not None else None
            return [] if one is not None and not one.is_started else None

        if beside() is not None:
            await self._begin(Begin(file=found.value, schedule_id=schedule_id, planned=planned, beside=beside, key=key))

    async def trigger(self, schedule_id: str, *, by: str, key: Key | None = None) -> str:
        """Fire now, whatever the time, a pause or a fire in flight; return the id of the fire. Raises NotFound."""
        state = self._state
        async with pins.owner(state, SCHEDULES, schedule_id):
            schedule, found = await self.apply_file(schedule_id), self.definition(schedule_id)
            if schedule is None or found is None:
                raise NotFound(f"There is no schedule {schedule_id!r}.")
            if key is not None and (earlier := await notices.find_fire(state, notices.message_id(schedule_id, key))):
                return earlier
            now = state.clock()
            planned = ids.stamp(now if round(now * 1e6) % 1_000_000 else now + 1e-6)

            def beside() -> Sequence[Draft] | None:
                return firing.triggered(firing.get(state, schedule_id), planned, by=by)

            await self._begin(Begin(file=found.value, schedule_id=schedule_id, planned=planned, beside=beside, key=key))
        return fire_id(schedule_id, planned)

    async def settle(self, schedule_id: str, planned: str, end: str, reason: str | None) -> Schedule | None:
        """Record the end of what a fire started; a recorded end stays as it is."""
        state = self._state
        async with pins.owner(state, SCHEDULES, schedule_id):
            schedule, found = firing.find(state, schedule_id), self.definition(schedule_id)
            if schedule is None or firing.in_flight(schedule, planned) is None:
                return schedule
            file = found.value if found is not None else None
            state.append(*firing.settled(file, schedule, planned, end, reason))  # type: ignore[arg-type]
            return firing.find(state, schedule_id)

    # --- starting -----------------------------------------------------------------------------------------------------

    async def _begin(self, given: Begin) -> None:
        """Start what is due with its claim. A failure is journaled with the claim, so that it is not lost."""
        try:
            start, observed = given.file.start, given.file.start.observations
            parts, observation_ids = await self._observed(observed) if observed is not None else ((), [])
            if observed is not None and observed.to.flow is not None:
                await self._begin_flow(given, observed.to.flow, tuple(observation_ids))
            elif start.flow is not None:
                await self._begin_flow(given, start.flow)
            elif given.file.start.project is not None:
                await self._begin_task(given, given.file.start.project)
            elif given.file.start.channel is not None:
                message_id = notices.message_id(given.schedule_id, given.key or given.planned)
                await notices.post(self._state, given.file, given.schedule_id, given.planned, message_id, given.beside)
            else:
                await self._begin_run(given, runs_of.target(start), parts)
        except StoreFailed:
            raise
        except KheishError as error:
            self._fail(given, error)
        except OSError as error:
            self._fail(given, Unavailable(f"{error.filename}: {error.strerror}."))

    def _fail(self, given: Begin, error: KheishError) -> None:
        state, id, planned = self._state, given.schedule_id, given.planned
        before = given.beside()
        if before is None:
            return
        schedule, fire = firing.get(state, id), state.find(Fire, fire_id(id, planned))
        attempt = (fire.attempt if fire is not None else 0) + 1
        if isinstance(error, PASSING) and attempt < firing.ATTEMPTS:
            log.warning("schedule %s: the start is retried: %s", id, error.detail)
            state.append(*before, firing.delayed(id, planned, attempt, state.clock(), error.detail))
            return
        log.warning("schedule %s: the start failed: %s", id, error.detail)
        state.append(*before, *firing.settled(given.file, schedule, planned, "failed", error.detail))

    async def _observed(self, start: ObservationsStart) -> tuple[tuple[Item, ...], list[str]]:
        """Return the observations of a start, as parts of a request, and their ids. Raises NoObservations, NotFound."""
        empty = start.fail_when_empty
        return await selecting.items(self._observations.keeper, start.select, fail_when_empty=empty)

    async def _begin_run(self, given: Begin, start: runs_of.Target, parts: tuple[Item, ...]) -> None:
        state = self._state
        session_id = start.session or firing.session_of(given.schedule_id, given.planned)
        async with pins.session_or_new(state, session_id):
            place = runs_of.Place(state, self._workspaces, given.schedule_id, given.file)
            made, session = await runs_of.session(place, session_id, start.new_session or NewSession())
            wanted = runs_of.wanted(place, given.planned, session_id, start.task, parts)
            schemas = intake.schemas_key(session, wanted)
            if schemas is not None:
                await judging.run(intake.check_schemas, session.settings["input_contract"], wanted)
            key = await keys.known(state, keys.sent(given.key))
            before = given.beside()
            if before is None or keys.earlier(state, key) is not None:
                return
            if made is None or state.find(Session, session_id) is not None:  # it was created meanwhile
                made, session = None, sessions.accepting(state, session_id)
            sessions.check_undeleted(state, session_id)
            run_id, submitted = intake.draft(state, session, replace(wanted, key=key, checked=schemas))
            started = firing.dispatched(given.schedule_id, given.planned, session_id, run_id=run_id)
            run = submitted.on(session_id, run_id, by=firing.actor(given.schedule_id))
            state.append(*before, *([made] if made is not None else []), started, run)

    async def _begin_flow(self, given: Begin, wanted: FlowStart, observation_ids: tuple[str, ...] = ()) -> None:
        state, flow_id = self._state, ids.new("flow")
        playbook, _, version = wanted.playbook.partition("@")
        source = await sources.source(state, self._read, playbook, version or wanted.version, flow_id)
        inputs = await judging.run(flow_inputs.complete, source.manifest, wanted.inputs)
        session_id = wanted.session or flow_id
        async with pins.session_or_new(state, session_id):
            is_new = state.find(Session, session_id) is None
            workspace = await self._workspaces.default(session_id) if is_new else None
            key = await keys.known(state, keys.sent(given.key))
            start = Start(
                flow_id=flow_id,
                source=source,
                inputs=inputs,
                by=firing.actor(given.schedule_id),
                session_id=session_id,
                workspace=workspace,
                reply_targets=given.file.targets,
                key=key,
                unattended=given.file.unattended,
                observation_ids=observation_ids,
            )
            before = given.beside()
            if before is None or keys.earlier(state, key) is not None:
                return
            started = firing.dispatched(given.schedule_id, given.planned, session_id, flow_id=flow_id)
            flow_start.start(state, start, beside=[*before, started])

    async def _begin_task(self, given: Begin, project: str) -> None:
        """Start a task of a project, or create one and start it."""
        state, wanted, id, planned = self._state, given.file.start.task, given.schedule_id, given.planned
        key = await keys.known(state, keys.sent(given.key))

        def beside(started: Started) -> Sequence[Draft] | None:
            before = given.beside()
            if before is None or keys.earlier(state, key) is not None:
                return None
            return [*before, firing.dispatched(id, planned, started.session_id, run_id=started.run_id)]

        create = wanted.model_dump(exclude_none=True) if isinstance(wanted, NewTask) else None
        task_id = str(wanted) if create is None else firing.session_of(id, planned)
        more: dict[str, Any] = {"by": firing.actor(id), "beside": beside, "key": key, "is_repeated": True}
        await work.start(state, project, task_id, create=create, **more)

    # --- wakes --------------------------------------------------------------------------------------------------------

    async def wake(self, wake_id: str, session_id: str) -> None:
        """Submit the run of a wake, in one group with its end."""
        state = self._state
        async with state.using(session_id):
            wake = state.find(Wake, wake_id)
            if wake is None or wake.status != "pending":
                return
            run_id = ids.new("run")
            wanted = intake.Input(
                session_id=session_id,
                items=(Item(text=wake.note),),
                actor=firing.actor(wake_id),
                source="schedule",
                kind="scheduled_input",
                metadata={"scheduled_for": wake.at, "wake_id": wake_id},
                run_id=run_id,
                unattended="deny" if wake.unattended else "ask",
            )
            # An input contract is for callers; the note is the agent's own.
            wanted = replace(wanted, checked=intake.schemas_key(state.get(Session, session_id), wanted))
            fired = events.WakeFired(wake_id=wake_id, run_id=run_id).on(session_id)
            try:
                intake.submit(state, wanted, by=firing.actor(wake_id), beside=[fired])
            except (StoreFailed, *PASSING):
                raise
            except KheishError as error:
                state.append(events.WakeFired(wake_id=wake_id, reason=error.detail).on(session_id))
