"""Removal of the folders of jobs that are no longer needed.

A call removes its job when its result is durable, a background command its own (`tasks.py`). What is left over belongs
to runs that ended otherwise (cancelled, failed, killed between two steps), and goes with them; at the start with what
earlier daemons left.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from kheish.daemon.reactors.base import Reactor
from kheish.domain import events, runs
from kheish.domain.events import Entry
from kheish.domain.tasks import task as tasks
from kheish.errors import KheishError
from kheish.jobs import runner
from kheish.jobs.commands import Commands
from kheish.jobs.runner import Jobs, JobState
from kheish.runtime.workers.pool import Workers
from kheish.state.encoding import Recorded
from kheish.state.state import State

log = logging.getLogger(__name__)


class Clearing(Reactor):
    """Holds which jobs each run has a folder of."""

    def __init__(self, state: State, here: Jobs, jobs: Commands, workers: Workers | None = None) -> None:
        self._state = state
        self._here = here
        self._jobs = jobs
        self._workers = workers
        self._of: defaultdict[str, set[str]] = defaultdict(set)  # by run id
        self._under_way: set[asyncio.Task[None]] = set()

    async def prepare(self) -> None:
        """Clear leftovers of earlier daemons, and keep what open runs may still need; those of workers as they are
        connected."""
        if self._workers is not None:
            self._workers.on_connected.append(self._greet)
        left = await asyncio.to_thread(self._look)
        if left:
            self._spawn(left, "what earlier daemons left")

    def _look(self) -> list[str]:
        """Remove what nothing runs in; returns the jobs of ended runs that run still."""
        runner.tidy(self._here.root)
        left: list[str] = []
        for job in self._here.list():
            if self._is_needed(job, runner.owner(self._here, job)):
                continue
            if self._here.state(job) is JobState.RUNNING:
                left.append(job)
            else:
                self._remove(job)
        return left

    def _is_needed(self, job: str, run_id: str) -> bool:
        """Return whether an open task or run may need a job; one without an owner is another part's. Blocks on disk."""
        task = self._state.index.thing("task", tasks.id_of(job))
        if task is not None:
            return task["status"] not in tasks.FINAL
        run = self._state.index.thing("run", run_id) if run_id else None
        if run is not None and run["status"] not in runs.FINAL:
            self._of[run["run_id"]].add(job)
            return True
        return not run_id

    def _select_left(self, owners: Mapping[str, str]) -> list[str]:
        return [job for job, run_id in owners.items() if not self._is_needed(job, run_id)]

    def _greet(self, worker: str) -> None:
        """Clear what is left on a worker that was connected."""
        task = asyncio.create_task(self._clear_worker(worker), name=f"clear {worker}")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _clear_worker(self, worker: str) -> None:
        assert self._workers is not None
        try:
            owners = await self._workers.jobs(worker).owners()
            left = await asyncio.to_thread(self._select_left, owners)
        except KheishError as error:
            log.warning("what is left on the worker %s is not known: %s", worker, error)
            return
        await self._clear(left)

    def heard(self, batch: Sequence[Recorded]) -> None:
        """Follow jobs: made, become a task's, removed with their call's result; clear them when their run has ended."""
        for item in batch:
            self._follow(item.entry)

    def _follow(self, entry: Entry) -> None:
        run_id = entry.run or ""
        match entry.event:
            case events.ToolStarted(note={"job": str(job)}):
                self._of[run_id].add(job)
            case events.ToolFinished(detail={"job": str(job)}) | events.TaskCreated(shell=events.ShellTask(job=job)):
                self._of[run_id].discard(job)
            case events.RunCompleted() | events.RunFailed() | events.RunCancelled() | events.RunInterrupted():
                left = self._of.pop(run_id, None)
                if left:
                    self._spawn(left, run_id)

    async def close(self) -> None:
        """Wait for removals in progress."""
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def _spawn(self, jobs: Iterable[str], of: str) -> None:
        task = asyncio.create_task(self._clear(jobs), name=f"clear {of}")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _clear(self, jobs: Iterable[str]) -> None:
        """End what still runs, since its run has ended, and remove all. A runner is alive for a moment after the end
        of its command, and until then its folder cannot go."""
        for job in jobs:
            try:
                if await self._jobs.look(job) is JobState.RUNNING:
                    await self._jobs.stop(job)
                await self._jobs.drop(job)
            except (KheishError, OSError) as error:  # the next start looks again
                log.warning("%s could not be ended and removed: %s", job, error)

    def _remove(self, job: str) -> None:
        try:
            self._here.remove(job)
        except (KheishError, OSError) as error:  # the next start looks again
            log.warning("the folder of %s cannot be removed: %s", job, error)
