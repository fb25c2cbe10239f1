"""The changes of a goal by users and agents: set, change, pause, resume, clear, declare. Each returns drafts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any

from kheish import ids
from kheish.domain import completion, events, runs
from kheish.domain.agents import agent as agents
from kheish.domain.events import CONTINUATION, Draft, GoalBudget, Idempotency, Requirement, changed, frozen
from kheish.domain.goals.goal import OPEN, Goal, find
from kheish.domain.runs import Run, Status
from kheish.domain.sessions import session as sessions
from kheish.errors import Fault, GoalStateConflict, Invalid, NotFound
from kheish.texts import is_blank

if TYPE_CHECKING:
    from kheish.state.state import State

OBJECTIVE_CHARACTERS = 4000
NEXT_CHARACTERS = 2000
#: seconds that an agent may wait at most
LONGEST_WAIT = 366 * 86_400.0


@frozen
class Wanted:
    """The values that a caller sets: all of a goal, or the parts to change (None: left as it is).

    `limits` has limits of the budget by name: one that is left out stays as it is, and None removes one.
    """

    objective: str | None = None
    completion: tuple[Any, ...] | None = None
    limits: Mapping[str, Any] = field(default_factory=dict)


def get(state: State, session_id: str) -> Goal:
    """Return the goal of a loaded session. Raises NotFound."""
    goal = find(state, session_id)
    if goal is None:
        raise NotFound(f"The session {session_id!r} has no goal.")
    return goal


def set_goal(state: State, session_id: str, wanted: Wanted, *, by: str, key: Idempotency | None = None) -> list[Draft]:
    """Return the drafts that set the goal of a loaded session. One that is not complete keeps its id, its usage and the
    limits that are not given.

    Raises NotFound, SessionEnded, Invalid; GoalStateConflict also if the limits are used up.
    """
    sessions.accepting(state, session_id)
    _check_own(state, session_id)
    old = find(state, session_id)
    same = old if old is not None and old.status in OPEN else None
    budget = changed(same.budget if same is not None else GoalBudget(), **wanted.limits)
    if same is not None:
        _check_room(same, budget)
    event = events.GoalSet(
        goal_id=same.goal_id if same is not None else ids.new("goal"),
        objective=_objective(wanted.objective or ""),
        completion=read_completion(wanted.completion or ()),
        budget=budget,
        idempotency=key,
    )
    return [*withdraw(old, by), event.on(session_id, by=by)]


def create(state: State, run: Run, goal_id: str, wanted: Wanted, *, by: str) -> list[Draft]:
    """Return the draft by which an agent sets the goal of its session, in a run that others asked for: a goal's own run
    must not escape its budget by another goal. Raises GoalStateConflict, Invalid."""
    old = find(state, run.session_id)
    if old is not None and old.status in OPEN:
        raise GoalStateConflict("The session has a goal already; continue with it, or ask a person to change it.")
    if run.kind == CONTINUATION:
        raise GoalStateConflict("A run of a goal sets no other goal; a person does.")
    _check_own(state, run.session_id)
    event = events.GoalSet(
        goal_id=goal_id,
        objective=_objective(wanted.objective or ""),
        completion=read_completion(wanted.completion or ()),
        checks_ask=True,
        budget=GoalBudget(**wanted.limits),
    )
    return [event.on(run.session_id, run.run_id, by=by)]


def change(
    state: State, session_id: str, wanted: Wanted, add: GoalBudget, *, by: str, key: Idempotency | None = None
) -> list[Draft]:
    """Return the drafts that change a goal; `add` is added to its limits. A goal at its budget continues if the new one
    leaves room. Raises NotFound, GoalStateConflict, Invalid."""
    goal = _open(state, session_id)
    budget = _raised(changed(goal.budget, **wanted.limits), add)
    event = events.GoalUpdated(
        objective=_objective(wanted.objective) if wanted.objective is not None else None,
        completion=read_completion(wanted.completion) if wanted.completion is not None else None,
        budget=budget if budget != goal.budget else None,
        goal_id=goal.goal_id,
        idempotency=key,
    )
    drafts = [event.on(session_id, by=by)] if event != events.GoalUpdated(goal_id=goal.goal_id) else []
    if goal.status == "budget_limited" and changed(goal, budget=budget).limit is None:
        drafts.append(events.GoalResumed().on(session_id, by=by))
    return drafts


def pause(state: State, session_id: str, why: str, *, by: str) -> list[Draft]:
    """Return the drafts of a pause. Its run that works continues to its end; one that has not begun is cancelled. A
    pause with another reason replaces an earlier one, whose question is withdrawn.

    Raises NotFound, GoalStateConflict.
    """
    goal = _open(state, session_id)
    if goal.status == "paused" and goal.why == why:
        return []
    _cancel_queued(state, goal, "the goal is paused", by=by)
    return [*withdraw(goal, by), events.GoalPaused(why=why).on(session_id, by=by)]


def resume(state: State, session_id: str, beside: Sequence[Draft] = (), *, by: str) -> list[Draft]:
    """Return the drafts that end a pause, after those of a change in the same group; an active goal stays as it is.

    Raises NotFound, SessionEnded, GoalStateConflict if the budget is used up.
    """
    goal = _open(state, session_id)
    sessions.accepting(state, session_id)
    budgets = [one.event.budget for one in beside if isinstance(one.event, events.GoalUpdated) and one.event.budget]
    if not goal.is_confirmed:
        _check_room(goal, [goal.budget, *budgets][-1])
    if goal.status == "active" or any(isinstance(one.event, events.GoalResumed) for one in beside):
        return []
    return [*withdraw(goal, by), events.GoalResumed().on(session_id, by=by)]


def clear(state: State, session_id: str, *, by: str) -> list[Draft]:
    """Return the drafts that remove the goal. Its run that works continues to its end; one that has not begun is
    cancelled. Raises NotFound."""
    goal = get(state, session_id)
    _cancel_queued(state, goal, "the goal is removed", by=by)
    return [*withdraw(goal, by), events.GoalCleared().on(session_id, by=by)]


def _cancel_queued(state: State, goal: Goal, reason: str, *, by: str) -> None:
    """Cancel the goal's run if it is queued and has not begun. A kill before the next entry leaves the goal paused."""
    run = state.find(Run, goal.run.run_id) if goal.run is not None else None
    if run is not None and run.status is Status.QUEUED and run.started_at is None:
        runs.cancel(state, run.run_id, by=by, reason=reason)


def declare(state: State, run: Run, event: events.GoalDeclared, *, by: str) -> list[Draft]:
    """Return the draft of an agent's word about its goal. A paused goal takes it too, since a run that works continues
    through a pause: it has effect once the goal is resumed. Raises NotFound, GoalStateConflict, Invalid."""
    goal = _open(state, run.session_id)
    if event.status == "complete" and run.made < goal.since:
        raise GoalStateConflict(
            "The goal was set after this run began. Read it with get_goal; its next run may claim that it is complete."
        )
    if event.status == "working" and is_blank(event.next or "") and event.wait_until is None:
        raise Invalid("Say what comes next, or until when you wait: next, wait_until.")
    if event.wait_until is not None:
        left = ids.seconds_of(event.wait_until) - state.clock()
        if not 0 < left <= LONGEST_WAIT:
            raise Invalid(f"wait_until must be in the future, within a year; it is {ids.stamp(state.clock())} now.")
    return [event.on(run.session_id, run.run_id, by=by)]


def read_completion(given: tuple[Any, ...]) -> tuple[Requirement, ...]:
    """Return a requirement as events hold it. Its schemas are checked separately. Raises Invalid."""
    requirements, faults = completion.read(given)
    if faults:
        raise Invalid("; ".join(f"{fault.path}: {fault.message}" for fault in faults) + ".", errors=faults)
    return requirements


def _check_own(state: State, session_id: str) -> None:
    """Raise GoalStateConflict for a spawned agent: it would settle again after each run."""
    agent = agents.find_in(state, session_id)
    if agent is not None and agent.is_child:
        raise GoalStateConflict("An agent that another agent spawned has no goal: its prompt is its task.")


def check_schemas(given: Sequence[Any]) -> None:
    """Check the schemas of a requirement. Blocks: call it in a thread. Raises Invalid."""
    if faults := list(completion.schema_faults(given)):
        raise Invalid("; ".join(f"{fault.path}: {fault.message}" for fault in faults) + ".", errors=faults)


def seconds(value: float | str | None) -> float | None:
    """Return a written duration in seconds; a number is unchanged. Raises Invalid."""
    try:
        found = ids.duration(value) if isinstance(value, str) else value
    except ValueError as error:
        raise Invalid(f"{error}.", errors=[Fault("/budget/wall_time", str(error))]) from error
    if found is not None and found < 1.0:
        raise Invalid("/budget/wall_time: is less than 1 s.", errors=[Fault("/budget/wall_time", "is less than 1 s")])
    return found


def _open(state: State, session_id: str) -> Goal:
    goal = get(state, session_id)
    if goal.status not in OPEN:
        raise GoalStateConflict(f"The goal is {goal.status}, and changes no more; set another.", status_now=goal.status)
    return goal


def _objective(text: str) -> str:
    if is_blank(text) or len(text) > OBJECTIVE_CHARACTERS:
        fault = f"must have 1 to {OBJECTIVE_CHARACTERS} characters"
        raise Invalid(f"/objective: {fault}.", errors=[Fault("/objective", fault)])
    return text.strip()


def _check_room(goal: Goal, budget: GoalBudget) -> None:
    """Raise GoalStateConflict if the goal's usage has reached a limit."""
    limit = changed(goal, budget=budget).limit
    if limit is not None:
        raise GoalStateConflict(
            f"The goal has used up its budget ({limit}); raise it (kheish goals raise), or set a larger limit.",
            limit=limit,
        )


def _raised(budget: GoalBudget, add: GoalBudget) -> GoalBudget:
    """Return the budget with more room. Raises Invalid for an amount without a limit."""
    fields: dict[str, Any] = {}
    for name in ("tokens", "cost_usd", "wall_time"):
        more, most = getattr(add, name), getattr(budget, name)
        if more is not None and most is None:
            raise Invalid(f"The goal has no limit of {name}.", errors=[Fault(f"/add_budget/{name}", "has no limit")])
        fields[name] = most if more is None else most + more
        if fields[name] is not None and fields[name] > ids.MOST:
            raise Invalid(f"The limit of {name} is too large.", errors=[Fault(f"/add_budget/{name}", "is too large")])
    return GoalBudget(**fields)


def withdraw(goal: Goal | None, by: str) -> list[Draft]:
    """Return the draft that withdraws a question about the goal: a person has decided otherwise."""
    if goal is None or goal.question_id is None:
        return []
    return [
        events.QuestionAnswered(question_id=goal.question_id, outcome="cancelled", by=by).on(goal.session_id, by=by)
    ]
