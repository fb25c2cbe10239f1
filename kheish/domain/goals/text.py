"""The text of each run of a goal: for the next step, for the check of a claim, and for the wrap-up at the budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kheish.domain import completion
from kheish.domain.events import GoalPurpose
from kheish.domain.goals.goal import Goal

_HEADS: Mapping[GoalPurpose, str] = {
    "work": "Continue with the goal of this session.",
    "check": "You have claimed that the goal of this session is complete. Check it once more against the requirement.",
    "wrap_up": "The budget of this session's goal is used up, and this is its last run. Begin nothing new: write down "
    "what is done, what is left, and the next step.",
}
_TAILS: Mapping[GoalPurpose, str] = {
    "work": "Before you end this turn, call update_goal: with status working and the next step (and wait_until, if you "
    "wait for something), or with status complete once everything is done. Without tool use and without a next step, "
    "the goal is paused after two turns.",
    "check": "If it is complete, give your final answer: the daemon then checks the requirement. Otherwise call "
    "update_goal with status working and the next step.",
    "wrap_up": "A person may raise the budget later; the work then continues with your next step.",
}


def of(goal: Goal, purpose: GoalPurpose) -> str:
    """Return the text of the next run."""
    return "\n\n".join(_parts(goal, purpose))


def _parts(goal: Goal, purpose: GoalPurpose) -> Iterator[str]:
    yield _HEADS[purpose]
    yield f"Objective:\n{goal.objective}"
    if goal.completion:
        yield "Complete when:\n" + "\n".join(f"- {completion.words(one)}" for one in goal.completion)
    if goal.next is not None:
        yield f"Your next step, as declared:\n{goal.next}"
    if goal.note is not None:
        yield f"A person answered about the goal:\n{goal.note}"
    if goal.last_error is not None:
        yield f"The last run failed:\n{goal.last_error}"
    if used := budget(goal):
        yield f"Budget: {used}."
    yield _TAILS[purpose]


def budget(goal: Goal) -> str:
    """Return the usage of each limited amount in words; empty without a limit."""
    used, limits = goal.usage.spent, goal.budget
    amounts = (
        ("tokens", limits.tokens, used.input_tokens + used.output_tokens),
        ("US dollars", limits.cost_usd, used.cost_usd or 0.0),
        ("seconds", limits.wall_time, goal.usage.seconds),
    )
    return ", ".join(f"{amount:g} of {most:g} {unit} used" for unit, most, amount in amounts if most is not None)
