"""What runs use: tokens, calls and US dollars, summed up."""

from __future__ import annotations

from kheish.domain import events
from kheish.domain.events import changed, frozen


@frozen
class Spent:
    """What a run has used so far."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    cost_usd: float | None = None
    estimated: bool = False  # some of it is counted from the characters, for a server that counted nothing


def added(spent: Spent, usage: events.Usage) -> Spent:
    """The sum with the tokens of one more answer, or of a failed attempt."""
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
