"""Notices the end of a process, child or not, without a thread and without asking again and again."""

from __future__ import annotations

import asyncio
import contextlib
import os


class Exit:
    """Watches one process; `happened` is set once it has ended. Made inside a running event loop.

    Where the system gives no descriptor for a process (not Linux, or a container forbids the call), `within` only
    lets time pass, and the caller asks `folder.lives`.
    """

    def __init__(self, pid: int, *, child: bool) -> None:
        self.pid = pid
        self.happened = asyncio.Event()
        self._child = child
        self._loop = asyncio.get_running_loop()
        self._descriptor = _open(pid)
        if self._descriptor >= 0:
            self._loop.add_reader(self._descriptor, self.check)

    def check(self) -> None:
        """Take note that the process has ended, if it has; a child is reaped."""
        if self._child:
            try:
                if os.waitpid(self.pid, os.WNOHANG)[0] == 0:
                    return
            except ChildProcessError:
                pass  # reaped already
            self._child = False
        elif self._descriptor < 0:
            return
        self.close()
        self.happened.set()

    @property
    def is_told(self) -> bool:
        """Whether `happened` is set by itself; else somebody must look."""
        return self._descriptor >= 0

    def close(self) -> None:
        """Stop watching."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            if not self._loop.is_closed():
                self._loop.remove_reader(descriptor)
            os.close(descriptor)

    async def within(self, seconds: float) -> None:
        """Return when the process has ended, at the latest after `seconds`."""
        if self._descriptor < 0 and not self.happened.is_set():
            await asyncio.sleep(seconds)
            self.check()
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.happened.wait()


def _open(pid: int) -> int:
    """A descriptor that is readable once the process has ended; -1 where that is not to be had."""
    if not hasattr(os, "pidfd_open"):
        return -1
    try:
        return os.pidfd_open(pid)
    except OSError:  # gone, or forbidden
        return -1
