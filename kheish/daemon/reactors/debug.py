"""Removal of debug artifacts: those that are old, and those of deleted sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from kheish.daemon.reactors.base import Reactor
from kheish.domain import events
from kheish.runtime.debug.capture import Capture
from kheish.state.encoding import Recorded

#: ticks (seconds) between two looks
_EVERY = 600


class Debug(Reactor):
    """Removes artifacts; nothing else reads them all."""

    reacts_to = frozenset((events.SessionDeleted,))

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        self._ticks = 0
        self._removing: set[asyncio.Task[None]] = set()

    def heard(self, batch: Sequence[Recorded]) -> None:
        """Remove the artifacts of deleted sessions."""
        for item in batch:
            if isinstance(item.entry.event, events.SessionDeleted):
                self._spawn(item.entry.event.session_id)

    def _spawn(self, session_id: str) -> None:
        task = asyncio.create_task(self._capture.remove_session(session_id))
        self._removing.add(task)
        task.add_done_callback(self._removing.discard)

    async def tick(self, now: str) -> None:
        """Remove old artifacts from time to time, and at the start."""
        if self._ticks % _EVERY == 0:
            await self._capture.remove_old()
        self._ticks += 1

    async def close(self) -> None:
        """Wait until deleted sessions have left nothing."""
        await asyncio.gather(*self._removing, return_exceptions=True)
