"""The next step of a goal, as a function of its folded value and the time. It reads and changes nothing else."""

from __future__ import annotations

from kheish import ids
from kheish.domain.events import GoalPurpose, frozen
from kheish.domain.goals.goal import Goal

#: runs without progress, and failed runs, in a row, after which a goal is paused
IDLE, FAILURES = 2, 5


@frozen
class Wait:
    """Nothing is due before this time, in seconds since 1970."""

    until: float


@frozen
class Pause:
    """A pause for this reason; `asks`: a person is asked how to continue."""

    why: str
    asks: bool = False


@frozen
class Complete:
    """The goal is complete."""


@frozen
class Start:
    """A run is due. A wrap-up also ends the work at the budget."""

    purpose: GoalPurpose


Step = Wait | Pause | Complete | Start


def next_step(goal: Goal, *, is_idle: bool, now: float) -> Step | None:
    """Return the next step; None while there is none, whatever the time. `is_idle`: the session has no other work."""
    if goal.run is not None or goal.status not in ("active", "budget_limited"):
        return None
    if goal.is_confirmed:
        return Complete()
    if goal.status == "budget_limited":
        return None
    if goal.stopped is not None:
        return Pause(why=goal.stopped)
    if goal.failures >= FAILURES:
        return Pause(why="failures")
    if goal.idle >= IDLE:
        return Pause(why="no_progress", asks=True)
    if not is_idle:
        return None
    if goal.limit is not None:
        return Start(purpose="wrap_up")
    due = max(_wait_until(goal), goal.retry_at or 0.0)
    if due > now:
        return Wait(until=due)
    return Start(purpose="check" if goal.claim is not None else "work")


def _wait_until(goal: Goal) -> float:
    """Return the time that the agent waits for; a claim is checked at once."""
    return ids.seconds_of(goal.wait_until) if goal.wait_until is not None and goal.claim is None else 0.0
