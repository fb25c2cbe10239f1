"""A separate thread pool for work beneath workspaces, with a deadline for each piece of work.

A folder on a hanging network, or one with millions of names, blocks such a thread and nothing else. The threads of the
API stay free, and since these are daemon threads, the process can end. Each workspace gets only a few of them, so that
it cannot block the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar

from kheish.beneath.door import Door
from kheish.errors import WorkspaceSlow

SECONDS = 30.0
_THREADS = 256
_PER_WORKSPACE = 8
_IDLE = 10.0  # seconds after which a thread without work ends

Given = ParamSpec("Given")
Found = TypeVar("Found")


@dataclass(slots=True, eq=False)
class _Job:
    key: str
    work: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Any]
    is_abandoned: bool = False

    def do(self) -> None:
        """Do the work, and hand its result to the caller, who waits on the event loop."""
        if self.is_abandoned:
            return
        result: Any = None
        failure: BaseException | None = None
        try:
            result = self.work()
        except BaseException as error:  # noqa: BLE001 - it belongs to the caller, who waits in another thread
            failure = error
        if not self.is_abandoned:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self.loop.call_soon_threadsafe(self._settle, result, failure)

    def _settle(self, result: Any, failure: BaseException | None) -> None:
        if self.answer.done():
            return
        if isinstance(failure, StopIteration):  # which no future can have
            self.answer.set_exception(RuntimeError("the work raised StopIteration"))
        elif failure is not None:
            self.answer.set_exception(failure)
        else:
            self.answer.set_result(result)


@dataclass(slots=True)
class _Lane:
    """The active and waiting work of a workspace."""

    busy: int = 0
    waiting: deque[_Job] = field(default_factory=deque)


class Pool:
    """The threads. A job whose caller has given up is skipped, or ends at its next `check`.

    A run hands on several jobs, so this uses the locks and queues that are written in C.
    """

    def __init__(self, threads: int = _THREADS, per_workspace: int = _PER_WORKSPACE) -> None:
        self._most, self._share = threads, per_workspace
        self._lock = threading.Lock()
        self._lanes: dict[str, _Lane] = {}
        self._ready: SimpleQueue[_Job] = SimpleQueue()
        self._threads = 0
        self._free = 0  # threads that have no job, less the jobs that wait for one
        self._current = threading.local()

    async def run(self, key: str, seconds: float, work: Callable[[], Found]) -> Found:
        """Return the result of the work. Raises WorkspaceSlow after its deadline; the thread ends when it can."""
        loop = asyncio.get_running_loop()
        job = _Job(key, work, loop, loop.create_future())
        self._enter(job)
        try:
            async with asyncio.timeout(seconds) as limit:
                result: Found = await job.answer
                return result
        except TimeoutError:
            if not limit.expired():  # ETIMEDOUT, of the work itself
                raise
            raise WorkspaceSlow(
                f"The workspace {key} did not answer within {seconds:g} s: a folder there is too large, or its disk "
                "hangs."
            ) from None
        finally:
            job.is_abandoned = True

    def check(self) -> None:
        """End this thread's job if its caller has given up. Raises WorkspaceSlow."""
        job: _Job | None = getattr(self._current, "job", None)
        if job is not None and job.is_abandoned:
            raise WorkspaceSlow("Given up.")

    def _enter(self, job: _Job) -> None:
        with self._lock:
            lane = self._lanes.setdefault(job.key, _Lane())
            if lane.busy >= self._share:
                lane.waiting.append(job)
                return
            lane.busy += 1
            self._start(job)

    def _start(self, job: _Job) -> None:
        """Hand a job to a thread; the lock is held."""
        self._free -= 1
        self._ready.put(job)
        if self._free < 0 and self._threads < self._most:
            with contextlib.suppress(RuntimeError):  # the system gives no thread: one that is there takes the job
                threading.Thread(target=self._serve, name="beneath", daemon=True).start()
                self._threads += 1
                self._free += 1

    def _leave(self, key: str) -> None:
        """Note that a thread has no job any more, and start the next one of its workspace."""
        with self._lock:
            self._free += 1
            lane = self._lanes[key]
            while lane.waiting:
                job = lane.waiting.popleft()
                if not job.is_abandoned:
                    return self._start(job)
            lane.busy -= 1
            if not lane.busy:
                del self._lanes[key]
            return None

    def _serve(self) -> None:
        while (job := self._next()) is not None:
            self._current.job = job
            job.do()
            self._current.job = None
            key = job.key
            del job  # and its result, which may be large
            self._leave(key)

    def _next(self) -> _Job | None:
        """Return the next job; None ends the thread."""
        while True:
            try:
                return self._ready.get(timeout=_IDLE)
            except Empty:
                with self._lock:
                    if self._free > 0:  # no job is on its way to this thread
                        self._free -= 1
                        self._threads -= 1
                        return None


_POOL = Pool()


async def run(door: Door, function: Callable[Given, Found], *arguments: Given.args, **named: Given.kwargs) -> Found:
    """Call a blocking function on the door's workspace, in a thread of the pool. Raises WorkspaceSlow."""
    return await within(SECONDS, door, function, *arguments, **named)


async def within(
    seconds: float, door: Door, function: Callable[Given, Found], *arguments: Given.args, **named: Given.kwargs
) -> Found:
    """Call `run` with another deadline."""
    return await _POOL.run(str(door.path), seconds, lambda: function(*arguments, **named))


def check() -> None:
    """End this piece of work if its caller has given up. Loops over possibly large data call it now and then."""
    _POOL.check()
