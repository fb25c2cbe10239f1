"""The usage of a goal: tokens, US dollars, and the time in which runs work. It only grows."""

from __future__ import annotations

from typing import Any

from kheish import ids
from kheish.domain import events, spent
from kheish.domain.events import Event, GoalBudget, changed, frozen
from kheish.domain.spent import NOTHING, Spent

#: seconds before the end of the time at which it counts as over: the clock of a run is no more exact
_SLACK = 0.5


@frozen
class Usage:
    """The usage of a goal; `running_since` is the time since which a run works."""

    spent: Spent = NOTHING
    seconds: float = 0.0
    running_since: str | None = None

    def reached(self, budget: GoalBudget, more: Spent = NOTHING) -> str | None:
        """Return the name of the first limit that is used up, with an amount that is not counted yet."""
        used = spent.total(self.spent, more)
        amounts = (
            ("tokens", budget.tokens, used.input_tokens + used.output_tokens),
            ("cost_usd", budget.cost_usd, used.cost_usd or 0.0),
            ("wall_time", budget.wall_time, self.seconds + _SLACK),
        )
        return next((name for name, most, amount in amounts if most is not None and amount >= most), None)


def charged(usage: Usage, event: Any) -> Usage:
    """Return the usage with a model call, a summary, or what an agent below has spent."""
    if isinstance(event, events.ChildSettled):
        return changed(usage, spent=spent.total(usage.spent, event.spent))
    return changed(usage, spent=spent.added(usage.spent, event.usage))


def charge(usage: Usage, event: Event, at: str, *, counts: bool) -> Usage:
    """Return the usage after a run began to work, or stopped. A restart does not count the time between."""
    if isinstance(event, events.RunStarted | events.RunResumed):
        return changed(usage, running_since=at) if counts else usage
    if usage.running_since is None:
        return usage
    ran = max(0.0, ids.seconds_of(at) - ids.seconds_of(usage.running_since))
    return changed(usage, seconds=usage.seconds + ran, running_since=None)
