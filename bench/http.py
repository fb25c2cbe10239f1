"""A small HTTP client: one request at a time on a kept connection, and event streams. As little work as can be, so that
the load generator does not take the core that the daemon needs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httptools


class Connection(asyncio.Protocol):
    """A kept connection. `on_frame(bytes)` is called with each event of a stream."""

    def __init__(self, host: str, port: int, on_frame: Callable[[bytes], None] | None = None) -> None:
        self._place = host, port
        self._on_frame = on_frame
        self._buffer = b""
        self._body: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)
        self._waits: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._waits is not None and not self._waits.done():
            self._waits.set_exception(exc or ConnectionResetError("the server closed the connection"))

    def on_body(self, data: bytes) -> None:
        if self._on_frame is None:
            self._body.append(data)
            return
        *frames, self._buffer = (self._buffer + data).split(b"\n\n")
        for frame in frames:
            self._on_frame(frame)

    def on_headers_complete(self) -> None:
        if self._on_frame is not None and self._waits is not None:
            self._waits.set_result((self._parser.get_status_code(), b""))

    def on_message_complete(self) -> None:
        status, body = self._parser.get_status_code(), b"".join(self._body)
        self._body = []
        self._parser = httptools.HttpResponseParser(self)
        if self._waits is not None and not self._waits.done():
            self._waits.set_result((status, body))

    async def open(self) -> None:
        """Connect."""
        await asyncio.get_running_loop().create_connection(lambda: self, *self._place)

    async def send(self, request: bytes) -> tuple[int, bytes]:
        """Send a whole request and return (status, body). A connection that the server closed while it was idle, as it
        does after 5 s, is opened again."""
        if self._transport is None:
            await self.open()
        self._waits = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waits

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


async def connect(url: str, on_frame: Callable[[bytes], None] | None = None) -> Connection:
    """A new connection to the server of a URL."""
    place = urlsplit(url)
    connection = Connection(place.hostname or "", place.port or 80, on_frame)
    await connection.open()
    return connection


def request(url: str, method: str, path: str, token: str = "", body: bytes = b"") -> bytes:
    """A request as it goes over the wire."""
    head = f"{method} {path} HTTP/1.1\r\nhost: {urlsplit(url).netloc}\r\n"
    if token:
        head += f"authorization: Bearer {token}\r\n"
    if body:
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body
