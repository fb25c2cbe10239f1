"""Follows background commands to their end, and journals it; those too that an earlier daemon left.

Costs one small coroutine for each command that runs, and nothing for sessions; a session is loaded when its command has
ended. Ending the daemon leaves the commands to their runners.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from kheish.daemon.reactors.base import Reactor
from kheish.domain import events, tasks
from kheish.domain.events import Entry, ShellEnding
from kheish.domain.tasks import Task
from kheish.errors import Damaged, KheishError, NotFound, StoreFailed
from kheish.jobs.runner import JobEnd, Jobs, JobState
from kheish.state.encoding import Recorded
from kheish.state.state import State

log = logging.getLogger(__name__)

_PAGE = 200
#: how often to restart a runner that ended before it started its command
_TRIES = 3
_LOST = "The process that ran the command was killed: it may or may not have done its work."


class Tasks(Reactor):
    """`damaged(path, reason)` is called for a session that cannot be read: its command's end stays unnoted."""

    def __init__(self, state: State, jobs: Jobs, *, damaged: Callable[[str, str], None]) -> None:
        self._state = state
        self._jobs = jobs
        self._damaged = damaged
        self._followed: dict[str, asyncio.Task[None]] = {}  # by task id
        self._stops: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Find the commands that run, or that ended without a daemon."""
        cursor: str | None = None
        while True:
            page = await asyncio.to_thread(
                self._state.index.things, "task", limit=_PAGE, cursor=cursor, statuses=("in_progress",)
            )
            for found in page.items:
                if found["shell"] is not None:
                    self._follow(found["task_id"], found["session_id"], found["shell"]["job"])
                    if found["shell"]["stop_requested"]:
                        self._stop(found["shell"]["job"])
            cursor = page.next_cursor
            if cursor is None:
                break

    def heard(self, batch: Sequence[Recorded]) -> None:
        """Follow commands that were started, and stop those that are to stop."""
        for item in batch:
            self._react(item.entry)

    def _react(self, entry: Entry) -> None:
        match entry.event:
            case events.TaskCreated(task_id=id, shell=events.ShellTask(job=job)) if entry.session is not None:
                self._follow(id, entry.session, job)
            case events.TaskStopRequested(task_id=id):
                task = self._state.find(Task, id)
                if task is not None and task.shell is not None:
                    self._stop(task.shell.job)

    async def settled(self) -> None:
        """Wait until the end of each command that is followed now is journaled."""
        if self._followed:
            await asyncio.wait(list(self._followed.values()))

    async def close(self) -> None:
        """Follow nothing any more; the commands run on."""
        under_way = [*self._followed.values(), *self._stops]
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _follow(self, task_id: str, session_id: str, job: str) -> None:
        if task_id not in self._followed:
            self._followed[task_id] = asyncio.create_task(self._to_the_end(task_id, session_id, job), name=task_id)
            self._followed[task_id].add_done_callback(lambda _: self._followed.pop(task_id, None))

    def _stop(self, job: str) -> None:
        async def stop() -> None:
            try:
                await self._jobs.stop(job)
            except (NotFound, OSError) as error:
                log.info("background command %s: %s", job, error)

        task = asyncio.create_task(stop(), name=f"stop {job}")
        self._stops.add(task)
        task.add_done_callback(self._stops.discard)

    async def _to_the_end(self, task_id: str, session_id: str, job: str) -> None:
        """Wait for the end of a command, and journal it.

        Only this place may catch the foreseen errors of one command: others must not suffer by them.
        """
        try:
            output, ending = await self._wait(job)
            async with self._state.using(session_id):
                tasks.end(self._state, task_id, output, ending)
                await self._state.durable()
            await asyncio.to_thread(self._jobs.remove, job)
        except StoreFailed:
            return  # the daemon ends; the next one finds the job again
        except Damaged as error:
            self._damaged(session_id, error.detail)
        except (KheishError, OSError) as error:
            log.error("the end of the background command %s cannot be recorded: %s", task_id, error)

    async def _wait(self, job: str) -> tuple[str, ShellEnding]:
        for _ in range(_TRIES):
            try:
                # Of a late runner of before and ours, the claim file lets one run the command.
                if await asyncio.to_thread(self._jobs.state, job) is JobState.UNCLAIMED:
                    await self._jobs.start(job)
                return _ending(await self._jobs.ended(job))
            except NotFound:
                return _ending(None)
            except (KheishError, OSError) as error:
                log.warning("background command %s: %s", job, error)
        await self._jobs.stop(job)
        return "The command could not be started.", ShellEnding()


def _ending(end: JobEnd | None) -> tuple[str, ShellEnding]:
    if end is None:
        return _LOST, ShellEnding(lost=True)
    return end.output, ShellEnding(
        exit_status=end.exit_status,
        signal=end.signal,
        timed_out=end.timed_out,
        stopped=end.stopped,
        exceeded=end.exceeded,
        ended=end.ended,
        left=end.left,
        output_bytes=end.output_bytes,
        truncated=end.truncated,
        duration=round(end.duration, 3),
    )
