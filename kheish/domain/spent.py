"""The usage of runs: the sums of tokens, calls and US dollars."""

from __future__ import annotations

from kheish.domain import events
from kheish.domain.events import Spent as Spent, changed, frozen
from kheish.domain.shown import View

NOTHING = Spent()


@frozen
class SpentTree(View):
    """Usage of the run so far, and of the agents that it spawned."""

    shown_as = "RunTreeUsage"
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    model_calls: int
    tool_calls: int
    cost_usd: float | None
    estimated: bool
    own: Spent
    subtree: Spent
    """With the usage of all agents below it."""


def added(spent: Spent, usage: events.Usage) -> Spent:
    """Return the sum with the tokens of another answer or failed attempt."""
    cost = spent.cost_usd
    if usage.cost_usd is not None:
        cost = (cost or 0.0) + usage.cost_usd
    return changed(
        spent,
        input_tokens=spent.input_tokens + usage.input_tokens,
        output_tokens=spent.output_tokens + usage.output_tokens,
        cached_tokens=spent.cached_tokens + usage.cached_tokens,
        cost_usd=cost,
        estimated=spent.estimated or usage.estimated,
    )


def total(*parts: Spent) -> Spent:
    """Return the sum of several amounts."""
    first, *rest = parts or (Spent(),)
    for one in rest:
        first = Spent(
            input_tokens=first.input_tokens + one.input_tokens,
            output_tokens=first.output_tokens + one.output_tokens,
            cached_tokens=first.cached_tokens + one.cached_tokens,
            model_calls=first.model_calls + one.model_calls,
            tool_calls=first.tool_calls + one.tool_calls,
            cost_usd=_cost(first, one, 1),
            estimated=first.estimated or one.estimated,
        )
    return first


def since(now: Spent, before: Spent) -> Spent:
    """Return what was spent after an earlier amount."""
    return Spent(
        input_tokens=now.input_tokens - before.input_tokens,
        output_tokens=now.output_tokens - before.output_tokens,
        cached_tokens=now.cached_tokens - before.cached_tokens,
        model_calls=now.model_calls - before.model_calls,
        tool_calls=now.tool_calls - before.tool_calls,
        cost_usd=_cost(now, before, -1),
        estimated=now.estimated,
    )


def _cost(one: Spent, other: Spent, sign: int) -> float | None:
    if one.cost_usd is None and other.cost_usd is None:
        return None
    return (one.cost_usd or 0.0) + sign * (other.cost_usd or 0.0)


def tree(own: Spent, below: Spent) -> SpentTree:
    """Return an amount with what all spawned agents spent."""
    return SpentTree(
        input_tokens=own.input_tokens,
        output_tokens=own.output_tokens,
        cached_tokens=own.cached_tokens,
        model_calls=own.model_calls,
        tool_calls=own.tool_calls,
        cost_usd=own.cost_usd,
        estimated=own.estimated,
        own=own,
        subtree=own if below == NOTHING else total(own, below),
    )
