"""The verbs of schedules: what is due, whether it may start, and the entries of each decision as one group.

A verb needs the schedule's owner in memory (`pins.owner`). Only a claim or a skip moves `next`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from kheish import ids
from kheish.domain import events
from kheish.domain.events import Draft, frozen
from kheish.domain.schedules import timing
from kheish.domain.schedules.definition import ScheduleFile
from kheish.domain.schedules.fire import fire_id
from kheish.domain.schedules.schedule import SCHEDULES, OpenFire, Schedule
from kheish.errors import NotFound

if TYPE_CHECKING:
    from kheish.state.state import State

#: failed starts after which a fire has failed, and the delay of the first retry in seconds (doubled each time)
ATTEMPTS = 6
RETRY_AFTER = 5.0
_CLOCK_BACK = 86_400.0


@frozen
class Due:
    """The due occurrences: the newest occurrence, those that were missed before it, and the next one."""

    first: int
    planned: int
    missed: timing.Missed
    next: int | None
    lateness: float


@frozen
class Obstacle:
    """The reason why an occurrence is skipped. `behind` is the run that waits for a person."""

    reason: str
    behind: str | None = None


def actor(schedule_id: str) -> str:
    """Return the actor of what a schedule starts."""
    return f"schedule:{schedule_id}"


def get(state: State, schedule_id: str) -> Schedule:
    """Return a schedule of a loaded owner. Raises NotFound."""
    schedule = find(state, schedule_id)
    if schedule is None or schedule.is_removed:
        raise NotFound(f"There is no schedule {schedule_id!r}.")
    return schedule


def find(state: State, schedule_id: str) -> Schedule | None:
    """Return a schedule of a loaded owner, also a removed one; None if it was never set."""
    return state.table(Schedule, f"{SCHEDULES}/{schedule_id}").get(schedule_id)


# --- decisions --------------------------------------------------------------------------------------------------------


def due(file: ScheduleFile, schedule: Schedule, now: float) -> Due | None:
    """Return what is due; None if nothing is. May take long for a rare date: call it in a thread."""
    if schedule.next is None:
        return None
    first, cadence, anchor = timing.read(schedule.next), file.cadence, timing.read(schedule.anchor)
    reached = now - delay(file, schedule.schedule_id)
    if first > reached:
        return None
    passed = timing.missed(cadence, anchor, first, reached)
    *before, planned = passed.times
    return Due(
        first=first,
        planned=planned,
        missed=timing.Missed(times=tuple(before), earlier=passed.earlier),
        next=timing.after(cadence, anchor, planned),
        lateness=reached - planned,
    )


def delay(file: ScheduleFile, schedule_id: str) -> int:
    """Return the jitter of a schedule in seconds."""
    return timing.jitter(schedule_id, ids.duration(file.jitter))


def obstacle(file: ScheduleFile, schedule: Schedule, given: Due, busy: Obstacle | None) -> Obstacle | None:
    """Return why the newest occurrence is skipped; None if it is claimed. `busy` describes the fire in flight."""
    if schedule.is_paused:
        return Obstacle(reason=f"paused: {schedule.pause_reason}" if schedule.pause_reason else "paused")
    if file.misfire == "skip" and given.lateness > ids.duration(file.grace):
        return Obstacle(reason=f"misfire: out of grace ({given.lateness:.0f} s late, the grace is {file.grace})")
    if not schedule.in_flight or file.overlap == "parallel":
        return None
    if file.overlap == "queue_one":
        queued = any(not one.is_started for one in schedule.in_flight)
        return Obstacle(reason="overlap: another occurrence is queued already") if queued else None
    return busy


def is_queued(file: ScheduleFile, schedule: Schedule) -> bool:
    """Return whether a claimed occurrence waits until the fire in flight has ended."""
    return file.overlap != "parallel" and bool(schedule.in_flight)


# --- drafts and verbs -------------------------------------------------------------------------------------------------


def set_file(state: State, schedule_id: str, file: ScheduleFile, digest: str, *, now: float, by: str) -> Schedule:
    """Apply the file of a schedule. Another cadence begins now: a save never fires the past."""
    old = find(state, schedule_id)
    if old is not None and old.digest == digest and not old.is_removed and old.timezone == file.zone:
        return old
    cadence, is_new = file.cadence, old is None or old.is_removed
    if old is None or is_new or (old.cadence, old.timezone) != (cadence.text, cadence.zone):
        anchor = int(now)
        next = timing.after(cadence, anchor, _begin(old, now))
    else:
        anchor, next = timing.read(old.anchor), None if old.next is None else timing.read(old.next)
        next = timing.after(cadence, anchor, now) if next is None else next
    runs = 0 if old is None or is_new else old.runs
    paused = None if old is not None and not is_new and old.file_paused == file.paused else file.paused
    given = events.ScheduleSet(
        schedule_id=schedule_id,
        digest=digest,
        cadence=cadence.text,
        timezone=cadence.zone,
        anchor=ids.stamp(anchor),
        next=None if _is_exhausted(file, runs) else timing.shown(next),
        paused=paused,
        file_paused=file.paused,
        is_new=is_new,
    )
    state.append(given.on(by=by))
    return get(state, schedule_id)


def _begin(old: Schedule | None, now: float) -> float:
    """Return the moment after which another cadence begins: now, or what has an outcome if the clock went back a
    little."""
    reached = timing.read(old.reached) if old is not None and old.reached is not None else 0
    return reached if 0 <= reached - now <= _CLOCK_BACK else now


def _is_exhausted(file: ScheduleFile, runs: int) -> bool:
    return file.max_runs is not None and runs >= file.max_runs


def remove(state: State, schedule_id: str, *, by: str) -> None:
    """Record that the file of a schedule is gone. What it started continues; what only waits is skipped."""
    schedule = find(state, schedule_id)
    if schedule is None or schedule.is_removed:
        return
    waiting = [one for one in schedule.in_flight if not one.is_started]
    dropped = [_settled(schedule_id, one.planned, "skipped", "the schedule was removed") for one in waiting]
    state.append(*(one.on(by=by) for one in (*dropped, events.ScheduleRemoved(schedule_id=schedule_id))))


def pause(state: State, schedule_id: str, *, by: str, reason: str | None = None) -> Schedule:
    """Skip occurrences from now on; a paused schedule stays as it is. Raises NotFound."""
    if not get(state, schedule_id).is_paused:
        state.append(events.SchedulePaused(schedule_id=schedule_id, reason=reason).on(by=by))
    return get(state, schedule_id)


def resume(state: State, schedule_id: str, *, by: str) -> Schedule:
    """End a pause; occurrences during the pause stay skipped. Raises NotFound."""
    if get(state, schedule_id).is_paused:
        state.append(events.ScheduleResumed(schedule_id=schedule_id).on(by=by))
    return get(state, schedule_id)


def skipped(schedule_id: str, given: Due, why: Obstacle) -> Draft:
    """Return the entry of occurrences that start nothing, including the newest."""
    times = (*given.missed.times, given.planned)
    return _skip(schedule_id, times, given.missed.earlier, given.next, why).on()


def claimed(file: ScheduleFile, schedule: Schedule, given: Due) -> list[Draft]:
    """Return the claim of the newest occurrence, and the skips of those that were missed before it."""
    id, missed = schedule.schedule_id, given.missed
    next = None if _is_exhausted(file, schedule.runs + 1) else given.next
    drafts = []
    if missed.times:
        why = Obstacle(reason="misfire: a later occurrence makes up for it")
        drafts.append(_skip(id, missed.times, missed.earlier, given.planned, why))
    is_late = bool(missed.times) or given.lateness > ids.duration(file.grace)
    claim = events.FireClaimed(
        schedule_id=id, planned=ids.stamp(given.planned), next=timing.shown(next), is_late=is_late
    )
    return [one.on() for one in (*drafts, claim)]


def triggered(schedule: Schedule, planned: str, *, by: str) -> list[Draft]:
    """Return the claim of a fire by hand, which leaves `next` unchanged."""
    claim = events.FireClaimed(schedule_id=schedule.schedule_id, planned=planned, next=schedule.next, by_hand=True)
    return [claim.on(by=by)]


def dispatched(schedule_id: str, planned: str, session_id: str | None, **started: str) -> Draft:
    """Return the start of a claimed fire: `run_id`, `flow_id` or `message_id`."""
    return events.FireDispatched(schedule_id=schedule_id, planned=planned, session_id=session_id, **started).on()


def delayed(schedule_id: str, planned: str, attempt: int, now: float, reason: str) -> Draft:
    """Return the failed attempt of a start that is retried."""
    until = ids.stamp(now + RETRY_AFTER * 2 ** (attempt - 1))
    return events.FireDelayed(
        schedule_id=schedule_id, planned=planned, attempt=attempt, until=until, reason=reason[:2000]
    ).on()


def settled(
    file: ScheduleFile | None,
    schedule: Schedule,
    planned: str,
    state: Literal["settled", "failed", "skipped"],
    reason: str | None,
) -> list[Draft]:
    """Return the end of a fire; too many failures in a row pause the schedule."""
    drafts: list[Any] = [_settled(schedule.schedule_id, planned, state, reason)]
    most = file.pause_after_failures if file is not None else None
    if state == "failed" and most is not None and schedule.failures + 1 >= most and not schedule.is_paused:
        text = f"{schedule.failures + 1} failures in a row; the last: {reason}"
        drafts.append(events.SchedulePaused(schedule_id=schedule.schedule_id, reason=text))
    return [one.on() for one in drafts]


def in_flight(schedule: Schedule, planned: str) -> OpenFire | None:
    """Return a fire that has not ended."""
    return next((one for one in schedule.in_flight if one.planned == planned), None)


def may_follow(schedule: Schedule) -> str | None:
    """Return the oldest claimed fire that may start now, since no other is started."""
    if schedule.is_paused or any(one.is_started for one in schedule.in_flight):
        return None
    return next((one.planned for one in schedule.in_flight), None)


def session_of(schedule_id: str, planned: str) -> str:
    """Return the id of the session that a fire creates; always the same, so that a repeated attempt finds it."""
    digits = "".join(one for one in planned if one.isdigit())
    name = schedule_id[:80].rstrip(".-_")
    return f"{name}-{digits[:8]}t{digits[8:14]}{digits[14:].rstrip('0')}"


def metadata(schedule_id: str, planned: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata of a run."""
    return {**given, "scheduled_for": planned, "fire_id": fire_id(schedule_id, planned)}


def _settled(
    schedule_id: str, planned: str, state: Literal["settled", "failed", "skipped"], reason: str | None
) -> events.FireSettled:
    return events.FireSettled(
        schedule_id=schedule_id, planned=planned, state=state, reason=reason[:2000] if reason else None
    )


def _skip(
    schedule_id: str, times: tuple[int, ...], earlier: tuple[int, int] | None, next: int | None, why: Obstacle
) -> events.FireSkipped:
    return events.FireSkipped(
        schedule_id=schedule_id,
        planned=tuple(ids.stamp(one) for one in times),
        reason=why.reason[:2000],
        next=timing.shown(next),
        earlier=(ids.stamp(earlier[0]), ids.stamp(earlier[1])) if earlier is not None else None,
        behind=why.behind,
    )
