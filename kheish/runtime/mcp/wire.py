"""The messages of a connection on their way to and from the SDK: cleaned, and watched for the end of the connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kheish.runtime.mcp import cleaning, transcript
from kheish.runtime.mcp.cleaning import LeftOut, Notes
from kheish.runtime.mcp.transcript import Transcript
from kheish.texts import is_number

if TYPE_CHECKING:
    import contextvars
    from types import TracebackType

    from mcp.client._transport import ReadStream, WriteStream
    from mcp.shared.message import SessionMessage

#: requests whose answers are remembered; a server that never answers must not fill the memory
_MOST_OPEN = 10_000
#: the requests of calls, as opposed to those of the connection itself
_CALLS = frozenset({"tools/call", "resources/read", "prompts/get", "tasks/get", "tasks/update", "tasks/cancel"})
#: problem codes of a connection
FAILED, TOO_LARGE = "mcp_failed", "mcp_message_too_large"


def _ignore(_: str) -> None:
    """Ignore a line."""


@dataclass(slots=True)
class Wire:
    """The state of a connection that its transport has. `fault` is the reason for its end; `lost`: the server has
    forgotten the session, so that the last request was not executed; `status` is the last HTTP status of an error."""

    fault: str | None = None
    code: str = FAILED
    lost: bool = False
    status: int | None = None
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    on_banner: Callable[[str], None] = _ignore
    left_out: dict[str, list[LeftOut]] = field(default_factory=dict)
    methods: dict[Any, str] = field(default_factory=dict)
    transcripts: dict[Any, Transcript] = field(default_factory=dict)

    def request_of(self, id: Any) -> Any:
        """Return the id of the open request that is answered; some servers answer with a text."""
        return int(id) if id not in self.methods and isinstance(id, str) and is_number(id) else id

    def sent(self, message: Any) -> None:
        """Note a message of the SDK: the method of a request, and the call that it belongs to."""
        method, id, own = getattr(message, "method", None), getattr(message, "id", None), transcript.current()
        if isinstance(method, str) and id is not None:
            if len(self.methods) >= _MOST_OPEN:
                oldest = next(iter(self.methods))
                del self.methods[oldest]
                self.transcripts.pop(oldest, None)
            self.methods[id] = method
            if own is not None:
                self.transcripts[id] = own
        own = own or (self._only() if self.transcripts else None)
        if own is not None:
            own.note("sent", message)

    def received(self, message: Any) -> str:
        """Note a message of the server; return the method of the request that it answers, if it does."""
        if hasattr(message, "result") or hasattr(message, "error"):
            id = self.request_of(message.id)
            own, method = self.transcripts.pop(id, None), self.methods.pop(id, "")
        else:
            own, method = (self._named(message) if self.transcripts else None), ""
        if own is not None:
            own.note("received", message)
        return method

    def _named(self, message: Any) -> Transcript | None:
        params = getattr(message, "params", None)
        token = params.get("progressToken") if isinstance(params, dict) else None
        return self.transcripts.get(self.request_of(token)) if token is not None else self._only()

    def _only(self) -> Transcript | None:
        """Return the transcript of the open call, if there is but one: a message without a name belongs to no other."""
        owners = {self.transcripts.get(id) for id, method in self.methods.items() if method in _CALLS}
        return owners.pop() if len(owners) == 1 else None

    def fail(self, fault: str, code: str = FAILED) -> None:
        """Note why the connection ends; the first reason counts."""
        if self.fault is None:
            self.fault, self.code = fault, code
        self.closed.set()


class _Stream:
    """The common part of both directions."""

    def __init__(self, stream: Any, wire: Wire) -> None:
        self._stream = stream
        self._wire = wire

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class Incoming(_Stream):
    """The read stream for the SDK, with cleaned results."""

    def __init__(self, stream: ReadStream[Any], wire: Wire) -> None:
        super().__init__(stream, wire)

    @property
    def last_context(self) -> contextvars.Context | None:
        """The context of the task that received the newest message: over HTTP, that of the request it belongs to."""
        context: contextvars.Context | None = getattr(self._stream, "last_context", None)
        return context

    async def receive(self) -> Any:
        """Return the next message. Raises as the stream below."""
        import anyio

        try:
            item = await self._stream.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
            self._wire.closed.set()
            raise
        return await self._cleaned(item)

    async def _cleaned(self, item: Any) -> Any:
        message = getattr(item, "message", None)
        if message is None:
            return item
        method, result = self._wire.received(message), getattr(message, "result", None)
        if not isinstance(result, dict):
            return item
        notes = Notes()
        if method in cleaning.LISTS:
            message.result = await asyncio.to_thread(cleaning.clean, method, result, notes)
        else:
            message.result = cleaning.clean(method, result, notes)
        if notes.left_out:
            self._wire.left_out.setdefault(method, []).extend(notes.left_out)
        return item

    def __aiter__(self) -> Incoming:
        return self

    async def __anext__(self) -> Any:
        import anyio

        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Incoming:
        return self


class Outgoing(_Stream):
    """The write stream of the SDK, whose messages are noted."""

    def __init__(self, stream: WriteStream[Any], wire: Wire) -> None:
        super().__init__(stream, wire)

    async def send(self, item: SessionMessage, /) -> None:
        """Send a message."""
        self._wire.sent(item.message)
        await self._stream.send(item)

    async def __aenter__(self) -> Outgoing:
        return self
