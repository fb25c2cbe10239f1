"""The base of reactors, which find work at the start, react to durable entries, and tick every second."""

from __future__ import annotations

from collections.abc import Sequence

from kheish.state.encoding import Recorded


class Reactor:
    """A reactor that does nothing. Subclasses override what they need; all methods run on the event loop."""

    async def prepare(self) -> None:
        """Clean up after an earlier daemon. Called before the first entry is appended, and so before runs continue."""

    async def start(self) -> None:
        """Find open work in the index. Called once, when the daemon is ready."""

    def heard(self, batch: Sequence[Recorded]) -> None:
        """React to a durable batch. Called from the first entry on, also before `start`."""

    async def tick(self, now: str) -> None:
        """Do the work that is due; called every second with a timestamp."""

    async def close(self) -> None:
        """Stop, and wait for work in progress."""
