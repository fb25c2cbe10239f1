"""The actor of a worker in a Ray cluster: it runs `kheish worker --stdio` beside it, and passes bytes on.

It is detached and named, so that the next daemon finds it. The worker is a process of its own: it shares no event loop,
no signal handler and no variable with Ray, and its jobs outlive both. Ray never repeats anything: the actor has no
restarts and its methods no retries, and the claim file of a job decides whether its command started.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from kheish import resources

#: seconds that `take` waits for bytes; bytes that it returns at most
PATIENCE, MOST = 10.0, 1024 * 1024
#: variables that the worker gets; none of Ray's, which tell where its token is
_ENVIRONMENT = ("HOME", "PATH", "USER", "LOGNAME", "LANG", "LD_LIBRARY_PATH", "TMPDIR", "XDG_STATE_HOME")


class WorkerActor:
    """The worker of one daemon on one node. `wanted` is what it was placed by."""

    def __init__(self, wanted: Mapping[str, float]) -> None:
        self._wanted = dict(wanted)
        self._links: dict[str, asyncio.subprocess.Process] = {}

    async def describe(self) -> dict[str, Any]:
        """Return what the gateway checks before anything of a workspace comes here."""
        import ray

        return {
            "auth": os.environ.get("RAY_AUTH_MODE", ""),
            "version": resources.version(),
            "node": ray.get_runtime_context().get_node_id(),
            "resources": self._wanted,
            "pid": os.getpid(),
        }

    async def open(self, link: str) -> None:
        """Start a worker for a connection of the daemon."""
        self._links[link] = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "kheish.cli.main", "worker", "--stdio"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            cwd="/",
            start_new_session=True,
        )

    async def give(self, link: str, data: bytes) -> bool:
        """Pass bytes to the worker, and wait until it has taken most. Return False when it has ended."""
        process = self._links.get(link)
        if process is None or process.stdin is None:
            return False
        try:
            process.stdin.write(data)
            await process.stdin.drain()
        except ConnectionError:
            return False
        return True

    async def take(self, link: str) -> bytes | None:
        """Return bytes of the worker; none after a while without any, None when it has ended."""
        process = self._links.get(link)
        if process is None or process.stdout is None:
            return None
        try:
            return await asyncio.wait_for(process.stdout.read(MOST), PATIENCE) or None
        except TimeoutError:
            return b""

    async def close(self, link: str) -> None:
        """End a worker. Its jobs go on."""
        process = self._links.pop(link, None)
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), PATIENCE)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
