"""Serving one daemon: frames come in, calls run side by side, and their ends go out. Jobs outlive it.

`Far` is independent of carriers: `stdio` feeds it from standard input, and an actor of a cluster from its methods.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from kheish import ids, resources
from kheish.errors import KheishError, WorkerProtocolError
from kheish.jobs import folder, probing
from kheish.jobs.runner import Jobs
from kheish.runtime.workers import answers, frames
from kheish.runtime.workers.far import operations
from kheish.runtime.workers.far.operations import Place
from kheish.runtime.workers.frames import Call, Cancel, Data, End, Frame, Hello, Ping

#: calls at once; a daemon that sends more waits
_MOST = 256

Send = Callable[[bytes], Awaitable[None]]


class Far:
    """One connection of a daemon. `send` writes bytes to it and waits until most are taken."""

    def __init__(self, send: Send, root: Path) -> None:
        self._send = send
        self._root = root
        self._place: Place | None = None
        self._calls: dict[int, asyncio.Task[None]] = {}
        self._room = asyncio.Semaphore(_MOST)

    async def greet(self) -> None:
        """Send MAGIC and hello."""
        probe = await probing.probe_async()
        capabilities = {
            "kheish": resources.version(),
            "sandbox": probe.available,
            "sandbox_why": probe.why,
            "operations": sorted((*operations.CALLS, *operations.STREAMS)),
            "time": time.time(),
            "folder": str(self._root),
        }
        hello = Hello(boot_id=await asyncio.to_thread(folder.boot_id), capabilities=capabilities)
        await self._send(frames.MAGIC + frames.encode(hello))

    async def take(self, frame: Frame) -> None:
        """Act on a frame. Raises WorkerProtocolError for one that does not belong here."""
        match frame:
            case Hello(home=home) if self._place is None and ids.is_slug(home):
                jobs = Jobs(self._root / home / "jobs")
                self._place = Place(self._root, jobs, probing.probe().available, home)
            case Call(id=id) if self._place is not None and id not in self._calls:
                await self._room.acquire()
                task = asyncio.create_task(self._run(self._place, frame), name=f"{frame.op} {id}")
                self._calls[id] = task
                task.add_done_callback(lambda _: self._leave(id))
            case Cancel(id=id):
                if (running := self._calls.get(id)) is not None:  # else it has ended meanwhile
                    running.cancel()
            case Ping(n=n, answer=False):
                await self._send(frames.encode(Ping(n=n, answer=True)))
            case _:
                raise WorkerProtocolError(f"A {type(frame).__name__.lower()} does not belong here.")

    async def close(self) -> None:
        """Give up the open calls. Jobs continue."""
        calls = list(self._calls.values())
        for task in calls:
            task.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        if self._place is not None:
            self._place.jobs.close()

    def _leave(self, id: int) -> None:
        del self._calls[id]
        self._room.release()

    async def _run(self, place: Place, call: Call) -> None:
        """Run one call and send its end.

        This is the one place here that may catch any exception: a defect fails its call only.
        """

        async def show(offset: int, data: bytes) -> None:
            for at in range(0, len(data), frames.PART):
                part = data[at : at + frames.PART]
                await self._send(frames.encode(Data(id=call.id, offset=offset + at, bytes=part)))

        try:
            if call.op in operations.STREAMS:
                result = await operations.STREAMS[call.op](place, call.args, show)
            elif call.op in operations.CALLS:
                result = await operations.CALLS[call.op](place, call.args)
            else:
                raise WorkerProtocolError(
                    f"This worker has no operation {call.op!r}; install the daemon's version there."
                )
            body = frames.encode(End(id=call.id, result=result))
        except Exception as error:  # noqa: BLE001 - the daemon gets it
            body = frames.encode(End(id=call.id, error=answers.described(error)))
        with contextlib.suppress(ConnectionError, KheishError):
            await self._send(body)
