"""One driver process as the daemon sees it: started by its first call, and again after it has ended, with backoff."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kheish.errors import KheishError
from kheish.runtime.debug import wire
from kheish.runtime.drivers.base import ModelError, Reply, Request
from kheish.runtime.driving import documents
from kheish.store import pipes
from kheish.store.pipes import Child, ChildGone

log = logging.getLogger(__name__)

_MODULE = "kheish.runtime.driving.child"
_BACKOFF, _LONGEST_BACKOFF = 0.1, 10.0
#: seconds after which a process counts as sound, so that its end is the first again
_SOUND = 30.0
#: seconds between pings while calls are under way, and until one must be answered
_PING_EVERY, _PING_WITHIN = 15.0, 60.0
_GRACE = 1.0


@dataclass(slots=True)
class _Call:
    """A call under way. `texts` is what has come of its answer."""

    on_delta: Callable[[str], None]
    exchange: wire.Exchange | None
    texts: list[str] = field(default_factory=list)


class DriverProcess:
    """A driver process and its calls."""

    def __init__(self, environment: Callable[[], Mapping[str, str]]) -> None:
        self._environment = environment
        self._child: Child | None = None
        self._calls: dict[int, _Call] = {}
        self._numbers = itertools.count(1)
        self._starting = asyncio.Lock()
        self._waiting = 0
        self._began = self._due = 0.0
        self._ends = 0
        self._pinging: asyncio.Task[None] | None = None
        self._preparing: asyncio.Task[None] | None = None

    @property
    def load(self) -> int:
        """The number of its calls."""
        return self._waiting

    @property
    def pid(self) -> int | None:
        """The process id; None while there is no process."""
        return self._child.pid if self._child is not None and self._child.alive else None

    @property
    def is_ready(self) -> bool:
        """Return whether a call need not wait for its start."""
        return self.pid is not None and (self._preparing is None or self._preparing.done())

    def prepare(self, driver: str) -> None:
        """Start it for calls of a driver, without one."""
        self._preparing = asyncio.create_task(self._prepare(driver))

    async def _prepare(self, driver: str) -> None:
        with contextlib.suppress(ModelError, KheishError):  # the first call meets the same, and reports it
            await (await self._started()).request("prepare", driver=driver)

    @property
    def is_resting(self) -> bool:
        """Return whether it ended, and may not be started yet."""
        return self.pid is None and self._due > asyncio.get_running_loop().time()

    async def complete(self, driver: str, request: Request, on_delta: Callable[[str], None]) -> Reply:
        """Run one model call. A process that ends fails it like a cut connection. Raises ModelError."""
        number, call = next(self._numbers), _Call(on_delta, wire.current())
        self._waiting += 1
        try:
            child = await self._started()
            self._calls[number] = call
            answer = await self._ask(child, number, driver, request, call)
        finally:
            self._waiting -= 1
            self._calls.pop(number, None)
        if (error := answer.get("error")) is not None:
            raise documents.to_error(error)
        return documents.to_reply(answer["reply"])

    async def _ask(self, child: Child, number: int, driver: str, request: Request, call: _Call) -> Any:
        document = documents.of_request(request)
        try:
            return await child.request(
                "complete", call=number, driver=driver, request=document, captured=call.exchange is not None
            )
        except ChildGone as error:
            self._ended(child, error.detail)
            partial = Reply(text="".join(call.texts), finish_reason="")
            message = "the driver process of this call ended before the answer was complete"
            raise ModelError("transport", message, reply=partial) from error
        except asyncio.CancelledError:
            with contextlib.suppress(ChildGone):
                child.send_nowait("cancel", call=number)
            raise

    async def _started(self) -> Child:
        """Return the running process; start it if there is none. Raises ModelError."""
        async with self._starting:
            if self._child is not None and self._child.alive:
                return self._child
            loop = asyncio.get_running_loop()
            await asyncio.sleep(max(0.0, self._due - loop.time()))
            await self._end()
            child = Child([sys.executable, "-m", _MODULE], on_notice=self._noticed, env=self._environment())
            try:
                await child.start()
            except OSError as error:
                self._put_off()
                raise ModelError("transport", f"no driver process can be started: {error.strerror}") from error
            self._child, self._began = child, loop.time()
            self._pinging = asyncio.create_task(self._ping(child))
            return child

    def _ended(self, child: Child, detail: str) -> None:
        """Note the end of a process once, whatever the number of its calls."""
        if child is self._child and self._began:
            if asyncio.get_running_loop().time() - self._began >= _SOUND:
                self._ends = 0
            self._began = 0.0
            self._put_off()
            log.warning("a driver process ended, and its calls are retried: %s", detail)

    def _put_off(self) -> None:
        pause = min(_BACKOFF * 2**self._ends, _LONGEST_BACKOFF)
        self._ends += 1
        self._due = asyncio.get_running_loop().time() + pause

    async def _ping(self, child: Child) -> None:
        """Kill a process that does not answer any more (stopped, or stuck), so that its calls fail."""
        with contextlib.suppress(ChildGone):
            while True:
                await asyncio.sleep(_PING_EVERY)
                if not self._calls:
                    continue
                try:
                    await asyncio.wait_for(child.request("ping"), _PING_WITHIN)
                except TimeoutError:
                    log.warning("a driver process does not answer, and is killed")
                    if child.pid is not None:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(child.pid, signal.SIGKILL)
                    return

    def _noticed(self, frame: dict[str, Any]) -> None:
        """Take what the process sends while a call is under way."""
        if frame["notice"] == "log":
            logging.getLogger(frame["name"]).log(frame["level"], "%s", frame["text"])
            return
        call = self._calls.get(frame.get("call", 0))
        if call is None:
            return  # it was cancelled
        if frame["notice"] == "stream":
            call.texts.append(frame["text"])
            call.on_delta(frame["text"])
        elif call.exchange is not None and "sent" in frame:
            call.exchange.sent(pipes.unpack(frame["sent"]))
        elif call.exchange is not None:
            call.exchange.got(pipes.unpack(frame["got"]))

    async def close(self) -> None:
        """End the process."""
        if self._preparing is not None:
            self._preparing.cancel()
            self._preparing = None
        await self._end()

    async def _end(self) -> None:
        if self._pinging is not None:
            self._pinging.cancel()
            self._pinging = None
        if self._child is not None:
            child, self._child = self._child, None
            await child.close(_GRACE)
