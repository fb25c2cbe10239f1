"""The steps of goals: each decision of the rules is one group of entries, with the run that it starts.

A kill before the group is durable leaves nothing of it, and a kill after it leaves all: the folded goal then has its
run, so that the rules start no second one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kheish import ids
from kheish.domain import completion, events, intake
from kheish.domain.events import CONTINUATION, GOAL_QUESTION, Draft, GoalPurpose, Item, Option, QuestionItem
from kheish.domain.goals import goal as goals, rules, text
from kheish.domain.goals.goal import Goal
from kheish.domain.sessions.session import Session
from kheish.errors import InsufficientStorage, KheishError, StoreFailed

if TYPE_CHECKING:
    from kheish.state.state import State

ACTOR = "goal"
#: the limits of the wrap-up run, which is beyond the budget
_WRAP_UP = {"turns": 5, "wall_time": 300.0}
#: steps after each other without a run between: a submission that is refused, then its backoff
_STEPS = 8


def advance(state: State, session_id: str, now: float) -> float | None:
    """Take the next steps of a loaded session's goal, and return the time of the next look, if one is known.

    Raises InsufficientStorage, StoreFailed.
    """
    for _ in range(_STEPS):
        goal, session = goals.find(state, session_id), state.get(Session, session_id)
        if goal is None or session.ended_at is not None:
            return None
        is_idle = session.active is None and not session.queued
        step = rules.next_step(goal, is_idle=is_idle, now=now)
        match step:
            case None:
                return None
            case rules.Wait(until=until):
                return until
            case rules.Pause(why=why, asks=asks):
                state.append(*_pause(goal, why, asks=asks))
            case rules.Complete():
                state.append(events.GoalCompleted(why=goal.claim_why).on(session_id))
            case rules.Start(purpose=purpose):
                _start(state, session, goal, purpose)
    return now + goals.BACKOFF


def _pause(goal: Goal, why: str, *, asks: bool) -> list[Draft]:
    if not asks or not goal.runs:
        return [events.GoalPaused(why=why).on(goal.session_id)]
    options = (
        Option(id="a", label="Continue", description="The goal is resumed; a text of yours is shown to the agent."),
        Option(id="b", label="Leave it paused", description="You can resume it later, or change it."),
    )
    item = QuestionItem(
        id="q1",
        header="Goal",
        text=f"The goal made no progress in {goal.idle} runs, and is paused. How should it continue?\n\n"
        f"{goal.objective}",
        options=options,
        free_text=True,
    )
    id = ids.new("q")
    asked = events.QuestionAsked(
        question_id=id, call_id=GOAL_QUESTION, questions=(item,), purpose=GOAL_QUESTION, run_id=goal.runs[-1]
    )
    return [asked.on(goal.session_id), events.GoalPaused(why=why, question_id=id).on(goal.session_id)]


def _start(state: State, session: Session, goal: Goal, purpose: GoalPurpose) -> None:
    """Submit the next run in one group with its claim. A refused submission counts as a failed run."""
    limited = [events.GoalLimited(limit=goal.limit or "").on(goal.session_id)] if purpose == "wrap_up" else []
    given = _input(session, goal, purpose)
    claimed = events.GoalContinued(number=goal.number + 1, run_id=given.run_id or "", purpose=purpose)
    try:
        intake.submit(state, given, by=ACTOR, beside=[*limited, claimed.on(goal.session_id)])
    except (InsufficientStorage, StoreFailed):
        raise
    except KheishError as error:
        state.append(*limited, events.GoalDelayed(error=f"{error.code}: {error.detail}").on(goal.session_id))


def _input(session: Session, goal: Goal, purpose: GoalPurpose) -> intake.Input:
    left = goal.budget.wall_time - goal.usage.seconds if goal.budget.wall_time is not None else None
    limits = _WRAP_UP if purpose == "wrap_up" else {"wall_time": left} if left is not None else None
    given = intake.Input(
        session_id=goal.session_id,
        items=(Item(text=text.of(goal, purpose)),),
        actor=ACTOR,
        source="goal",
        kind=CONTINUATION,
        metadata={"goal_id": goal.goal_id, "purpose": purpose, "number": goal.number + 1},
        budget=limits,
        completion=tuple(completion.written(one) for one in goal.completion) if purpose == "check" else (),
        checks_ask=goal.checks_ask,
        run_id=ids.new("run"),
        unattended="deny" if goal.unattended else "ask",
    )
    # An input contract is for callers, and the schemas of the requirement were checked when it was set.
    return replace(given, checked=intake.schemas_key(session, given))
