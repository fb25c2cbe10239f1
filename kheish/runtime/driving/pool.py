"""The pool of driver processes: `concurrency.driver_processes` of them, each started when a call needs it.

A streamed call costs milliseconds of CPU in the process that runs it. *Rejected:* threads, which share one interpreter
lock; a process for each call, since an SDK takes a second to import.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping

from kheish.auth import redaction
from kheish.runtime.drivers import registry
from kheish.runtime.drivers.base import Reply, Request
from kheish.runtime.driving.process import DriverProcess

#: variables whose names promise a secret: no driver process gets them
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|AUTH", re.IGNORECASE)

_TRIM_EVERY = 1.0


class Pool:
    """Driver processes, as many as `size` returns at each call. `scrub` returns what removes known secrets."""

    def __init__(
        self, size: Callable[[], int], environ: Mapping[str, str], scrub: Callable[[], Callable[[bytes], bytes]]
    ) -> None:
        self._size = size
        self._environ = environ
        self._scrub = scrub
        self._processes: list[DriverProcess] = []
        self._closing: set[asyncio.Task[None]] = set()
        self._trimming: asyncio.Task[None] | None = None

    def accepts(self, driver: str, request: Request) -> bool:
        """Return whether a call runs in a driver process."""
        self._trim()
        return self._size() > 0 and driver in registry.IN_PROCESSES and not _needs_environment(driver, request)

    async def complete(self, driver: str, request: Request, on_delta: Callable[[str], None]) -> Reply:
        """Run one model call in the process with the fewest calls. Raises ModelError."""
        registry.note_used(driver)
        process = self._choose(driver)
        try:
            return await process.complete(driver, request, on_delta)
        finally:
            if process not in self._processes:
                self._close_idle(process)

    def _choose(self, driver: str) -> DriverProcess:
        """Return the process for a call. While there are fewer than allowed and none is idle, another is started; the
        call waits for it only if no other runs."""
        best = min(
            self._processes, key=lambda process: (not process.is_ready, process.is_resting, process.load), default=None
        )
        if best is not None and (len(self._processes) >= self._size() or (best.load == 0 and best.is_ready)):
            return best
        process = DriverProcess(self._child_environment)
        self._processes.append(process)
        if self._trimming is None or self._trimming.done():
            self._trimming = asyncio.create_task(self._keep_trimmed())
        if best is None or not best.is_ready:
            return process
        process.prepare(driver)
        return best

    async def _keep_trimmed(self) -> None:
        """Apply a smaller number without waiting for the next call, as long as there are processes."""
        while self._processes:
            await asyncio.sleep(_TRIM_EVERY)
            self._trim()

    def _trim(self) -> None:
        """Remove the processes over the number; one with calls ends after the last of them."""
        while len(self._processes) > self._size():
            self._close_idle(self._processes.pop())

    def _close_idle(self, process: DriverProcess) -> None:
        if process.load == 0:
            task = asyncio.create_task(process.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def _child_environment(self) -> Mapping[str, str]:
        """Return the daemon's environment (proxies, certificates, regions of clouds) without secrets."""
        scrub = self._scrub()
        return {
            name: value
            for name, value in self._environ.items()
            if not _SECRET.search(name) and redaction.scrub_text(value, scrub) == value
        }

    def pids(self) -> list[int]:
        """Return the process ids of the running processes."""
        return [pid for process in self._processes if (pid := process.pid) is not None]

    async def aclose(self) -> None:
        """End all processes."""
        if self._trimming is not None:
            self._trimming.cancel()
        processes, self._processes = self._processes, []
        await asyncio.gather(*(process.close() for process in processes), *self._closing)


def _needs_environment(driver: str, request: Request) -> bool:
    """Return whether a provider's own lookup of credentials applies, which reads the daemon's variables."""
    return driver == "litellm" and request.credential is None and not request.settings.get("api_base")
