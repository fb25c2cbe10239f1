"""Workers: their load for placement, a problem while one is not reachable or lacks its file, a fresh connection when a
file changes."""

from __future__ import annotations

import time
from collections.abc import Sequence

from kheish.authoring.problems import Problems
from kheish.daemon.reactors.base import Reactor
from kheish.daemon.spawning import spawn
from kheish.domain import events
from kheish.domain.definitions import KINDS
from kheish.domain.workers import placement
from kheish.runtime.workers.pool import Workers as Pool
from kheish.state.encoding import Recorded
from kheish.state.state import State

LOST, REMOVED = "worker_unreachable", "worker_removed"
#: seconds without a connection before it is a problem for people
_PATIENCE = 30.0
_EVERY = 10.0  # seconds between looks whether sessions still name a removed worker
_FOLDER = "workers/"
_UNREACHED = ("connecting", "lost")


class Workers(Reactor):
    """The workers of a daemon as placement and people see them."""

    def __init__(self, state: State, pool: Pool, problems: Problems) -> None:
        self._state = state
        self._pool = pool
        self._problems = problems
        self._reported: dict[str, str] = {}
        self._removed: dict[str, bool] = {}  # by worker: whether its problem is reported
        self._looked = 0.0

    def heard(self, batch: Sequence[Recorded]) -> None:
        """Replace the connections of workers whose file has changed."""
        for item in batch:
            event = item.entry.event
            if isinstance(event, events.DefinitionChanged) and event.path.startswith(_FOLDER):
                worker = event.path.removeprefix(_FOLDER).removesuffix(KINDS["workers"].suffix)
                self._removed.setdefault(worker, False)
                self._looked = 0.0
                spawn(self._pool.renew(worker))

    async def tick(self, now: str) -> None:
        """Note the load of each worker, and report those that are not reachable."""
        loads, lost = placement.loads_of(self._state), dict[str, str]()
        for worker, health in self._pool.health().items():
            is_reachable = {"connected": True, "lost": False}.get(health.status)
            loads.note(worker, jobs=self._pool.open_calls(worker), is_reachable=is_reachable)
            if health.status in _UNREACHED and health.reason and time.time() - health.since > _PATIENCE:
                lost[worker] = f"The worker {worker} is not reachable: {health.reason} It is tried again and again."
        if lost != self._reported:
            self._problems.clear(LOST)
            for worker, text in lost.items():
                self._problems.add(LOST, KINDS["workers"].path(worker), text)
            self._reported = lost
        if self._removed and time.monotonic() - self._looked > _EVERY:
            self._looked = time.monotonic()
            await self._look_for_users()

    async def _look_for_users(self) -> None:
        """Report the removed workers that sessions still name, until the file is back or they have ended."""
        for worker, is_reported in list(self._removed.items()):
            path, is_back = KINDS["workers"].path(worker), worker in self._state.definitions.by_kind["workers"]
            many = 0 if is_back else await placement.in_use(self._state, worker)
            if many and not is_reported:
                self._problems.add(
                    REMOVED,
                    path,
                    f"The worker {worker} has no file any more, and open sessions ({many}) work there: their runs "
                    "fail. Put the file back, or end the sessions.",
                )
                self._removed[worker] = True
            elif not many:
                del self._removed[worker]
                if is_reported:
                    self._problems.clear(REMOVED, path)
