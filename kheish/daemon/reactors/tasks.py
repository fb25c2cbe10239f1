"""Follows background commands to their end, and journals it; those too that an earlier daemon left.

Costs one small coroutine for each command that runs, and nothing for sessions; a session is loaded when its command has
ended. Ending the daemon leaves the commands to their runners.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kheish.daemon.reactors.base import Reactor
from kheish.domain import events
from kheish.domain.events import Entry, ShellEnding
from kheish.domain.tasks import verbs
from kheish.domain.tasks.task import Task
from kheish.errors import Damaged, KheishError, NotFound, StoreFailed
from kheish.jobs.commands import Commands
from kheish.jobs.runner import JobEnd, JobState
from kheish.state.encoding import Recorded
from kheish.state.state import State

log = logging.getLogger(__name__)

_PAGE = 200
#: how often to restart a runner that ended before it started its command
_TRIES = 3
#: seconds without output after which a command whose last line is a prompt waits for input; and between two looks
SILENCE, LOOK = 45.0, 5.0
_LINE_BYTES = 400
#: the last characters of prompts
_PROMPTS = "?:>$#%])"
_LOST = "The process that ran the command was killed: it may or may not have done its work."


@dataclass(slots=True)
class Watched:
    """The output of a running command, as last seen: its size, since when, and whether its task waits for input."""

    job: str
    session_id: str
    waits: bool = False
    total: int = -1
    since: float = 0.0


class Tasks(Reactor):
    """`damaged(path, reason)` is called for a session that cannot be read: its command's end stays unnoted."""

    reacts_to = frozenset((events.TaskCreated, events.TaskStopRequested))

    def __init__(self, state: State, jobs: Commands, *, damaged: Callable[[str, str], None]) -> None:
        self._state = state
        self._jobs = jobs
        self._damaged = damaged
        self._followed: dict[str, asyncio.Task[None]] = {}  # by task id
        self._stops: set[asyncio.Task[None]] = set()
        self._watched: dict[str, Watched] = {}  # by task id
        self._looked = 0.0

    async def start(self) -> None:
        """Find the commands that run, or that ended without a daemon."""
        cursor: str | None = None
        while True:
            page = await asyncio.to_thread(
                self._state.index.things, "task", limit=_PAGE, cursor=cursor, statuses=("in_progress",)
            )
            for found in page.items:
                if found["shell"] is not None:
                    waits = found.get("waits_for_input", False)
                    self._follow(found["task_id"], found["session_id"], found["shell"]["job"], waits=waits)
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

    async def tick(self, now: str) -> None:
        """Look every few seconds which commands wait at a prompt."""
        at = time.monotonic()
        if self._watched and at - self._looked >= min(LOOK, SILENCE):
            self._looked = at
            for task_id, waits, line in await self._look(dict(self._watched), at):
                await self._note_wait(task_id, waits, line)

    async def _look(self, watched: dict[str, Watched], at: float) -> list[tuple[str, bool, str]]:
        """Return the commands that wait for input since now, or not any more."""
        changes: list[tuple[str, bool, str]] = []
        for task_id, seen in watched.items():
            try:
                _, tail, total = await self._jobs.output(seen.job, None, _LINE_BYTES)
            except (NotFound, OSError):
                continue
            if total != seen.total:
                seen.total, seen.since = total, at
            line = tail.rpartition(b"\n")[2].decode("utf-8", "replace").strip()
            waits = line[-1:] in _PROMPTS and bool(line) and at - seen.since >= SILENCE
            if waits != seen.waits and (waits or seen.since == at):
                seen.waits = waits
                changes.append((task_id, waits, line))
        return changes

    async def _note_wait(self, task_id: str, waits: bool, line: str) -> None:
        seen = self._watched.get(task_id)
        if seen is None:
            return
        try:
            async with self._state.using(seen.session_id):
                verbs.note_wait(self._state, task_id, waits, line)
        except KheishError as error:
            log.warning("background command %s: %s", task_id, error.detail)

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

    def _follow(self, task_id: str, session_id: str, job: str, *, waits: bool = False) -> None:
        if task_id not in self._followed:
            self._watched[task_id] = Watched(job, session_id, waits)
            self._followed[task_id] = asyncio.create_task(self._to_the_end(task_id, session_id, job), name=task_id)
            self._followed[task_id].add_done_callback(lambda _: self._leave(task_id))

    def _leave(self, task_id: str) -> None:
        self._followed.pop(task_id, None)
        self._watched.pop(task_id, None)

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
                verbs.end(self._state, task_id, output, ending)
                await self._state.durable()
            await self._jobs.drop(job)
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
                if await self._jobs.look(job) is JobState.UNCLAIMED:
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
