"""One HTTP/1.1 exchange over a connection of its own: h11 on a socket of the event loop.

A client library such as httpx costs five times the CPU time for each request, most of it for pools, proxies and cookies
that a request through the network guard must not have.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote

import h11

from kheish.auth import outgoing
from kheish.errors import FetchFailed, Invalid, NotConnected

#: bytes of the status line and the headers of an answer
_HEAD_BYTES = 100 * 1024
#: bytes that wait here before the socket is read no further
_HIGH, _LOW = 256 * 1024, 64 * 1024
#: parsed events after which other tasks get their turn: an answer may consist of chunks of one byte
_TURN = 64
#: interim answers (1xx) before the final one
_MOST_INTERIM = 100
#: the characters of an address that are sent as they are
PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request, and the address that it is sent to. `host` is the name that the server's certificate must have."""

    method: str
    url: str  # for messages
    address: str
    port: int
    host: str
    is_secure: bool
    target: str
    headers: Mapping[str, str]
    content: bytes | None
    connect_seconds: float


class _Link(asyncio.Protocol):
    """A connection: the received bytes, until they are read."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._received: deque[bytes] = deque()
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        self._is_over = False
        self._error: Exception | None = None
        self.events = 0  # parsed so far

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)  # that of uvloop is no subclass

    def data_received(self, data: bytes) -> None:
        """Keep what was received, and stop reading when it is much."""
        self._received.append(data)
        self._size += len(data)
        if self._size > _HIGH and self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        """Close the connection: what was received before is read nevertheless."""
        self._is_over = True
        self._wake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Keep the reason."""
        self._error = self._error or exc
        self._is_over = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def read(self) -> bytes:
        """Return the next bytes; none at the end. Raises OSError for a connection that was lost."""
        while not self._received and not self._is_over:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._received:
            data = self._received.popleft()
            self._size -= len(data)
            if self._size <= _LOW and self.transport is not None and not self.transport.is_closing():
                self.transport.resume_reading()
            return data
        if self._error is not None:
            raise self._error
        return b""


class Response:
    """A response: its status and headers (names in lower case), and its body."""

    def __init__(self, status: int, headers: Mapping[str, str], link: _Link, parser: h11.Connection, url: str) -> None:
        self.status = status
        self.headers = headers
        self._link = link
        self._parser = parser
        self._url = url

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes, still encoded. Raises FetchFailed."""
        while isinstance(event := await _next(self._link, self._parser, self._url), h11.Data):
            yield bytes(event.data)


@asynccontextmanager
async def ask(request: Request) -> AsyncIterator[Response]:
    """Send a request and yield its response. Raises Invalid for a request that cannot be written, NotConnected if
    nothing was sent, FetchFailed otherwise."""
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES)
    written = _write(parser, request)
    link = await _connect(request)
    assert link.transport is not None
    try:
        # Nothing waits for the end of the writing: a server may answer and close before it has read everything.
        link.transport.write(written)
        for _ in range(_MOST_INTERIM):
            event = await _next(link, parser, request.url)
            if not isinstance(event, h11.InformationalResponse):
                break
        if not isinstance(event, h11.Response):  # it has switched to another protocol, or never comes to an end
            raise FetchFailed(f"{request.url} does not answer by HTTP.")
        yield Response(event.status_code, _headers(event), link, parser, request.url)
    finally:
        link.transport.abort()


def _write(parser: h11.Connection, request: Request) -> bytes:
    """Return the bytes of a request. Raises Invalid; the message shows no value, since it may be a secret."""
    try:
        target = quote(request.target, safe=PRINTABLE).encode()
        headers = [(name.encode(), value.encode()) for name, value in request.headers.items()]
        length = len(request.content or b"")
        if request.content is not None or request.method in ("POST", "PUT", "PATCH"):
            headers.append((b"Content-Length", str(length).encode()))
        first = parser.send(h11.Request(method=request.method, target=target, headers=headers)) or b""
    except (h11.LocalProtocolError, UnicodeEncodeError):
        raise Invalid(
            f"The request to {request.url} cannot be written: a header or the address has a character that HTTP does "
            "not allow. A line break at the end of a secret is one."
        ) from None
    body = parser.send(h11.Data(data=request.content)) if request.content else b""
    return first + (body or b"") + (parser.send(h11.EndOfMessage()) or b"")


async def _connect(request: Request) -> _Link:
    """Return a connection to the address of a request. Raises NotConnected."""
    secure: dict[str, Any] = {"ssl": outgoing.https(), "server_hostname": request.host} if request.is_secure else {}
    try:
        async with asyncio.timeout(request.connect_seconds) as limit:
            connecting = asyncio.get_running_loop().create_connection
            _, link = await connecting(_Link, request.address, request.port, **secure)
            return link
    except OSError as error:  # errors of TLS and of the time are among them
        why = f"no answer within {request.connect_seconds:g} s" if limit.expired() else error or type(error).__name__
        raise NotConnected(f"{request.url} accepts no connection: {why}.") from error


async def _next(link: _Link, parser: h11.Connection, url: str) -> Any:
    """Return the next event of a response. Raises FetchFailed."""
    link.events += 1
    if link.events % _TURN == 0:
        await asyncio.sleep(0)
    try:
        while True:
            event = parser.next_event()
            if event is not h11.NEED_DATA:
                return event
            data = await link.read()
            if not data and parser.their_state is h11.SEND_RESPONSE:
                raise FetchFailed(f"{url} closed the connection without an answer.")
            parser.receive_data(data)
    except h11.RemoteProtocolError as error:
        raise FetchFailed(f"{url} could not be fetched: its answer is no valid HTTP: {error}.") from error
    except OSError as error:
        raise FetchFailed(f"{url} could not be fetched: {error or type(error).__name__}.") from error


def _headers(response: h11.Response) -> dict[str, str]:
    found: dict[str, str] = {}
    for raw_name, raw in response.headers:
        name, value = raw_name.decode("ascii"), _text(raw)
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
