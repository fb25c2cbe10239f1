"""Events of a session's goal."""

from __future__ import annotations

from typing import Literal

from kheish.domain.events.runs import Idempotency, Requirement
from kheish.domain.shown import View
from kheish.state.event import Event, frozen

#: the kind of the runs that the daemon submits for a goal
CONTINUATION = "goal_continuation"
#: the purpose of a question about a goal: no run waits for its answer
GOAL_QUESTION = "goal"
#: work: the next step; check: of the agent's claim; wrap_up: the last run at the budget
GoalPurpose = Literal["work", "check", "wrap_up"]


@frozen
class GoalBudget(View):
    """The limits of a goal; null: no limit."""

    shown_as = "GoalBudget"
    tokens: int | None = None
    cost_usd: float | None = None
    wall_time: float | None = None
    """Seconds in which its runs work."""


@frozen
class GoalSet(Event):
    """A goal, or another text and requirement for the same `goal_id`: its usage stays."""

    kind = "goal.set"
    headline = "goal set: {session}"
    goal_id: str
    objective: str
    completion: tuple[Requirement, ...] = ()
    checks_ask: bool = False  # an agent wrote the requirement: the rules apply to its commands
    budget: GoalBudget = GoalBudget()
    idempotency: Idempotency | None = None


@frozen
class GoalUpdated(Event):
    """A change by a user. A field that is null is unchanged."""

    kind = "goal.updated"
    objective: str | None = None
    completion: tuple[Requirement, ...] | None = None
    budget: GoalBudget | None = None
    idempotency: Idempotency | None = None
    goal_id: str = ""


@frozen
class GoalPaused(Event):
    """A pause, by a user or by the rules. `question_id` asks a person how to continue."""

    kind = "goal.paused"
    headline = "goal paused ({why}): {session}"
    why: str
    question_id: str | None = None


@frozen
class GoalResumed(Event):
    """The end of a pause, or of a limit after the budget was raised: failures and idle runs count from zero."""

    kind = "goal.resumed"
    headline = "goal resumed: {session}"


@frozen
class GoalDeclared(Event):
    """The agent's word: its next step, or the claim that the goal is complete."""

    kind = "goal.declared"
    status: Literal["working", "complete"]
    next: str | None = None
    wait_until: str | None = None
    why: str | None = None


@frozen
class GoalContinued(Event):
    """A run for the goal, in one group with its submission. `number` counts them."""

    kind = "goal.continued"
    number: int
    run_id: str
    purpose: GoalPurpose = "work"


@frozen
class GoalDelayed(Event):
    """A run for the goal that could not be submitted; it counts as a failed one."""

    kind = "goal.delayed"
    error: str


@frozen
class GoalLimited(Event):
    """The budget is used up. The wrap-up run is in the same group."""

    kind = "goal.limited"
    headline = "goal at its budget: {session}"
    limit: str


@frozen
class GoalCompleted(Event):
    """The end of a goal: the agent has claimed it, and the requirement is met."""

    kind = "goal.completed"
    headline = "goal complete: {session}"
    why: str | None = None


@frozen
class GoalCleared(Event):
    """The removal of a goal by a user."""

    kind = "goal.cleared"
    headline = "goal cleared: {session}"
