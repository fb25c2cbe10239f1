"""The connection to one worker: opened on use, kept open, and opened again with backoff; calls are multiplexed.

A call that was sent and has no answer when the stream ends raises WorkerLost: only its caller can tell whether it may
be sent again (`ask` is for those that may).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from kheish import resources
from kheish.errors import KheishError, WorkerLost, WorkerProtocolError, WorkerUnreachable
from kheish.runtime.workers import answers, frames
from kheish.runtime.workers.carrier import Carrier, Stream
from kheish.runtime.workers.frames import Call, Cancel, Data, End, Hello, Ping

log = logging.getLogger(__name__)

_HANDSHAKE = 30.0
_LOOK = 0.1
_FIRST_PAUSE, _LONGEST_PAUSE, _GROWTH = 0.2, 30.0, 2.0
#: seconds between signs of life, and without any after which a connection counts as lost
_PING_EVERY, _SILENCE = 10.0, 35.0

Status = Literal["unused", "connecting", "connected", "lost", "closed"]
OnData = Callable[[int, bytes], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The present state of a connection. `reason`: why the last attempt failed. `round_trip` in seconds."""

    status: Status = "unused"
    since: float = 0.0
    reason: str = ""
    attempts: int = 0
    reconnects: int = 0
    round_trip: float | None = None
    hello: Hello | None = None
    heard: float = 0.0  # the last sign of life
    skew: float | None = None  # seconds that its clock is ahead, at the handshake


@dataclass(slots=True)
class _Pending:
    answer: asyncio.Future[Mapping[str, Any]]
    on_data: OnData | None


@dataclass(slots=True)
class _Link:
    """One open stream, and its open calls."""

    stream: Stream
    hello: Hello
    pending: dict[int, _Pending] = field(default_factory=dict)
    heard: float = field(default_factory=time.monotonic)
    pinged: float = 0.0


class Connection:
    """The connection to the worker with this id. `home` names the state root: its jobs there are apart from others'."""

    def __init__(
        self, worker: str, carrier: Carrier, home: str, *, pauses: tuple[float, float] = (_FIRST_PAUSE, _LONGEST_PAUSE)
    ) -> None:
        self.worker = worker
        self.carrier = carrier
        self.health = Health()
        self._home = home
        self._pauses = pauses
        self._link: _Link | None = None
        self._ready = asyncio.Event()
        self._hurry = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None
        self._number = 0
        self._failures = 0
        self._later: set[asyncio.Future[Any]] = set()
        self._watchers: set[Callable[[Health], None]] = set()

    # --- calls --------------------------------------------------------------------------------------------------------

    async def call(
        self, op: str, args: Mapping[str, Any], on_data: OnData | None = None, *, within: float | None = None
    ) -> Mapping[str, Any]:
        """Send one call when the worker is connected, and return its result.

        `on_data` gets the parts of its stream. `within`: seconds from sending to the answer. Raises what the worker
        reports (see `answers`), WorkerLost if the connection ends meanwhile, TimeoutError.
        """
        link = await self.connected()
        self._number += 1
        number, pending = self._number, _Pending(asyncio.get_running_loop().create_future(), on_data)
        body = frames.encode(Call(id=number, op=op, args=args))
        link.pending[number] = pending
        try:
            await self._send(link, body)
            async with asyncio.timeout(within):
                return await pending.answer
        except (asyncio.CancelledError, TimeoutError):
            with contextlib.suppress(OSError):
                link.stream.writer.write(frames.encode(Cancel(id=number)))
            raise
        finally:
            link.pending.pop(number, None)
            pending.answer.cancel()

    async def ask(self, op: str, args: Mapping[str, Any], *, within: float | None = None) -> Mapping[str, Any]:
        """Send a call that may be repeated, until it is answered. Raises as `call`, but not WorkerLost."""
        while True:
            try:
                return await self.call(op, args, within=within)
            except WorkerLost:
                continue

    def later(self, call: asyncio.Future[Any]) -> None:
        """Leave a call to itself, until the worker returns or the connection is closed."""
        self._later.add(call)
        call.add_done_callback(self._forget)

    def _forget(self, call: asyncio.Future[Any]) -> None:
        self._later.discard(call)
        if not call.cancelled() and (error := call.exception()) is not None:
            log.info("worker %s: %s", self.worker, error)

    async def connected(self) -> _Link:
        """Wait for the connection, and return it. Raises WorkerUnreachable after `close`."""
        while self._link is None:
            if self.health.status == "closed":
                raise WorkerUnreachable(f"The connection to the worker {self.worker!r} is closed.")
            if self._keeping is None:
                self._keeping = asyncio.create_task(self._keep(), name=f"worker {self.worker}")
            await self._ready.wait()
        return self._link

    async def tried(self, seconds: float) -> None:
        """Wait for the connection, which is attempted at once. Raises WorkerUnreachable if the attempt fails, or takes
        longer."""
        before = self._failures
        self._hurry.set()
        connecting = asyncio.ensure_future(self.connected())
        try:
            async with asyncio.timeout(seconds):
                while not connecting.done() and self._failures == before:
                    await asyncio.wait([connecting], timeout=_LOOK)
        except TimeoutError:
            pass
        finally:
            connecting.cancel()
        if self._link is None:
            raise WorkerUnreachable(self.health.reason or f"The worker did not answer within {seconds:g} s.")

    @property
    def open_calls(self) -> int:
        """The number of calls without an answer."""
        return len(self._link.pending) if self._link is not None else 0

    async def close(self) -> None:
        """Close the connection. The worker's jobs continue."""
        self._note(status="closed")
        self._ready.set()
        for call in tuple(self._later):
            call.cancel()
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)

    def watch(self, watcher: Callable[[Health], None]) -> Callable[[], None]:
        """Call `watcher` at each change of the status; return the function that ends this."""
        self._watchers.add(watcher)
        return lambda: self._watchers.discard(watcher)

    # --- the stream ---------------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        """Keep a stream open: connect, serve it to its end, pause, connect again."""
        pause = self._pauses[0]
        while True:
            self._note(
                status="connecting" if self.health.reconnects == 0 else "lost", attempts=self.health.attempts + 1
            )
            began = time.monotonic()
            try:
                await self._connect_and_serve()
            except (KheishError, OSError, EOFError, TimeoutError) as error:
                reason = error.detail if isinstance(error, KheishError) else str(error) or type(error).__name__
                log.info("worker %s: %s", self.worker, reason)
                self._failures += 1
                self._note(status="lost", reason=reason)
            if time.monotonic() - began > self._pauses[1]:
                pause = self._pauses[0]  # it was connected for a while
            self._hurry.clear()
            with contextlib.suppress(TimeoutError):
                spread = pause * random.uniform(0.8, 1.2)  # nosec B311  # spreads attempts
                await asyncio.wait_for(self._hurry.wait(), spread)
            pause = min(pause * _GROWTH, self._pauses[1])

    async def _connect_and_serve(self) -> None:
        stream = await self.carrier.open()
        try:
            try:
                async with asyncio.timeout(_HANDSHAKE):
                    hello = await self._greet(stream)
            except TimeoutError:
                raise WorkerUnreachable(f"The worker did not answer within {_HANDSHAKE:g} s.") from None
            except (EOFError, ConnectionError, WorkerProtocolError) as error:
                raise _explained(error, stream) from error
            await self._serve(_Link(stream, hello))
        finally:
            await stream.close()

    async def _greet(self, stream: Stream) -> Hello:
        stream.writer.write(frames.encode(Hello(boot_id="", home=self._home)))
        await stream.writer.drain()
        await frames.skip_preamble(stream.reader)
        hello = await frames.read(stream.reader)
        if not isinstance(hello, Hello):
            raise WorkerProtocolError("The worker did not begin with a hello.")
        if hello.version != frames.VERSION:
            ours = f"{frames.VERSION} (kheish {resources.version()})"
            raise WorkerProtocolError(
                f"The worker speaks version {hello.version} of the protocol, and this daemon {ours}: install the same "
                "version there (`kheish workers install`)."
            )
        return hello

    async def _serve(self, link: _Link) -> None:
        """Read frames until the stream ends; then every open call is lost."""
        self._link = link
        self._note(
            status="connected", hello=link.hello, reason="", attempts=0, heard=time.time(), skew=_skew(link.hello)
        )
        self._ready.set()
        pinging = asyncio.create_task(self._ping(link))
        try:
            while True:
                self._take(link, await frames.read(link.stream.reader))
        except EOFError as error:
            raise _explained(error, link.stream) from error
        finally:
            pinging.cancel()
            self._link = None
            if self.health.status != "closed":
                self._ready.clear()
            self._note(reconnects=self.health.reconnects + 1)
            for pending in list(link.pending.values()):
                if not pending.answer.done():
                    pending.answer.set_exception(self._lost())
            await asyncio.gather(pinging, return_exceptions=True)

    def _take(self, link: _Link, frame: frames.Frame) -> None:
        link.heard = time.monotonic()
        match frame:
            case Data(id=id, offset=offset, bytes=data) if (pending := link.pending.get(id)) is not None:
                if pending.on_data is not None:
                    pending.on_data(offset, data)
            case End(id=id) if (pending := link.pending.get(id)) is not None and not pending.answer.done():
                if frame.error is None:
                    pending.answer.set_result(frame.result)
                else:
                    pending.answer.set_exception(answers.raised(*frame.error))
            case Ping(answer=True) if link.pinged:
                self.health = replace(self.health, round_trip=time.monotonic() - link.pinged, heard=time.time())
            case Data() | End() | Ping():
                pass  # of a call that was given up
            case _:
                raise WorkerProtocolError(
                    f"The worker sent a {type(frame).__name__.lower()}, which is not for a daemon."
                )

    async def _ping(self, link: _Link) -> None:
        """Send signs of life; end a stream on which nothing comes back."""
        number = 0
        while True:
            number += 1
            link.pinged = time.monotonic()
            try:
                await self._send(link, frames.encode(Ping(n=number)))
            except WorkerLost:
                return
            await asyncio.sleep(_PING_EVERY)
            if time.monotonic() - link.heard > _SILENCE:
                await link.stream.close()
                return

    async def _send(self, link: _Link, body: bytes) -> None:
        try:
            link.stream.writer.write(body)
            await link.stream.writer.drain()
        except (OSError, RuntimeError) as error:  # a closed transport
            raise self._lost() from error

    def _lost(self) -> WorkerLost:
        return WorkerLost(f"The connection to the worker {self.worker!r} was lost.")

    def _note(self, **changes: Any) -> None:
        before = self.health.status
        if self.health.status == "closed":
            changes.pop("status", None)
        if changes.get("status", before) != before:
            changes["since"] = time.time()
        self.health = replace(self.health, **changes)
        if self.health.status != before:
            for watcher in tuple(self._watchers):
                watcher(self.health)


def _skew(hello: Hello) -> float | None:
    theirs = hello.capabilities.get("time")
    return theirs - time.time() if isinstance(theirs, int | float) else None


def _explained(error: Exception, stream: Stream) -> WorkerUnreachable | WorkerProtocolError:
    """Return the error with what the carrier reported, such as ssh's own words."""
    said = stream.explain()
    detail = error.detail if isinstance(error, KheishError) else "The stream to the worker ended."
    kind = WorkerProtocolError if isinstance(error, WorkerProtocolError) and not said else WorkerUnreachable
    return kind(f"{detail} {said[-500:]}".strip())
