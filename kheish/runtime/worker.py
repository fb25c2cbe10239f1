"""The worker: takes runs from their sessions' queues and drives them, within the daemon's concurrency.

What is to be done is found in tables (runs whose status says so), after a restart exactly as live. It never looks at
all sessions: `state.touched` names those with new entries since it last looked.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict

from kheish.domain import events, runs
from kheish.domain.runs import Run, Status
from kheish.domain.state import State
from kheish.domain.turns import Turn
from kheish.errors import KheishError, StoreFailed
from kheish.runtime import endings, loop
from kheish.runtime.agent import Agent, Stopped

log = logging.getLogger(__name__)


class Worker:
    """Drives runs until `drain`."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._state: State = agent.state
        self._driving: dict[str, asyncio.Task[None]] = {}  # by run id
        self._ready: OrderedDict[str, None] = OrderedDict()  # sessions that may have a run to take
        self._seen: set[str] = set()  # runs that this process has driven: they need no `run.resumed` for a restart

    @property
    def driving(self) -> int:
        """How many runs are at work now."""
        return len(self._driving)

    def look(self) -> None:
        """Take what can be taken. Called after each batch of entries, and when a run or a pause ends."""
        touched, self._state.touched = self._state.touched, {}
        for session_id in touched:
            self._ready[session_id] = None
            self._ready.move_to_end(session_id)
        if self._agent.stopping.is_set() or None in self._state.paused or self._state.failure:
            return
        limit = self._state.definitions.config.concurrency.runs
        for session_id in list(self._ready):
            run = runs.next_claim(self._state, session_id)
            if run is not None and run.run_id in self._driving:
                self._stop_if_asked(run)
            if run is None or run.run_id in self._driving:
                del self._ready[session_id]
            elif len(self._driving) < limit:
                del self._ready[session_id]
                self._take(run)

    def _take(self, run: Run) -> None:
        task = asyncio.create_task(self._drive(run.run_id), name=run.run_id)
        self._driving[run.run_id] = task
        task.add_done_callback(lambda _: self._done(run))

    def _done(self, run: Run) -> None:
        self._driving.pop(run.run_id, None)
        self._state.touched[run.session_id] = None
        self.look()

    async def _drive(self, run_id: str) -> None:
        """One stretch of a run. The one place that may catch anything: what is unforeseen fails this run only."""
        state, agent = self._state, self._agent
        run = state.get(Run, run_id)
        try:
            self._begin(run)
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

    def _begin(self, run: Run) -> None:
        if run.status is Status.RUNNING:
            if run.run_id not in self._seen:
                self._state.append(runs.step(self._state, run.run_id, events.RunResumed(reason="restart")))
        elif run.started_at is None:
            self._state.append(runs.step(self._state, run.run_id, events.RunStarted()))
        else:
            self._state.append(runs.step(self._state, run.run_id, events.RunResumed(reason="answered")))
        self._seen.add(run.run_id)

    def _fail(self, run_id: str, code: str, message: str) -> None:
        run = self._state.get(Run, run_id)
        with contextlib.suppress(StoreFailed):
            if not run.is_final:
                endings.fail(self._state, run, code, message)

    # --- stopping -----------------------------------------------------------------------------------------------------

    def _stop_if_asked(self, run: Run) -> None:
        """A cancelled run is stopped at once; an interrupted one where nothing of it has an effect."""
        at_once = run.stop_requested == "cancelled" or run.run_id in self._agent.interruptible
        if run.stop_requested and at_once:
            self._driving[run.run_id].cancel()

    async def _cancelled(self, run_id: str) -> None:
        run = self._state.get(Run, run_id)
        if self._agent.stopping.is_set() or not run.stop_requested:
            return  # the daemon stops: the journal says where it goes on
        turn = self._state.find(Turn, run_id)
        for call in turn.open_calls if turn else ():
            job = call.started.note.get("job") if call.started else None
            if job:
                await self._agent.jobs.stop(job)
        if not run.is_final:
            endings.stop(self._state, self._state.get(Run, run_id))

    async def drain(self, grace: float) -> None:
        """Start no new step; give those under way `grace` seconds; leave the rest to the journal."""
        self._agent.stopping.set()
        self._agent.gates.wake()
        tasks = list(self._driving.values())
        if tasks:
            await asyncio.wait(tasks, timeout=grace)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
