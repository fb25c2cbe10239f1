"""The usage of runs: the sums of tokens, calls and US dollars."""

from __future__ import annotations

from kheish.domain import events
from kheish.domain.events import changed, frozen
from kheish.domain.shown import View


@frozen
class Spent(View):
    """Usage so far; `cost_usd` is null if a route has no price. `estimated`: some tokens are counted from the
    characters, because the server reported none."""

    shown_as = "RunUsage"
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    cost_usd: float | None = None
    estimated: bool = False


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
