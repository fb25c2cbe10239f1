"""Events of schedules: entries of the stream `schedules`, where each schedule has a journal of its own; and of wakes,
which an agent sets in its session."""

from __future__ import annotations

from typing import Literal

from kheish.state.event import Event, frozen

SCHEDULES = "schedules"


@frozen
class _OfSchedule(Event):
    """The base of the entries of one schedule."""

    stream = SCHEDULES
    owned_by = "schedule_id"
    journal_per_owner = True
    schedule_id: str


@frozen
class ScheduleSet(_OfSchedule):
    """A schedule whose file was created or changed. `cadence` and `timezone` are as written; `anchor` is the phase of
    `every`; `next` is the next occurrence."""

    kind = "schedule.set"
    digest: str
    cadence: str
    timezone: str
    anchor: str
    next: str | None
    paused: bool | None = None  # None: the file did not change it
    file_paused: bool = False
    is_new: bool = False  # the first version, or the first after a removal


@frozen
class ScheduleRemoved(_OfSchedule):
    """A schedule whose file was removed."""

    kind = "schedule.removed"


@frozen
class SchedulePaused(_OfSchedule):
    """A pause: occurrences are skipped until the schedule is resumed."""

    kind = "schedule.paused"
    reason: str | None = None


@frozen
class ScheduleResumed(_OfSchedule):
    """The end of a pause."""

    kind = "schedule.resumed"


@frozen
class FireClaimed(_OfSchedule):
    """The claim of an occurrence, before anything is started for it. Only a claim (or a skip) moves `next`."""

    kind = "fire.claimed"
    planned: str
    next: str | None
    by_hand: bool = False  # a trigger: it is no occurrence, and leaves `next` unchanged
    is_late: bool = False  # it makes up for occurrences that were missed


@frozen
class FireDispatched(_OfSchedule):
    """The start of what a claimed occurrence starts, in one group with the run, the Flow, or the channel's message; a
    message has no session, and the fire is settled with it."""

    kind = "fire.dispatched"
    planned: str
    session_id: str | None
    run_id: str | None = None
    flow_id: str | None = None
    message_id: str | None = None


@frozen
class FireDelayed(_OfSchedule):
    """A start that failed for now, and is retried at `until`."""

    kind = "fire.delayed"
    planned: str
    attempt: int
    until: str
    reason: str


@frozen
class FireSkipped(_OfSchedule):
    """Occurrences that start nothing, with the reason. `earlier` are occurrences before them, from the first to the
    last, that are too many to list. `behind` is the run that waits for a person, if that is the reason."""

    kind = "fire.skipped"
    planned: tuple[str, ...]
    reason: str
    next: str | None
    earlier: tuple[str, str] | None = None
    behind: str | None = None


@frozen
class FireSettled(_OfSchedule):
    """The end of what a fire started; `failed` also if it could not be started."""

    kind = "fire.settled"
    planned: str
    state: Literal["settled", "failed", "skipped"]
    reason: str | None = None


# --- wakes ------------------------------------------------------------------------------------------------------------


@frozen
class WakeSet(Event):
    """A wake: at this time the session gets a run with the note."""

    kind = "wake.set"
    wake_id: str
    at: str
    note: str


@frozen
class WakeFired(Event):
    """The run of a wake, in the same group as its submission; without a run, it could not be submitted."""

    kind = "wake.fired"
    wake_id: str
    run_id: str | None = None
    reason: str | None = None


@frozen
class WakeCancelled(Event):
    """A wake that its session took back."""

    kind = "wake.cancelled"
    wake_id: str
