"""Schedules fire: a heap of times, of which only the first is looked at; what is due is claimed and started.

The times of the heap follow from the index and the journal (`next` of each schedule, retries, wakes), so that it is the
same after a restart as live. A tick costs nothing for schedules that are not due. The clock is the state's; when it
goes back, what was claimed stays claimed, and nothing fires early.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from kheish import ids
from kheish.authoring.problems import Problems
from kheish.daemon.firing.firing import PASSING, Firing
from kheish.daemon.reactors.base import Reactor
from kheish.domain import events, runs
from kheish.domain.events import Entry
from kheish.domain.flows import status as flow_status
from kheish.domain.schedules import firing as verbs
from kheish.domain.schedules.fire import OPEN
from kheish.domain.schedules.schedule import BLOCKED_AFTER, SCHEDULES, Schedule
from kheish.errors import Damaged, KheishError, NotFound, StoreFailed
from kheish.state.encoding import Recorded
from kheish.state.state import State

log = logging.getLogger(__name__)

_PAGE = 200
# Each act waits a few times for threads, and so for turns of a loop that also drives the runs which it starts. With 16
# at a time, 1,000 schedules due in one second took 23 s to be claimed; with 512, 6 s; claimed before any starts, 1 s.
_AT_ONCE = 512  # schedules that act at a time
_LATE = 10.0  # seconds after which an occurrence counts as missed, so that several of them are spread
_AGAIN = 10.0  # seconds after an unforeseen failure
_MANY = 32  # schedules due at once above which all are claimed before any is started: a claim is short
_SOON = 2.0  # times within this get a timer; the tick finds later ones

Key = tuple[str, ...]
BLOCKED, PAUSED = "schedule_blocked", "schedule_paused"


class Timers:
    """A heap of times by key; each key has one time. Costs O(log n) for each change."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, Key]] = []
        self._times: dict[Key, float] = {}

    def __len__(self) -> int:
        return len(self._times)

    def set(self, key: Key, time: float) -> None:
        """Set the time of a key, in place of an earlier one."""
        self._times[key] = time
        heapq.heappush(self._heap, (time, key))
        if len(self._heap) > 2 * len(self._times) + 64:
            self._heap = [(time, key) for key, time in self._times.items()]
            heapq.heapify(self._heap)

    def drop(self, key: Key) -> None:
        """Remove a key, if it is there."""
        self._times.pop(key, None)

    def first(self) -> float | None:
        """Return the earliest time."""
        while self._heap and self._times.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take(self, now: float) -> list[tuple[float, Key]]:
        """Remove and return what is due, earliest first."""
        due = []
        while (first := self.first()) is not None and first <= now:
            time, key = heapq.heappop(self._heap)
            del self._times[key]
            due.append((time, key))
        return due


class Schedules(Reactor):
    """The timers, and the runs and Flows of fires in flight."""

    def __init__(self, state: State, firing: Firing, problems: Problems) -> None:
        self._state = state
        self._firing = firing
        self._problems = problems
        self._timers = Timers()
        self._spread: set[Key] = set()  # missed occurrences that have their place in the spread
        self._started: dict[str, tuple[str, str]] = {}  # by run or Flow: the schedule, and the planned time
        self._ended: list[dict[str, Any]] = []  # fires whose run had ended before this start
        self._is_ready = False
        self._now = 0.0
        self._wakes: dict[str, str] = {}  # sessions of wakes
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._under_way: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    # --- starting -----------------------------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Find the fires in flight, before runs continue: their ends would be missed later."""
        for doc in await self._all("fire", sorted(str(one) for one in OPEN)):
            if doc["run_id"] or doc["flow_id"]:
                self._started[doc["run_id"] or doc["flow_id"]] = (doc["schedule_id"], doc["planned"])
                self._ended.append(doc)

    async def start(self) -> None:
        """Apply the files, and set the timers of all that is to come."""
        self._is_ready = True
        self._now = self._state.clock()
        known = self._state.definitions.by_kind["schedules"]
        docs = {doc["schedule_id"]: doc for doc in await self._all("schedule", ("active", "paused", "completed"))}
        for id in [*known, *(id for id in docs if id not in known)]:
            doc, found = docs.get(id), known.get(id)
            is_same = doc is not None and found is not None and doc["digest"] == found.digest
            if is_same and doc is not None and found is not None and doc["timezone"] == found.value.zone:
                self._arm(id, doc["next"])
                self._report(id, doc["blocked"], doc.get("skip_reason"), doc["is_paused"], doc["pause_reason"])
            else:
                await self._guard(id, self._apply(id, "person"))
        for wake in await self._all("wake", ("pending",)):
            self._add_wake(wake["wake_id"], wake["session_id"], wake["at"])
        await self._take_up()
        self._run()

    async def _take_up(self) -> None:
        """Settle fires whose run ended before this start, and continue those that only wait."""
        ended, self._ended = self._ended, []
        for doc in ended:
            await self._settle_ended(doc)
        for doc in await self._all("fire", ("claimed", "retrying")):
            if doc["state"] == "retrying":
                self._timers.set(("retry", doc["schedule_id"], doc["planned"]), ids.seconds_of(doc["retry_at"]))
            else:
                self._spawn(("follow", doc["schedule_id"]))

    async def _settle_ended(self, doc: Mapping[str, Any]) -> None:
        noun, id = ("run", doc["run_id"]) if doc["run_id"] else ("flow", doc["flow_id"])
        found = await asyncio.to_thread(self._state.index.thing, noun, id)
        if found is None:
            self._settle(id, "failed", f"the {noun} is gone: its session was deleted")
        elif found["status"] in (runs.FINAL if noun == "run" else flow_status.FINAL):
            error = found.get("error")
            reason = f"{error['code']}: {error['message']}" if error else found.get("reason")
            self._settle(id, *_outcome(str(found["status"]), reason))

    async def _all(self, noun: str, statuses: Sequence[str]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            page = await asyncio.to_thread(
                self._state.index.things, noun, limit=_PAGE, cursor=cursor, statuses=statuses
            )
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return found

    # --- reacting -----------------------------------------------------------------------------------------------------

    def heard(self, batch: Sequence[Recorded]) -> None:
        """React to edited files, ended runs, and what schedules themselves journal."""
        for item in batch:
            self._react(item.entry)

    def _react(self, entry: Entry) -> None:
        event = entry.event
        match event:
            case events.DefinitionChanged(definition="schedules", id=id) if self._is_ready:
                self._spawn(("apply", id, entry.actor))
            case events.FireDispatched(message_id=str()):
                pass  # its end is in the same group
            case events.FireDispatched(schedule_id=id, planned=planned, run_id=run_id, flow_id=flow_id):
                self._started[run_id or flow_id or ""] = (id, planned)
            case events.FireDelayed(schedule_id=id, planned=planned, until=until):
                self._set(("retry", id, planned), ids.seconds_of(until))
            case events.FireClaimed(by_hand=True):
                pass  # its start is in the same group
            case events.FireSettled(schedule_id=id) | events.ScheduleResumed(schedule_id=id):
                self._spawn(("follow", id))
            case events.WakeSet(wake_id=id, at=at) if entry.session is not None:
                self._add_wake(id, entry.session, at)
            case events.WakeCancelled(wake_id=id) | events.WakeFired(wake_id=id):
                self._timers.drop(("wake", id))
                self._wakes.pop(id, None)
            case events.DaemonResumed(route=None) if self._is_ready:
                self._spawn(("resume",))
            case _:
                self._react_to_end(entry)
        if event.stream == SCHEDULES:
            self._look_at(event)

    def _react_to_end(self, entry: Entry) -> None:
        match entry.event:
            case events.RunFailed(error=error):
                self._settle(entry.run, "failed", f"{error.code}: {error.message}")
            case events.RunCompleted():
                self._settle(entry.run, *_outcome("completed", None))
            case events.RunCancelled(reason=reason) | events.RunInterrupted(reason=reason):
                self._settle(entry.run, *_outcome(entry.event.kind.removeprefix("run."), reason))
            case events.FlowSealed(flow_id=id, status=status, reason=reason):
                self._settle(id, *_outcome(status, reason))
            case events.SessionDeleted() if self._started:
                gone = [run for run in self._started if self._state.find(runs.Run, run) is None]
                for run in gone:
                    self._spawn(("gone", run))

    def _look_at(self, event: Any) -> None:
        """Report a schedule that waits for people, and set its timer after a change that another part made."""
        part = self._state.owners.get(f"{SCHEDULES}/{event.schedule_id}")
        schedule = part.tables[Schedule].get(event.schedule_id) if part is not None else None
        if schedule is None:
            return
        why = schedule.skip_reason
        self._report(event.schedule_id, schedule.blocked, why, schedule.is_paused, schedule.pause_reason)

    def _report(self, id: str, blocked: int, skipped: str | None, is_paused: bool, reason: str | None) -> None:
        path = f"schedules/{id}.yaml"
        if blocked >= BLOCKED_AFTER:
            why = (skipped or "the previous run waits for a person").removeprefix("overlap: ")
            text = f"{blocked} occurrences in a row were skipped, since {why}: answer it"
            self._problems.add(BLOCKED, path, text, severity="warning")
        else:
            self._problems.clear(BLOCKED, path)
        if is_paused and reason is not None and "in a row" in reason:
            self._problems.add(PAUSED, path, f"paused after {reason}; kheish schedules resume {id}")
        else:
            self._problems.clear(PAUSED, path)

    def _settle(self, id: str | None, end: str, reason: str | None) -> None:
        if id is not None and (fire := self._started.pop(id, None)) is not None:
            self._spawn(("settle", *fire, end, reason or ""))

    # --- time ---------------------------------------------------------------------------------------------------------

    async def tick(self, now: str) -> None:
        """Act on what is due. After the clock went back, the times of the spread no longer apply."""
        time = self._state.clock()
        if time < self._now - 1.0:
            for key in self._spread:
                self._timers.set(key, time)
            self._spread.clear()
        self._now = time
        self._run()

    def _arm(self, id: str, next: str | None) -> None:
        key = ("occur", id)
        found = self._firing.definition(id)
        if next is None or found is None:
            self._timers.drop(key)
        else:
            self._set(key, ids.seconds_of(next) + verbs.delay(found.value, id))

    def _add_wake(self, id: str, session_id: str, at: str) -> None:
        self._wakes[id] = session_id
        self._set(("wake", id), ids.seconds_of(at))

    def _set(self, key: Key, time: float) -> None:
        self._spread.discard(key)
        self._timers.set(key, time)
        self._wind()

    def _wind(self) -> None:
        """Set a timer for what is due soon, which is more exact than the tick."""
        first = self._timers.first()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if first is not None and self._is_ready and (left := first - self._state.clock()) < _SOON:
            self._timer = asyncio.get_running_loop().call_later(max(left, 0.0) + 0.001, self._run)

    def _run(self) -> None:
        """Act on what is due; where several occurrences were missed, spread them."""
        if not self._is_ready or None in self._state.paused or self._state.failure:
            return
        now = self._state.clock()
        due = self._timers.take(now)
        late = [key for time, key in due if time < now - _LATE and key not in self._spread]
        width = self._state.definitions.config.schedules.spread
        for place, key in enumerate(late):
            if place:
                self._spread.add(key)
                self._timers.set(key, now + place * width / len(late))
        waits = set(late[1:])
        begun = [key for _, key in due if key not in waits]
        for key in begun:
            self._spread.discard(key)
            self._spawn(("claim", key[1]) if key[0] == "occur" and len(begun) > _MANY else key)
        self._wind()

    # --- acting -------------------------------------------------------------------------------------------------------

    def _spawn(self, key: Key) -> None:
        task = asyncio.create_task(self._act(key), name=" ".join(key))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _act(self, key: Key) -> None:
        async with self._turn:
            await self._guard(key[1] if len(key) > 1 else "", _ACTS[key[0]](self, *key[1:]), key)

    async def _guard(self, id: str, work: Awaitable[None], key: Key | None = None) -> None:
        """Await work on one schedule; its foreseen errors leave the others alone."""
        try:
            await work
        except StoreFailed:
            return  # the daemon ends; the next one finds the same
        except Damaged as error:
            self._problems.damaged(f"journals/{SCHEDULES}/{id}", error.detail)
        except (KheishError, OSError) as error:
            log.warning("schedule %s: %s", id, error)
            if key is not None and key[0] in ("occur", "claim", "wake", "retry", "settle", "follow"):
                key = ("occur", id) if key[0] == "claim" else key
                self._set(key, self._state.clock() + _AGAIN)
        except Exception as error:  # a fault of ours: one schedule does not stop the daemon or the others
            log.exception("schedule %s", id)
            name = f"{type(error).__name__}: {error}"
            self._problems.add("internal", f"schedules/{id}.yaml", f"it does not fire, by a fault of Kheish ({name})")

    async def _occur(self, id: str) -> None:
        schedule = await self._firing.occur(id)
        if schedule is not None:
            self._arm(id, schedule.next)

    async def _claim(self, id: str) -> None:
        """Claim what is due; its start comes after the claims of the others."""
        schedule = await self._firing.occur(id, starts=False)
        if schedule is not None:
            self._arm(id, schedule.next)
            self._spawn(("follow", id))

    async def _apply(self, id: str, by: str) -> None:
        schedule = await self._firing.apply_file(id, by=by)
        self._arm(id, schedule.next if schedule is not None else None)
        if schedule is None:
            for code in (BLOCKED, PAUSED):
                self._problems.clear(code, f"schedules/{id}.yaml")

    async def _follow(self, id: str) -> None:
        if None not in self._state.paused:
            await self._firing.follow(id)

    async def _retry(self, id: str, planned: str) -> None:
        await self._firing.retry(id, planned)

    async def _settle_fire(self, id: str, planned: str, end: str, reason: str) -> None:
        await self._firing.settle(id, planned, end, reason or None)

    async def _look_for_gone(self, run_id: str) -> None:
        """Settle a fire whose session was deleted."""
        await self._state.caught_up()
        if run_id in self._started and await asyncio.to_thread(self._state.index.thing, "run", run_id) is None:
            self._settle(run_id, "failed", "the session was deleted")

    async def _wake(self, id: str) -> None:
        session_id = self._wakes.get(id)
        if session_id is None:
            return
        try:
            await self._firing.wake(id, session_id)
        except PASSING:
            raise
        except NotFound:  # the session was deleted, and its wakes with it
            self._wakes.pop(id, None)

    async def _resume(self) -> None:
        """Continue after a pause of the whole daemon: what was missed meanwhile is made up for as after a restart."""
        await self._take_up()
        self._run()

    async def close(self) -> None:
        """Set no more timers, and wait for what is under way."""
        self._is_ready = False
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)


def _outcome(status: str, reason: str | None) -> tuple[str, str | None]:
    """Return the end of a fire by the end of its run or Flow; a person's stop is no failure."""
    if status == "failed":
        return "failed", reason or "it failed"
    return "settled", None if status in ("completed", "succeeded") else f"{status}: {reason}" if reason else status


_ACTS: Mapping[str, Callable[..., Awaitable[None]]] = {
    "occur": Schedules._occur,
    "claim": Schedules._claim,
    "apply": Schedules._apply,
    "follow": Schedules._follow,
    "retry": Schedules._retry,
    "settle": Schedules._settle_fire,
    "gone": Schedules._look_for_gone,
    "wake": Schedules._wake,
    "resume": Schedules._resume,
}
