"""Copies of workspaces on workers: what stopped runs changed there is brought back, and copies of no use are removed.

A worker has the list of the runs that hold its copies. It is asked when it is connected, when a session ends, and once
a day.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Sequence
from typing import Any

from kheish.daemon.reactors.base import Reactor
from kheish.domain import events
from kheish.domain.events import Entry
from kheish.domain.sessions.session import Session
from kheish.errors import KheishError
from kheish.runtime.workers.carrying import Carrying
from kheish.runtime.workers.pool import Workers
from kheish.state.encoding import Recorded
from kheish.state.state import State

log = logging.getLogger(__name__)

_EVERY = 86400.0  # seconds


class Copies(Reactor):
    """Holds which runs have a copy of their workspace on which worker."""

    def __init__(self, state: State, carrying: Carrying, workers: Workers) -> None:
        self._state = state
        self._carrying = carrying
        self._workers = workers
        self._at: dict[str, str] = {}  # by run
        self._under_way: set[asyncio.Task[None]] = set()
        self._sessions: set[str] = set()  # those with such a run, in the life of this daemon
        self._tidying: set[str] = set()
        self._again: set[str] = set()
        self._pruned = 0.0

    async def prepare(self) -> None:
        """Ask each worker as it is connected."""
        self._workers.on_connected.append(self._tidy)

    def heard(self, batch: Sequence[Recorded]) -> None:
        """Follow the runs on workers, and the ends of sessions."""
        for item in batch:
            self._follow(item.entry)

    def _follow(self, entry: Entry) -> None:
        run_id = entry.run or ""
        match entry.event:
            case events.RunWorkspacePlaced(worker=worker):
                self._at[run_id] = worker
                self._sessions.add(entry.session or "")
            case events.RunCompleted():
                self._at.pop(run_id, None)
            case events.RunFailed() | events.RunCancelled() | events.RunInterrupted():
                if (at := self._at.pop(run_id, None)) is not None:
                    self._spawn(self._carrying.settle(at, run_id), f"the result of {run_id}")
            case events.SessionEnded() if entry.session is not None and self._may_have_copy(entry.session):
                self._sessions.discard(entry.session)
                self._tidy_all()

    def _may_have_copy(self, session_id: str) -> bool:
        session = self._state.find(Session, session_id)
        return session_id in self._sessions or (session is not None and session.worker is not None)

    def _tidy_all(self) -> None:
        for worker, health in self._workers.health().items():
            if health.status == "connected":
                self._tidy(worker)

    def _tidy(self, worker: str) -> None:
        if worker in self._tidying:
            self._again.add(worker)
            return
        self._tidying.add(worker)
        self._spawn(self._tidied(worker), f"the copies on {worker}")

    async def _tidied(self, worker: str) -> None:
        try:
            held = await self._carrying.tidy(worker)
        finally:
            self._tidying.discard(worker)
        self._at |= dict.fromkeys(held, worker)
        if worker in self._again:
            self._again.discard(worker)
            self._tidy(worker)

    async def tick(self, now: str) -> None:
        """Remove what was not used for long, once a day."""
        if time.monotonic() > self._pruned + _EVERY or not self._pruned:
            self._pruned = time.monotonic()
            self._spawn(self._carrying.prune(), "old depots")
            self._tidy_all()

    async def close(self) -> None:
        """Leave what is under way to the next daemon."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None], what: str) -> None:
        task = asyncio.create_task(self._guarded(work, what), name=what)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _guarded(self, work: Coroutine[Any, Any, None], what: str) -> None:
        try:
            await work
        except (KheishError, OSError) as error:  # the next connection looks again
            log.warning("%s: %s", what, error)
