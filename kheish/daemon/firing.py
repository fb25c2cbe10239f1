"""Firing of schedules: the claim of what is due, and the start of its run or Flow, in one group where possible.

The reactor calls it for occurrences, and the API for triggers. Each method takes the owner of the schedule into
memory, looks at the world, and decides at the end, without an await between the last look and the entries.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kheish import ids
from kheish.auth.tokens import Principal
from kheish.authoring.playbooks import source as sources
from kheish.authoring.playbooks.source import Read
from kheish.daemon.workspaces import Workspaces
from kheish.domain import events, intake, keys, personas, runs
from kheish.domain.definitions import Definition
from kheish.domain.events import Draft, Item
from kheish.domain.flows import inputs as flow_inputs
from kheish.domain.flows import start as flow_start
from kheish.domain.flows.flow import Flow
from kheish.domain.flows.start import Start
from kheish.domain.keys import Key
from kheish.domain.runs import Run
from kheish.domain.schedules import firing
from kheish.domain.schedules.definition import FlowStart, NewSession, ScheduleFile
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
from kheish.state import pins
from kheish.state.state import State
from kheish.store.files import blob_id

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

    def __init__(self, state: State, workspaces: Workspaces, read: Read) -> None:
        self._state = state
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

    async def occur(self, schedule_id: str) -> Schedule | None:
        """Act on what is due now: claim and start it, queue it, or skip it. Returns the schedule as it is then."""
        state = self._state
        async with pins.owner(state, SCHEDULES, schedule_id):
            schedule = await self.apply_file(schedule_id)
            found = self.definition(schedule_id)
            if schedule is None or found is None:
                return None
            file: ScheduleFile = found.value
            due = await asyncio.to_thread(firing.due, file, schedule, state.clock())
            busy = await self._busy(schedule) if due is not None else None
            now = firing.get(state, schedule_id)
            if due is None or (now.next, now.digest) != (schedule.next, schedule.digest):
                return now  # nothing is due, or it was moved meanwhile: it is looked at again
            schedule = now
            why = firing.obstacle(file, schedule, due, busy)
            if why is not None:
                state.append(firing.skipped(schedule_id, due, why))
            elif firing.is_queued(file, schedule):
                state.append(*firing.claimed(file, schedule, due))
            else:
                await self._begin_claimed(file, schedule, due)
            return firing.find(state, schedule_id)

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
        """Start a run or a Flow with its claim. A failure is journaled with the claim, so that it is not lost."""
        try:
            if given.file.start.flow is not None:
                await self._begin_flow(given, given.file.start.flow)
            else:
                await self._begin_run(given)
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

    async def _begin_run(self, given: Begin) -> None:
        state, start = self._state, given.file.start
        session_id = start.session or firing.session_of(given.schedule_id, given.planned)
        async with pins.session_or_new(state, session_id):
            made, session = await self._session(given, session_id, start.new_session or NewSession())
            wanted = self._input(given, session_id)
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

    def _input(self, given: Begin, session_id: str) -> intake.Input:
        task, file = given.file.start.input, given.file
        assert task is not None
        return intake.Input(
            session_id=session_id,
            items=(Item(text=task.content),),
            actor=firing.actor(given.schedule_id),
            source="schedule",
            kind="scheduled_input",
            metadata=firing.metadata(given.schedule_id, given.planned, task.metadata),
            route=task.route,
            model=task.model,
            generation=dict(task.generation),
            budget=task.budget.model_dump(exclude_none=True) if task.budget else None,
            completion=tuple(
                one if isinstance(one, str) else one.model_dump(mode="json", exclude_unset=True)
                for one in task.completion
            ),
            checks_ask=True,
            unattended=file.unattended,
        )

    async def _session(self, given: Begin, session_id: str, new: NewSession) -> tuple[Draft | None, Session]:
        """Return the session of a run, and the entry that creates a missing one. Its id follows from the fire."""
        state = self._state
        settings = new.model_dump(mode="json", exclude_none=True, exclude={"workspace", "persona"})
        settings = {name: value for name, value in settings.items() if value not in ({}, [])}
        settings |= {"labels": {"schedule": given.schedule_id, **new.labels}}
        if new.title is None and given.file.title is not None:
            settings["title"] = given.file.title
        if new.persona is not None:
            one = state.definitions.get("personas", new.persona)
            settings["persona"] = personas.snapshot(
                new.persona, one.value, one.digest, ids.now(), blob=blob_id(one.raw)
            )
        existing = state.find(Session, session_id)
        if existing is not None:
            return None, existing
        workspace = await self._home(new.workspace, session_id)
        existing = state.find(Session, session_id)  # it may have been created meanwhile
        if existing is not None:
            return None, existing
        by = firing.actor(given.schedule_id)
        draft = sessions.made(state, session_id, settings, workspace=workspace, by=by)
        event: Any = draft.event
        settings = {**sessions.SETTINGS, **event.settings}
        return draft, Session(
            session_id=session_id, path=event.path, agent_id=event.agent_id, created_at="", made=0, settings=settings
        )

    async def _home(self, named: str | None, session_id: str) -> Path:
        if named is None:
            return await self._workspaces.default(session_id)
        return await self._workspaces.choose(named, _FILE, session_id)

    async def _begin_flow(self, given: Begin, wanted: FlowStart) -> None:
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
                key=key,
                unattended=given.file.unattended,
            )
            before = given.beside()
            if before is None or keys.earlier(state, key) is not None:
                return
            started = firing.dispatched(given.schedule_id, given.planned, session_id, flow_id=flow_id)
            flow_start.start(state, start, beside=[*before, started])

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
