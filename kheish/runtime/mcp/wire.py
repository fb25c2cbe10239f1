"""The messages of a connection on their way to and from the SDK: cleaned, and watched for the end of the connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kheish.runtime.mcp import cleaning
from kheish.runtime.mcp.cleaning import LeftOut, Notes
from kheish.texts import is_number

if TYPE_CHECKING:
    import contextvars
    from types import TracebackType

    from mcp.client._transport import ReadStream, WriteStream
    from mcp.shared.message import SessionMessage

#: requests whose answers are remembered; a server that never answers must not fill the memory
_MOST_OPEN = 10_000
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

    def method_of(self, id: Any) -> str:
        """Return the method of the request that is answered, once; some servers answer with a text."""
        keys = (id, int(id)) if isinstance(id, str) and is_number(id) else (id,)
        return next((method for key in keys if (method := self.methods.pop(key, ""))), "")

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
        result = getattr(message, "result", None)
        if message is None or not isinstance(result, dict):
            return item
        method = self._wire.method_of(message.id)
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
    """The write stream of the SDK, which remembers the method of each request."""

    def __init__(self, stream: WriteStream[Any], wire: Wire) -> None:
        super().__init__(stream, wire)

    async def send(self, item: SessionMessage, /) -> None:
        """Send a message."""
        method, id = getattr(item.message, "method", None), getattr(item.message, "id", None)
        if isinstance(method, str) and id is not None:
            if len(self._wire.methods) >= _MOST_OPEN:
                self._wire.methods.pop(next(iter(self._wire.methods)))
            self._wire.methods[id] = method
        await self._stream.send(item)

    async def __aenter__(self) -> Outgoing:
        return self
