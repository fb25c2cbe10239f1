"""A connection to one server: an owner task opens it, keeps it and closes it; callers in other tasks send requests.

The owner alone enters and leaves the SDK's contexts. When the connection breaks, callers get an error, and the next
request opens another one.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from kheish.auth import outgoing
from kheish.domain.mcp.server import McpServer
from kheish.runtime.mcp.outcomes import Broken, Era, Negotiated, NotConnected, ServerError
from kheish.runtime.mcp.wire import FAILED, Wire

log = logging.getLogger(__name__)

T = TypeVar("T")
#: seconds for the whole beginning of a connection; and between changes of a list and reading it
_OPENING, _DEBOUNCE = 120.0, 0.2
#: seconds for the end of a process
_CLOSING = 10.0
#: the rest after reading the lists, as a multiple of its time
_REST = 10.0
#: seconds until a server that failed is tried again: doubled by each failure
_BACKOFF, _LONGEST_BACKOFF = 1.0, 60.0
_SHOWN = 500
Ask = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


class State(StrEnum):
    """The state of a connection."""

    IDLE = "idle"
    STARTING = "starting"
    READY = "ready"
    FAILING = "failing"


@dataclass(slots=True, eq=False)
class OpenCall:
    """A call in flight. `ask` shows a user what the server asks during it."""

    session_id: str | None
    ask: Ask


#: the call that the current task makes; over HTTP, what the server asks during the call carries it
CURRENT: ContextVar[OpenCall | None] = ContextVar("kheish_mcp_call", default=None)
CANCEL: Mapping[str, Any] = {"action": "cancel"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """The lists of a server, as plain data."""

    tools: Sequence[Mapping[str, Any]] = ()
    left_out: Sequence[Any] = ()
    has_resources: bool = False
    has_prompts: bool = False
    instructions: str | None = None


Opener = Callable[[Wire], AbstractAsyncContextManager[tuple[Any, Any]]]


@dataclass(slots=True, eq=False, kw_only=True)
class Connection:
    """`open` yields the streams of the transport; it raises NotConnected. `remembered` is the era of an earlier
    connection. `listed` takes the lists when they are read, and `changed()` is called when the state changes."""

    server_id: str
    server: McpServer
    open: Opener
    remembered: Era | None
    listed: Callable[[Connection, Listed], Awaitable[None]]
    changed: Callable[[Connection], None]
    banner: Callable[[str], None]
    explain: Callable[[Wire], Awaitable[str | None]]
    state: State = State.IDLE
    error: str | None = None
    code: str = FAILED
    negotiated: Negotiated | None = None
    instructions: str | None = None
    failures: int = 0
    retry_at: float = 0.0
    used_at: float = field(default_factory=time.monotonic)
    started_at: float = 0.0
    _sdk: Any = None
    _session: Any = None
    _wire: Wire | None = None
    _owner: asyncio.Task[None] | None = None
    _settled: asyncio.Event = field(default_factory=asyncio.Event)
    _stale: asyncio.Event = field(default_factory=asyncio.Event)
    _closing: asyncio.Event = field(default_factory=asyncio.Event)
    _calls: set[OpenCall] = field(default_factory=set)

    @property
    def is_busy(self) -> bool:
        """Return whether a call is in flight."""
        return bool(self._calls)

    @property
    def _is_ending(self) -> bool:
        """Return whether the connection is broken, and its process not ended yet."""
        is_running = self._owner is not None and not self._owner.done()
        return is_running and self._wire is not None and self._wire.closed.is_set() and not self._closing.is_set()

    # --- opening ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the connection, unless it is open, or failed a moment ago."""
        self.used_at = time.monotonic()
        is_running = self._owner is not None and not self._owner.done()
        if is_running or self._closing.is_set() or time.monotonic() < self.retry_at:
            return
        self._settled, self.started_at = asyncio.Event(), time.monotonic()
        self._change(State.STARTING, None)
        self._owner = asyncio.get_running_loop().create_task(self._own(), name=f"mcp:{self.server_id}")

    async def started(self) -> None:
        """Wait until the connection is ready or has failed, no longer than the server's start_timeout since its
        start."""
        await self.settled(self.server.start_timeout - (time.monotonic() - self.started_at))

    async def settled(self, timeout: float) -> bool:
        """Wait until the connection is ready or has failed; return whether that was within the time."""
        try:
            async with asyncio.timeout(timeout):
                await self._settled.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Close the connection for good, and wait for the end of its process."""
        self._closing.set()
        if self._owner is None:
            return
        done, _ = await asyncio.wait({self._owner}, timeout=_CLOSING if self.state is State.READY else 0.0)
        if not done:  # it waits for a server that does not answer
            self._owner.cancel()
            await asyncio.wait({self._owner}, timeout=_CLOSING)

    async def _own(self) -> None:
        """Keep the connection from its opening to its end. It catches everything: the SDK and the server are
        third-party code, and one server must not disturb the others."""
        wire = self._wire = Wire(on_banner=self.banner)
        try:
            await outgoing.load()
            self._sdk = await asyncio.to_thread(importlib.import_module, "kheish.runtime.mcp.session")
            await self._serve(wire)
        except asyncio.CancelledError:
            wire.fail("the daemon stops")
            raise
        except Exception as error:
            text, code = _describe_failure(error)
            log.debug("the MCP server %s failed", self.server_id, exc_info=error)
            wire.fail(text, code)
        finally:
            self._end(wire)

    async def _serve(self, wire: Wire) -> None:
        sdk, tasks = self._sdk, list[asyncio.Task[Any]]()
        async with (
            self.open(wire) as streams,
            sdk.opened(streams, wire, ask=self._ask, changed=self._stale.set) as session,
        ):
            async with _bounded():
                await self._greet(session, wire)
                await self._list(session, wire)
            self._session, self.failures, self.retry_at = session, 0, 0.0
            self._change(State.READY, None)
            self._settled.set()
            try:
                if self.negotiated is not None and self.negotiated.era == "modern":
                    tasks.append(asyncio.create_task(sdk.follow_changes(session, self._stale.set)))
                await self._keep(session, wire)
            finally:
                self._session = None
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _greet(self, session: Any, wire: Wire) -> None:
        try:
            self.negotiated = await self._sdk.negotiate(session, self.server.protocol, self.remembered)
        except (ServerError, Broken) as error:
            # A server that ended at the probe is greeted by the handshake next; else it may have changed.
            is_probe = isinstance(error, Broken) and self.server.protocol == "auto" and self.remembered is None
            self.remembered = "legacy" if is_probe else None
            why = await self.explain(wire) or _refusal(wire) or wire.fault or str(error)
            raise NotConnected(why) from error
        assert self.negotiated is not None
        self.remembered = self.negotiated.era
        self.instructions = session.instructions

    async def _list(self, session: Any, wire: Wire) -> None:
        capabilities = session.server_capabilities
        wire.left_out.pop("tools/list", None)
        try:
            tools = await self._sdk.list_tools(session)
        except (ServerError, Broken) as error:
            raise NotConnected(f"its tools cannot be listed: {error}") from error
        await self.listed(
            self,
            Listed(
                tools=tools,
                left_out=wire.left_out.pop("tools/list", ()),
                has_resources=capabilities is not None and capabilities.resources is not None,
                has_prompts=capabilities is not None and capabilities.prompts is not None,
                instructions=self.instructions,
            ),
        )

    async def _keep(self, session: Any, wire: Wire) -> None:
        """Keep the connection until it is closed or breaks; read the lists again when they change."""
        rest = 0.0  # a server that reports changes all the time must not occupy the daemon
        while not (self._closing.is_set() or wire.closed.is_set()):
            waits = [asyncio.ensure_future(one.wait()) for one in (self._closing, wire.closed, self._stale)]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
            if self._stale.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), _DEBOUNCE + rest)
                self._stale.clear()
                began = time.monotonic()
                async with _bounded():
                    await self._list(session, wire)
                rest = min(_REST * (time.monotonic() - began), _LONGEST_BACKOFF)

    def _end(self, wire: Wire) -> None:
        """Note the end of the connection: wanted, or a failure that a later attempt may overcome."""
        self._session = None
        if self._closing.is_set() or wire.lost:
            self._change(State.IDLE, None)
        else:
            self.failures += 1
            pause = min(_BACKOFF * 2 ** (self.failures - 1), _LONGEST_BACKOFF)
            self.retry_at = time.monotonic() + (pause if self.state is not State.READY or self.failures > 1 else 0.0)
            self.code = wire.code
            self._change(State.FAILING, (wire.fault or "the connection was closed")[:_SHOWN])
        self._settled.set()

    def _change(self, state: State, error: str | None) -> None:
        self.state, self.error = state, error
        self.changed(self)

    # --- requests -----------------------------------------------------------------------------------------------------

    async def ready(self) -> None:
        """Wait until there is a session, within the server's start_timeout. Raises NotConnected."""
        await self._connected()

    async def request(self, send: Callable[[Any, Any], Awaitable[T]], *, call: OpenCall | None = None) -> T:
        """Send a request with `send(sdk, session)`, on a connection that is opened if need be. If the server has
        forgotten the session, nothing was executed: the request is repeated once, on a new connection.

        Raises NotConnected, Broken, ServerError.
        """
        for attempt in range(2):
            session, wire = await self._connected()
            try:
                async with self._in_flight(call):
                    return await send(self._sdk, session)
            except (ServerError, Broken) as error:
                if wire.lost and attempt == 0:
                    await self._reopen(wire)
                    continue
                if isinstance(error, Broken) and wire.fault is not None:
                    raise Broken(wire.fault) from error
                raise
        raise NotConnected("the server forgets each session")

    async def _connected(self) -> tuple[Any, Wire]:
        """Return the open session, waiting for it within the server's start_timeout. Raises NotConnected."""
        if self._is_ending and self._owner is not None:
            await asyncio.wait({self._owner}, timeout=self.server.start_timeout)
        self.start()
        if self._session is None:
            await self.started()
        if self._session is None or self._wire is None:
            why = self.error or ("it is still starting" if self.state is State.STARTING else "it is closed")
            raise NotConnected(why)
        return self._session, self._wire

    async def _reopen(self, wire: Wire) -> None:
        """End the connection whose session is lost, so that the next request opens another."""
        wire.closed.set()
        if self._owner is not None and self._wire is wire:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(self._owner)

    @contextlib.asynccontextmanager
    async def _in_flight(self, call: OpenCall | None) -> AsyncIterator[None]:
        self.used_at = time.monotonic()
        if call is None:
            yield
            return
        self._calls.add(call)
        token = CURRENT.set(call)
        try:
            yield
        finally:
            CURRENT.reset(token)
            self._calls.discard(call)
            self.used_at = time.monotonic()

    async def _ask(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer a request for input that came during a call: by the call that it belongs to. If several sessions have
        a call open, it might belong to any, so that it is cancelled."""
        call = CURRENT.get()
        if call is None:
            sessions = {one.session_id for one in self._calls}
            if len(sessions) != 1:
                return CANCEL
            call = next(iter(self._calls))
        return await call.ask(params)


@contextlib.asynccontextmanager
async def _bounded() -> AsyncIterator[None]:
    """Bound the time of an exchange at the beginning. Raises NotConnected."""
    try:
        async with asyncio.timeout(_OPENING):
            yield
    except TimeoutError:
        raise NotConnected(f"it did not answer within {_OPENING:g} s") from None


def _refusal(wire: Wire) -> str | None:
    """Return why an HTTP server refused the beginning, in a few words."""
    match wire.status:
        case 401:
            return "it asks for a login, or refuses the credential (401)"
        case 403:
            return "it refuses access (403)"
        case None:
            return None
        case status:
            return f"it answered with the HTTP status {status}"


def _describe_failure(error: BaseException) -> tuple[str, str]:
    """Return a sentence about a failure, and its code."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    if isinstance(error, NotConnected):
        return str(error), FAILED
    if isinstance(error, OSError) and error.strerror:
        return error.strerror, FAILED
    text = " ".join(str(error).split())
    return text or type(error).__name__, FAILED
