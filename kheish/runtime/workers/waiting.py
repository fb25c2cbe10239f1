"""Waiting of runs for their workers: while a call of a run is open and its connection is lost, the journal says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from kheish.domain import events
from kheish.domain.runs import Run
from kheish.errors import StoreFailed
from kheish.runtime.workers.connection import Connection, Health
from kheish.state.state import State

#: seconds of a lost connection before it is journaled: most are back sooner
GRACE = 1.0


@asynccontextmanager
async def noted(state: State, session_id: str | None, run_id: str | None, link: Connection) -> AsyncIterator[None]:
    """Note the loss and the return of the connection in the run's journal, while its call is open."""
    if session_id is None or run_id is None:
        yield
        return
    note = _Note(state, session_id, run_id, link)
    note.look(link.health)
    unwatch = link.watch(note.look)
    try:
        yield
    finally:
        unwatch()
        note.end()


class _Note:
    """The notes in the journal about one run's worker."""

    def __init__(self, state: State, session_id: str, run_id: str, link: Connection) -> None:
        self._state, self._session_id, self._run_id, self._link = state, session_id, run_id, link
        self._timer: asyncio.TimerHandle | None = None

    def look(self, health: Health) -> None:
        """Note a change: a return at once, a loss after a while."""
        if health.status == "connected":
            self.end()
        elif self._timer is None and health.status != "closed":
            self._timer = asyncio.get_running_loop().call_later(GRACE, self._lose)

    def end(self) -> None:
        """Note that the run does not wait any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        run = self._state.find(Run, self._run_id)
        if run is not None and run.lost_worker is not None and not run.is_final:
            self._append(events.RunWorkerFound(worker=self._link.worker))

    def _lose(self) -> None:
        run, health = self._state.find(Run, self._run_id), self._link.health
        if run is not None and run.lost_worker is None and not run.is_final:
            self._append(events.RunWorkerLost(worker=self._link.worker, reason=health.reason[:500]))

    def _append(self, event: events.Event) -> None:
        with suppress(StoreFailed):  # the daemon ends; the next one notes it
            self._state.append(event.on(self._session_id, self._run_id))
