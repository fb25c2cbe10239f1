"""Long polls: wait until a run ends or waits for somebody, over one listener for all who wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from kheish.api.services import Services
from kheish.domain import runs
from kheish.domain.runs import Run
from kheish.store.bus import Frame

#: the events after which a caller who waits may have something to do
STOPS = frozenset({"run.completed", "run.failed", "run.cancelled", "run.interrupted", "run.waiting"})


class Waits:
    """Who waits for which run."""

    def __init__(self, parts: Services) -> None:
        self._parts = parts
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._stop: Callable[[], None] | None = None

    async def settled(self, run_id: str, timeout: float) -> None:
        """Return when the run has ended or waits, after `timeout` seconds, or when the daemon stops."""
        if self._parts.closing.begun or self._is_settled(run_id):
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(run_id, set()).add(future)
        if self._stop is None:
            self._stop = self._parts.bus.listen(self._look)
        forget = self._parts.closing.then(lambda: _wake({future}))
        try:
            await asyncio.wait((future,), timeout=timeout)
        finally:
            forget()
            self._leave(run_id, future)

    def _is_settled(self, run_id: str) -> bool:
        run = self._parts.state.find(Run, run_id)
        return run is None or run.is_final or run.status in runs.WAITING

    def _look(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            if frame.kind in STOPS and frame.run in self._waiting:
                _wake(self._waiting[frame.run])

    def _leave(self, run_id: str, future: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(run_id, set())
        waiting.discard(future)
        if not waiting:
            self._waiting.pop(run_id, None)
        if not self._waiting and self._stop is not None:
            self._stop()
            self._stop = None


def _wake(futures: set[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)
