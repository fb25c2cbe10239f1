"""A separate thread pool for work beneath workspaces, with a deadline for each piece of work.

A folder on a hanging network, or one with millions of names, blocks such a thread and nothing else. The threads of the
API stay free, and since these are daemon threads, the process can end. Each workspace gets only a few of them, so that
it cannot block the others.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
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
    future: Future[Any] = field(default_factory=Future)
    is_abandoned: bool = False


@dataclass(slots=True)
class _Lane:
    """The active and waiting work of a workspace."""

    busy: int = 0
    waiting: deque[_Job] = field(default_factory=deque)


class Pool:
    """The threads. A job whose caller has given up is skipped, or ends at its next `check`."""

    def __init__(self, threads: int = _THREADS, per_workspace: int = _PER_WORKSPACE) -> None:
        self._most, self._share = threads, per_workspace
        self._lock = threading.Condition()
        self._lanes: dict[str, _Lane] = {}
        self._ready: deque[_Job] = deque()
        self._threads = self._idle = 0
        self._current = threading.local()

    async def run(self, key: str, seconds: float, work: Callable[[], Found]) -> Found:
        """Return the result of the work. Raises WorkspaceSlow after its deadline; the thread ends when it can."""
        job = _Job(key, work)
        self._enter(job)
        try:
            async with asyncio.timeout(seconds):
                result: Found = await asyncio.wrap_future(job.future)
                return result
        except TimeoutError:
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
        self._ready.append(job)
        if self._idle < len(self._ready) and self._threads < self._most:
            self._threads += 1
            threading.Thread(target=self._serve, name="beneath", daemon=True).start()
        else:
            self._lock.notify()

    def _leave(self, key: str) -> None:
        with self._lock:
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
            if not job.is_abandoned and job.future.set_running_or_notify_cancel():
                try:
                    job.future.set_result(job.work())
                except BaseException as error:  # noqa: BLE001 - it belongs to the caller, who waits in another thread
                    job.future.set_exception(error)
            self._current.job = None
            self._leave(job.key)

    def _next(self) -> _Job | None:
        """Return the next job; None ends the thread."""
        with self._lock:
            self._idle += 1
            has_work = self._lock.wait_for(lambda: bool(self._ready), timeout=_IDLE)
            self._idle -= 1
            if has_work:
                return self._ready.popleft()
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
