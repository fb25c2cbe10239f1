"""What acts by itself: it finds its work at the start, reacts to durable entries, and is called every second."""

from __future__ import annotations

from collections.abc import Sequence

from kheish.state.encoding import Recorded


class Reactor:
    """A reactor that does nothing. Each overrides what it needs; all of it runs on the event loop."""

    async def start(self) -> None:
        """Find open work in the index. Called once, before runs continue."""

    def heard(self, batch: Sequence[Recorded]) -> None:
        """React to a durable batch. Called from the first entry on, also before `start`."""

    async def tick(self, now: str) -> None:
        """Do what is due. Called every second; `now` is a timestamp."""

    async def close(self) -> None:
        """Stop; wait for what is under way."""
