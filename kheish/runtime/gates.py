"""Gates, which delay steps: pause, concurrent model calls of a route, requests and tokens per minute."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from kheish.domain.routes import RouteLimits
from kheish.state.state import State

WINDOW = 60.0  # seconds: limits are "a minute"


@dataclass(slots=True)
class _Lane:
    """The calls of one route: their start, their tokens, and the waiting calls."""

    begun: deque[float] = field(default_factory=deque)
    tokens: deque[tuple[float, int]] = field(default_factory=deque)
    under_way: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class Gates:
    """The gates of one daemon. `wake` is called at each pause and resume."""

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}
        self._resumed = asyncio.Event()

    def wake(self) -> None:
        """Wake all waiting steps to check again, after a resume or at a stop."""
        self._resumed.set()
        self._resumed = asyncio.Event()

    async def unpaused(self, state: State, route: str, stopping: asyncio.Event) -> None:
        """Wait while everything or this route is paused."""
        while (None in state.paused or route in state.paused) and not stopping.is_set():
            await self._resumed.wait()

    @asynccontextmanager
    async def call(self, route: str, limits: RouteLimits, per_route: int | None) -> AsyncIterator[_Lane]:
        """Hold a place on the route for one model call. The caller sets the lane's `tokens` to the usage."""
        lane = self._lanes.setdefault(route, _Lane())
        at_once = min((limit for limit in (limits.concurrency, per_route) if limit is not None), default=None)
        while (delay := _wait(lane, limits, at_once)) is not None:
            lane.changed.clear()
            try:
                await asyncio.wait_for(lane.changed.wait(), delay)
            except TimeoutError:
                continue
        lane.under_way += 1
        if limits.requests_per_minute is not None:
            lane.begun.append(time.monotonic())
        try:
            yield lane
        finally:
            lane.under_way -= 1
            lane.changed.set()


def used(lane: _Lane, limits: RouteLimits, tokens: int) -> None:
    """Count the tokens of a finished call against the route's minute."""
    if limits.tokens_per_minute is not None:
        lane.tokens.append((time.monotonic(), tokens))


def _wait(lane: _Lane, limits: RouteLimits, at_once: int | None) -> float | None:
    """Return the seconds until a call may fit (or something changes); None if it fits now."""
    now = time.monotonic()
    while lane.begun and lane.begun[0] <= now - WINDOW:
        lane.begun.popleft()
    while lane.tokens and lane.tokens[0][0] <= now - WINDOW:
        lane.tokens.popleft()
    if at_once is not None and lane.under_way >= at_once:
        return WINDOW
    if limits.requests_per_minute is not None and len(lane.begun) >= limits.requests_per_minute:
        return lane.begun[0] + WINDOW - now
    if limits.tokens_per_minute is not None and sum(count for _, count in lane.tokens) >= limits.tokens_per_minute:
        return lane.tokens[0][0] + WINDOW - now
    return None
