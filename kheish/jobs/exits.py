"""Detection of the end of a process, child or not, without a thread and without polling."""

from __future__ import annotations

import asyncio
import contextlib
import os


class Exit:
    """A watch on a process; `happened` is set once the process has ended. Must be created inside a running event loop.

    If the system gives no descriptor for a process (not Linux, or a container forbids the call), `within` only waits,
    and the caller must check `folder.lives`.
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
        """Record the end of the process if it has ended; a child is reaped."""
        if self._child:
            try:
                if os.waitpid(self.pid, os.WNOHANG)[0] == 0:
                    return
            except ChildProcessError:
                pass  # already reaped
            self._child = False
        elif self._descriptor < 0:
            return
        self.close()
        self.happened.set()

    @property
    def is_told(self) -> bool:
        """Return whether `happened` is set automatically; otherwise the caller must poll."""
        return self._descriptor >= 0

    def close(self) -> None:
        """Stop watching."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            if not self._loop.is_closed():
                self._loop.remove_reader(descriptor)
            os.close(descriptor)

    async def within(self, seconds: float) -> None:
        """Return when the process has ended, or after `seconds` at the latest."""
        if self._descriptor < 0 and not self.happened.is_set():
            await asyncio.sleep(seconds)
            self.check()
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.happened.wait()


def _open(pid: int) -> int:
    """Return a descriptor that is readable once the process has ended; -1 if unavailable."""
    if not hasattr(os, "pidfd_open"):
        return -1
    try:
        return os.pidfd_open(pid)
    except OSError:  # gone, or forbidden
        return -1
