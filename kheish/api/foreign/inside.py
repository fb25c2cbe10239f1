"""Access to the operations within the daemon, with the token of one request.

Each call is a request to Falcon's application, so that it is authorised, filtered, limited and audited like any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import unquote

from kheish.client import faults
from kheish.client.call import Call, Reply, Stream, answer, located
from kheish.client.sse import Event, Following
from kheish.errors import NotFound

T = TypeVar("T")
App = Callable[[Any, Any, Any], Awaitable[None]]
#: chunks of a stream that wait for a slow reader
_AHEAD = 16


class Inside:
    """Access to the operations within the daemon, with the token of one request."""

    patience = 0.0

    def __init__(self, app: App, scope: Mapping[str, Any], digest: str) -> None:
        self._app = app
        self.digest = digest
        kept = (b"host", b"authorization")
        self._headers = [(name, value) for name, value in scope["headers"] if name in kept]
        self._common = {key: scope.get(key) for key in ("client", "server", "scheme", "http_version", "asgi")}

    async def send(self, call: Call[T]) -> T:
        """Return the answer to a call. Raises the KheishError that it answers with.

        Raises NotFound for an id with a slash: decoded, it would select another operation.
        """
        _check_path(call.path)
        if call.method == "GET":
            return answer(call, await self._exchange(call))
        # A caller that leaves ends a wait; what changes something is never cut in the middle.
        return answer(call, await asyncio.shield(asyncio.ensure_future(self._exchange(call))))

    async def follow(
        self, stream: Stream, *, after: int | None, opened: Callable[[], None] | None = None
    ) -> AsyncGenerator[Event, None]:
        """Yield the events of a stream after `after` (0: all; None: from now on), then live ones, until the daemon
        stops. Close it, to end the request. `opened()` is called when nothing is missed any more. Raises the
        KheishError that the request answers with."""
        place = Following(after)
        path = located(stream.path, {**stream.query, **place.query()})
        _check_path(path)
        exchange = _Streamed()
        scope = self._scope("GET", path, {}, b"")
        task = asyncio.ensure_future(exchange.run(self._app, scope))
        try:
            place.opened(await exchange.opened())
            if opened is not None:
                opened()
            async for chunk in exchange.chunks():
                for event in place.feed(chunk):
                    yield event
        finally:
            exchange.gone.set()
            await _finish(task)

    def _scope(self, method: str, target: str, given: Mapping[str, str], body: bytes) -> dict[str, Any]:
        path, _, query = target.partition("?")
        headers = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in given.items()]
        return {
            **self._common,
            "type": "http",
            "method": method,
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [*self._headers, *headers, (b"content-length", str(len(body)).encode())],
        }

    async def _exchange(self, call: Call[Any]) -> Reply:
        body = call.body or b""
        scope = self._scope(call.method, call.path, call.headers, body)
        incoming = [{"type": "http.request", "body": body, "more_body": False}]
        status, found, parts = 500, dict[str, str](), list[bytes]()

        async def receive() -> Any:
            if incoming:
                return incoming.pop()
            await asyncio.Event().wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                found.update(_headers(message))
            elif message["type"] == "http.response.body":
                parts.append(message.get("body", b""))

        await self._app(scope, receive, send)
        return Reply(status, found, b"".join(parts))


class _Streamed:
    """A streamed request: its chunks pass a bounded queue, so that a slow reader slows its source only."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self._start: asyncio.Future[tuple[int, dict[str, str]]] = asyncio.get_running_loop().create_future()
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue(_AHEAD)
        self._asked = False

    async def run(self, app: App, scope: dict[str, Any]) -> None:
        """Run the request to its end."""
        try:
            await app(scope, self._receive, self._send)
        finally:
            if not self._start.done():
                self._start.set_result((500, {}))
            await self._put(None)

    async def opened(self) -> str | None:
        """Return the number of the newest event. Raises the KheishError of the answer."""
        status, headers = await self._start
        if status >= 400:
            body = [chunk async for chunk in self.chunks()]
            raise faults.from_reply(status, b"".join(body))
        return headers.get("x-kheish-event")

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body, as it comes."""
        while (chunk := await self._chunks.get()) is not None:
            yield chunk

    async def _receive(self) -> Any:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._start.set_result((message["status"], _headers(message)))
        elif message["type"] == "http.response.body" and message.get("body"):
            await self._put(message["body"])

    async def _put(self, chunk: bytes | None) -> None:
        """Pass a chunk to the reader; drop it if the reader has left."""
        putting = asyncio.ensure_future(self._chunks.put(chunk))
        leaving = asyncio.ensure_future(self.gone.wait())
        try:
            await asyncio.wait((putting, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            putting.cancel()
            leaving.cancel()


async def _finish(task: asyncio.Future[None]) -> None:
    """End a request whose reader has left, and take its failure, which the application has answered."""
    task.cancel()  # Falcon closes the stream
    await asyncio.wait((task,))
    if not task.cancelled():
        task.exception()


def _headers(message: Mapping[str, Any]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in message["headers"]}


def _check_path(path: str) -> None:
    if "%2f" in path.partition("?")[0].lower():
        raise NotFound("No id has a slash in it; there is nothing of that name.")
