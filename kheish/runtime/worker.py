"""The worker, which takes runs from their sessions' queues and drives them, within the daemon's concurrency.

Its work is found in tables (runs with a matching status), after a restart exactly as live. It never scans all sessions:
`state.touched` names those with new entries since the last scan.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable

from kheish.beneath import pool
from kheish.domain import events, runs, workspaces
from kheish.domain.mailboxes import delivery
from kheish.domain.runs import Run, Status
from kheish.domain.turns import Turn
from kheish.errors import KheishError, StoreFailed, WorkspaceSlow
from kheish.runtime import loop
from kheish.runtime.agent import Agent, Stopped
from kheish.state.state import State

log = logging.getLogger(__name__)

_LOOK_SECONDS = 10.0  # after which an unresponsive folder counts as missing


class Worker:
    """The driver of runs, until `drain`."""

    def __init__(self, agent: Agent, on_waiting: Callable[[Run, bool], None] = lambda run, is_missing: None) -> None:
        """Create a worker.

        `on_waiting` is called with True when a run begins to wait for its workspace, and with False when it stops
        waiting.
        """
        self._agent = agent
        self._state: State = agent.state
        self._driving: dict[str, asyncio.Task[None]] = {}  # by run id
        self._by_route: Counter[str] = Counter()
        self._ready: dict[str, OrderedDict[str, None]] = {}  # by route: sessions that may have a run to start
        self._late: set[str] = set()  # runs whose wall time is over
        self._seen: set[str] = set()  # runs that this process has driven: they need no `run.resumed` for a restart
        self._parked: dict[str, str] = {}  # by session: the run whose workspace is missing
        self._on_waiting = on_waiting

    @property
    def driving(self) -> int:
        """Return the number of driven runs."""
        return len(self._driving)

    def look(self) -> None:
        """Start the runs that can start. It is called after each batch of entries, and when a run or a pause ends."""
        touched, self._state.touched = self._state.touched, {}
        for session_id in touched:
            run = runs.next_claim(self._state, session_id)
            if run is None:
                continue
            if run.run_id in self._driving:
                self._stop_if_asked(run)
            else:
                self._ready.setdefault(run.settings.route, OrderedDict())[session_id] = None
        if not (self._agent.stopping.is_set() or None in self._state.paused or self._state.failure):
            self._take_ready()

    def _take_ready(self) -> None:
        concurrency = self._state.definitions.config.concurrency
        for route, ready in list(self._ready.items()):
            if route in self._state.paused:
                continue
            while ready and len(self._driving) < concurrency.runs:
                if concurrency.per_route is not None and self._by_route[route] >= concurrency.per_route:
                    break
                run = runs.next_claim(self._state, ready.popitem(last=False)[0])
                if run is not None and run.run_id not in self._driving:
                    self._take(run)
            if not ready:
                del self._ready[route]

    def _take(self, run: Run) -> None:
        task = asyncio.create_task(self._drive(run.run_id), name=run.run_id)
        self._driving[run.run_id] = task
        self._by_route[run.settings.route] += 1
        task.add_done_callback(lambda _: self._done(run))

    def _done(self, run: Run) -> None:
        self._driving.pop(run.run_id, None)
        self._agent.release(run.run_id)
        self._by_route[run.settings.route] -= 1
        if run.session_id not in self._parked:
            self._state.touched[run.session_id] = None
        self.look()

    def retry(self) -> None:
        """Retry the runs that wait for their workspace. It is called periodically."""
        for session_id, run_id in list(self._parked.items()):
            run = self._state.find(Run, run_id)
            if run is None or run.is_final:
                self._unpark(session_id, run)
            self._state.touched[session_id] = None
        if self._state.touched:
            self.look()

    def _unpark(self, session_id: str, run: Run | None) -> None:
        if self._parked.pop(session_id, None) is not None and run is not None:
            self._on_waiting(run, False)

    async def _has_workspace(self, run: Run) -> bool:
        """Return whether the run's folder exists.

        It may be missing after a restore, or without its disk. A run that is to stop needs none.
        """
        is_there = await self._is_usable(run)
        if is_there or run.stop_requested:
            self._unpark(run.session_id, run)
            return True
        self._parked[run.session_id] = run.run_id
        self._on_waiting(run, True)
        return False

    async def _is_usable(self, run: Run) -> bool:
        """Return whether the run's folder responds. Raises WorkspaceNotAllowed if it is forbidden for sessions."""
        door = workspaces.door_of(self._state, run.settings.workspace)
        try:
            return await pool.within(_LOOK_SECONDS, door, workspaces.is_usable, door)
        except WorkspaceSlow:
            return False

    async def _drive(self, run_id: str) -> None:
        """Drive one stretch of a run.

        This is the one place that may catch any exception: an unforeseen one fails this run only.
        """
        state, agent = self._state, self._agent
        run, clock = state.get(Run, run_id), None
        try:
            if not await self._has_workspace(run):
                return
            run, claimed = state.get(Run, run_id), runs.next_claim(state, run.session_id)
            # During the check of its folder, it may have ended, or an answer put another run of the session before it;
            # `_done` checks again.
            if claimed is None or claimed.run_id != run_id:
                return
            clock = self._wind(run)
            self._begin(run)
            await agent.ready_tools(run)  # open calls may be those of servers
            await loop.advance(state, run_id, agent)
        except (Stopped, StoreFailed):
            return
        except asyncio.CancelledError:
            await self._cancelled(run_id)
        except KheishError as error:
            log.warning("run %s failed: %s", run_id, error.detail)
            self._fail(run_id, error.code, error.detail)
        except Exception as error:
            log.exception("run %s failed", run_id)
            self._fail(run_id, "internal", f"{type(error).__name__}: {error}")
        finally:
            if clock is not None:
                clock.cancel()

    def _wind(self, run: Run) -> asyncio.TimerHandle | None:
        """Return a timer that stops the run in the middle of a step when its wall time is over."""
        limit = run.settings.limits.wall_time
        if limit is None:
            return None
        return asyncio.get_running_loop().call_later(max(0.0, limit - run.active_seconds), self._overdue, run.run_id)

    def _overdue(self, run_id: str) -> None:
        task, run = self._driving.get(run_id), self._state.find(Run, run_id)
        if task is not None and (run is None or run.status not in runs.WAITING):
            self._late.add(run_id)
            task.cancel()

    def _begin(self, run: Run) -> None:
        if run.status is Status.RUNNING:
            if run.run_id not in self._seen:
                self._state.append(runs.step(self._state, run.run_id, events.RunResumed(reason="restart")))
        elif run.started_at is None:
            started = runs.step(self._state, run.run_id, events.RunStarted())
            self._state.append(started, *delivery.started(self._state, run))
        else:
            self._state.append(runs.step(self._state, run.run_id, events.RunResumed(reason="answered")))
        self._seen.add(run.run_id)

    def _fail(self, run_id: str, code: str, message: str) -> None:
        run = self._state.get(Run, run_id)
        with contextlib.suppress(StoreFailed):
            if not run.is_final:
                runs.fail(self._state, run_id, code, message)

    # --- stopping -----------------------------------------------------------------------------------------------------

    def _stop_if_asked(self, run: Run) -> None:
        """Stop a cancelled run at once, an interrupted one when none of its steps has an effect."""
        at_once = run.stop_requested == "cancelled" or run.run_id in self._agent.interruptible
        if run.stop_requested and at_once:
            self._driving[run.run_id].cancel()

    async def _cancelled(self, run_id: str) -> None:
        run = self._state.get(Run, run_id)
        is_late = run_id in self._late
        self._late.discard(run_id)
        if self._agent.stopping.is_set() or not (run.stop_requested or is_late):
            return  # the daemon stops: the journal holds where it continues
        turn = self._state.find(Turn, run_id)
        for call in turn.open_calls if turn else ():
            job = call.started.note.get("job") if call.started else None
            if job:
                await self._agent.jobs.stop(job)
        run = self._state.get(Run, run_id)
        if run.is_final:
            return
        if run.stop_requested:
            runs.stop(self._state, run_id)
        else:
            limit = run.settings.limits.wall_time
            runs.fail(self._state, run_id, "limit_exceeded", f"A limit of the run is reached (wall_time: {limit:g} s).")

    async def drain(self, grace: float) -> None:
        """Start no new step; give active steps `grace` seconds; leave the rest to the journal."""
        self._agent.stopping.set()
        self._agent.gates.wake()
        tasks = list(self._driving.values())
        if tasks:
            await asyncio.wait(tasks, timeout=grace)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
