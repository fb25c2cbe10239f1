"""A schedule's own state: when it fires next, what is in flight, and what became of its fires so far.

It is a fold of `journals/schedules/<id>`. The file says what is wanted; this says what has happened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, fields
from typing import TYPE_CHECKING, Any, Literal

from kheish.domain import events
from kheish.domain.events import Entry, changed, frozen
from kheish.domain.events.schedules import SCHEDULES as SCHEDULES
from kheish.domain.schedules.fire import fire_id
from kheish.domain.shown import View
from kheish.state.noun import Noun, always

if TYPE_CHECKING:
    from kheish.state.state import State as StateOf

State = Literal["active", "paused", "completed", "removed"]
#: skips behind one waiting run after which a schedule is reported as blocked
BLOCKED_AFTER = 3


@frozen
class OpenFire:
    """A fire in flight."""

    planned: str
    session_id: str | None = None
    run_id: str | None = None
    flow_id: str | None = None

    @property
    def is_started(self) -> bool:
        """Return whether its run or Flow exists."""
        return self.run_id is not None or self.flow_id is not None


@frozen
class Counts:
    """The number of fires by state."""

    claimed: int = 0
    skipped: int = 0
    settled: int = 0
    failed: int = 0


@frozen
class Schedule:
    """A schedule as recorded in the journal. `runs` are its starts, `failures` those that failed in a row; `behind` is
    the waiting run behind which `blocked` occurrences were skipped in a row."""

    schedule_id: str
    digest: str
    cadence: str
    timezone: str
    anchor: str
    next: str | None
    made: int
    n: int
    last: str | None = None
    reached: str | None = None  # the newest occurrence that has an outcome
    is_paused: bool = False
    pause_reason: str | None = None
    file_paused: bool = False  # as the file last said
    is_removed: bool = False
    in_flight: tuple[OpenFire, ...] = ()
    counts: Counts = field(default_factory=Counts)
    runs: int = 0
    failures: int = 0
    behind: str | None = None
    blocked: int = 0
    skip_reason: str | None = None  # of the newest occurrence that was skipped
    set_by: str = "daemon"

    @property
    def state(self) -> State:
        """The state in one word."""
        if self.is_removed:
            return "removed"
        if self.next is None:
            return "completed"
        return "paused" if self.is_paused else "active"

    @property
    def is_blocked(self) -> bool:
        """Return whether a waiting run has stopped it."""
        return self.blocked >= BLOCKED_AFTER


FOLDED = (
    events.ScheduleSet,
    events.ScheduleRemoved,
    events.SchedulePaused,
    events.ScheduleResumed,
    events.FireClaimed,
    events.FireDispatched,
    events.FireDelayed,
    events.FireSkipped,
    events.FireSettled,
)


def fold(table: dict[str, Schedule], entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    event: Any = entry.event
    id, old = event.schedule_id, table.get(event.schedule_id)
    if isinstance(event, events.ScheduleSet):
        table[id] = _fold_set(old, event, entry)
    elif old is None:
        return ()
    else:
        table[id] = changed(old, n=entry.n, **_fold_change(old, event))
    return (id,)


def _fold_set(old: Schedule | None, event: events.ScheduleSet, entry: Entry) -> Schedule:
    new: dict[str, Any] = {
        "digest": event.digest, "cadence": event.cadence, "timezone": event.timezone, "anchor": event.anchor,
        "next": event.next, "is_removed": False, "failures": 0, "n": entry.n, "set_by": entry.actor,
        "file_paused": event.file_paused,
    }  # fmt: skip
    if event.paused is not None:
        new |= {"is_paused": event.paused, "pause_reason": "the file says so" if event.paused else None}
    if old is None:
        return Schedule(schedule_id=event.schedule_id, made=entry.n, **new)
    return changed(old, **new, **({"runs": 0} if event.is_new else {}))


def _fold_change(old: Schedule, event: Any) -> dict[str, Any]:
    match event:
        case events.ScheduleRemoved():
            return {"is_removed": True, "next": None, "behind": None, "blocked": 0}
        case events.SchedulePaused(reason=reason):
            return {"is_paused": True, "pause_reason": reason}
        case events.ScheduleResumed():
            return {"is_paused": False, "pause_reason": None, "failures": 0}
        case events.FireClaimed(planned=planned, next=next, by_hand=by_hand):
            moved = {} if by_hand else {"next": next, "reached": planned, "behind": None, "blocked": 0}
            counts = changed(old.counts, claimed=old.counts.claimed + 1)
            return {**moved, "last": planned, "in_flight": (*old.in_flight, OpenFire(planned=planned)),
                    "counts": counts, "runs": old.runs + 1}  # fmt: skip
        case events.FireDispatched(planned=planned):
            started = OpenFire(planned=planned, session_id=event.session_id, run_id=event.run_id, flow_id=event.flow_id)
            return {"in_flight": tuple(started if one.planned == planned else one for one in old.in_flight)}
        case events.FireSkipped():
            return _fold_skipped(old, event)
        case events.FireSettled(planned=planned, state=state):
            return _fold_settled(old, planned, state)
        case _:
            return {}


def _fold_skipped(old: Schedule, event: events.FireSkipped) -> dict[str, Any]:
    count = len(event.planned) + (event.earlier is not None)
    blocked = count + (old.blocked if event.behind == old.behind else 0) if event.behind is not None else 0
    counts = changed(old.counts, skipped=old.counts.skipped + count)
    reached = event.planned[-1] if event.planned else old.reached
    return {"next": event.next, "reached": reached, "counts": counts, "behind": event.behind, "blocked": blocked,
            "skip_reason": event.reason}  # fmt: skip


def _fold_settled(old: Schedule, planned: str, state: str) -> dict[str, Any]:
    ended = next((one for one in old.in_flight if one.planned == planned), None)
    if ended is None:
        return {}
    new: dict[str, Any] = {"in_flight": tuple(one for one in old.in_flight if one is not ended)}
    new["counts"] = changed(old.counts, **{state: getattr(old.counts, state) + 1})
    new["failures"] = old.failures + 1 if state == "failed" else 0
    if state == "skipped":  # it was claimed, and started nothing
        new |= {"runs": old.runs - 1, "failures": old.failures}
    if old.behind is not None and old.behind in (ended.run_id, ended.flow_id):
        new |= {"behind": None, "blocked": 0}
    return new


@frozen
class InFlightView(View):
    """A fire that has not ended."""

    fire_id: str
    planned: str
    session_id: str | None
    run_id: str | None
    """Its run; null while it waits for an earlier fire, or for a retry."""
    flow_id: str | None


@frozen
class ScheduleView(View):
    """A schedule's own state."""

    schedule_id: str
    state: State
    digest: str
    cadence: str
    timezone: str
    anchor: str
    next: str | None
    last: str | None
    reached: str | None
    is_paused: bool
    pause_reason: str | None
    file_paused: bool
    is_removed: bool
    in_flight: tuple[InFlightView, ...]
    counts: Counts
    runs: int
    failures: int
    behind: str | None
    blocked: int
    skip_reason: str | None
    """The reason of the newest occurrence that was skipped."""
    set_by: str
    made: int
    n: int


_DERIVED = ("state", "in_flight")


def view(schedule: Schedule) -> ScheduleView:
    """Return the schedule as the index has it."""
    names = [one.name for one in fields(ScheduleView) if one.name not in _DERIVED]
    return ScheduleView(
        state=schedule.state,
        in_flight=tuple(
            InFlightView(
                fire_id=fire_id(schedule.schedule_id, one.planned),
                planned=one.planned,
                session_id=one.session_id,
                run_id=one.run_id,
                flow_id=one.flow_id,
            )
            for one in schedule.in_flight
        ),
        **{name: getattr(schedule, name) for name in names},
    )


def read(doc: Mapping[str, Any]) -> Schedule:
    """Return the schedule in a document of the index."""
    given = {name: value for name, value in doc.items() if name not in _DERIVED}
    flights = ({name: value for name, value in one.items() if name != "fire_id"} for one in doc["in_flight"])
    given |= {"counts": Counts(**doc["counts"]), "in_flight": tuple(OpenFire(**one) for one in flights)}
    return Schedule(**given)


NOUN = Noun(
    name="schedule",
    cls=Schedule,
    folded=frozenset(FOLDED),
    fold=lambda tables, entry: fold(tables[Schedule], entry),
    keep=always,
    view=view,
    status=lambda schedule: schedule.state,
    read=read,
)


async def newest(state: StateOf, schedule_ids: Sequence[str]) -> list[dict[str, Any] | None]:
    """Return the newest document of each schedule; None for one that is not applied yet."""
    recent = {id: state.find(Schedule, id) for id in schedule_ids}
    changes = {id: state.unjournaled.get((Schedule, id)) for id in schedule_ids}

    def read() -> list[dict[str, Any] | None]:
        docs = []
        for id in schedule_ids:
            change = changes[id]
            value = recent[id] or (change.value if change is not None else None)
            docs.append(state.document(NOUN, value) if value else state.index.thing(NOUN.name, id))
        return docs

    return await asyncio.to_thread(read)
