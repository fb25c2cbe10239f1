"""Amounts of usage, as events have them."""

from __future__ import annotations

from kheish.state.event import frozen


@frozen
class Usage:
    """The cost of one answer. `cost_usd` is None for a route without a price; `estimated`: the server counted nothing,
    so tokens are estimated from characters."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost_usd: float | None = None
    estimated: bool = False


@frozen
class Spent:
    """The usage of a run so far."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    cost_usd: float | None = None
    estimated: bool = False  # partly estimated from characters, for a server that counted nothing
