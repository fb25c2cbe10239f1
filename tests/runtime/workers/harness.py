"""A worker in this process, with its own disk: the real far side over pipes that a test can cut, and real jobs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kheish.errors import WorkerUnreachable
from kheish.runtime.executor import Local
from kheish.runtime.tools.shell import SandboxSettings
from kheish.runtime.workers.carrier import Carrier, Stream, Writer
from kheish.runtime.workers.connection import Connection
from kheish.runtime.workers.far import stdio
from kheish.runtime.workers.frames import Reader
from kheish.runtime.workers.jobs import Routed
from kheish.runtime.workers.placed import Placed
from kheish.runtime.workers.pool import Terms, Workers
from tests.runtime.harness import Live

UNCONFINED = Terms("off")
SANDBOX = SandboxSettings(mode="off", available=False)
PAUSES = (0.02, 0.05)


@dataclass(slots=True)
class Pipes:
    """One stream to the machine, and the worker that serves it."""

    reader: Reader
    writer: Writer
    transports: tuple[asyncio.BaseTransport, ...]
    serving: asyncio.Task[None]

    def explain(self) -> str:
        return ""

    async def close(self) -> None:
        for transport in self.transports:
            transport.close()
        with suppress(asyncio.CancelledError):
            await self.serving


@dataclass(slots=True)
class Machine:
    """A machine with workers; `is_up` is whether it can be reached."""

    root: Path
    is_up: bool = True
    opened: int = 0
    kind: str = "test"
    streams: list[Pipes] = field(default_factory=list)

    async def open(self) -> Stream:
        if not self.is_up:
            raise WorkerUnreachable("No route to host.")
        self.opened += 1
        loop = asyncio.get_running_loop()
        (far_in, near_out), (near_in, far_out) = os.pipe(), os.pipe()
        reader = asyncio.StreamReader()
        source, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(near_in, "rb", 0)
        )
        sink, protocol = await loop.connect_write_pipe(
            lambda: asyncio.streams.FlowControlMixin(loop), os.fdopen(near_out, "wb", 0)
        )
        writer = asyncio.StreamWriter(sink, protocol, None, loop)
        serving = asyncio.create_task(stdio.serve(far_in, far_out, self.root))
        self.streams.append(Pipes(reader, writer, (source, sink), serving))
        return self.streams[-1]

    def cut(self) -> None:
        """End every stream, in the middle of whatever is in it."""
        streams, self.streams = self.streams, []
        for stream in streams:
            stream.serving.cancel()
            for transport in stream.transports:
                transport.close()


def place(live: Live, machine: Carrier, terms: Terms = UNCONFINED) -> Live:
    """Let the session's worker `big` be this machine, or what a carrier leads to."""
    workers = Workers(lambda worker: machine, "home-1", lambda worker: terms)
    workers._links["big"] = Connection("big", machine, "home-1", pauses=PAUSES)
    live.agent.workers = workers
    live.agent.executor = Placed(Local(), workers, lambda: SANDBOX)
    live.agent.jobs = Routed(live.agent.here, workers.jobs)
    live.allow("bash", "shell_task_start", "write_file", "edit_file", "apply_patch", "read_file")
    return live


@asynccontextmanager
async def connected(machine: Machine) -> AsyncIterator[Connection]:
    """A connection to the machine."""
    link = Connection("big", machine, "home-1", pauses=PAUSES)
    try:
        yield link
    finally:
        await link.close()


async def until(condition: Callable[[], Any], seconds: float = 20) -> Any:
    async with asyncio.timeout(seconds):
        while not (found := condition()):  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.01)
        return found
