"""HTTP connections with limits on the time and size of requests."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from kheish.api.http import errors, media
from kheish.errors import TooLarge

_SAYS = b"HTTP/1.1 %b\r\ncontent-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"


class _Plain(RequestResponseCycle):
    """A response to HTTP/1.0, which has no chunked encoding: without a length, it ends with the connection."""

    _is_framed = False

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._is_framed = any(name.lower() == b"content-length" for name, _ in message.get("headers", ()))
            self.chunked_encoding = None if self._is_framed else False
        elif not self._is_framed:
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)


class _Gentle:
    """The transport of a response; it closes only after the caller had time to read the response."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def write(self, data: bytes) -> None:
        self._connection.transport.write(data)

    def is_closing(self) -> bool:
        return bool(self._connection.transport.is_closing())

    def close(self) -> None:
        self._connection.close_gently()


class Connection(HttpToolsProtocol):
    """uvicorn's protocol with limits: uvicorn itself waits forever for a request, and accepts headers of any size.

    Responses are not limited, because of long polls and event streams.
    """

    HEAD_SECONDS = 15.0
    BODY_SECONDS = 60.0
    #: while an answer is read whose request was not: a close with unread bytes is a reset, which takes the answer away
    LINGER_SECONDS = 5.0
    LINGER_BYTES = 64 * 1024 * 1024
    HEAD_BYTES = 64 * 1024

    _timer: asyncio.TimerHandle | None = None
    _due: float | None = None
    _in_head = True
    _in_body = False
    _head = 0  # bytes of the head that were parsed
    _unparsed = 0  # bytes that came while it was not whole
    _discarded = 0
    _lingers = False
    _is_deaf = False  # what comes is no request any more

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait(self.HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait(None)
        self._arm(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return self._discard(len(data))
        was_in_head = self._in_head
        super().data_received(data)
        if was_in_head and self._in_head and not self._is_deaf and not self.transport.is_closing():
            self._unparsed += len(data)
            if self._unparsed > self.HEAD_BYTES:
                self._end(b"431 Request Header Fields Too Large")
        return None

    def eof_received(self) -> None:
        """Close the connection if it lingered for the response only."""
        if self._lingers:
            self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head, self._unparsed, self._discarded = True, 0, 0, 0
        self._wait(self.HEAD_SECONDS)

    def on_url(self, url: bytes) -> None:
        self._head += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head += len(name) + len(value) + len(b": \r\n")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._is_deaf:
            return None
        if self._head > self.HEAD_BYTES:  # it came whole, in one piece
            return self._end(b"431 Request Header Fields Too Large")
        self._in_body = True
        most = media.most_bytes(self.parser.get_method(), self.url)
        if (length := self._content_length()) > most:
            # Falcon reads before it asks the resource: the caller would be told to continue, and send all of it.
            document = errors.problem(TooLarge.of_body(length, most))
            return self._end(b"413 Content Too Large", errors.MEDIA.encode(), orjson.dumps(document))
        self._wait(self.BODY_SECONDS)
        if not self.url.startswith(b"/") and b"://" in self.url:
            self._take_host()
        super().on_headers_complete()
        self.cycle.transport = _Gentle(self)  # type: ignore[assignment]  # has the methods that uvicorn calls
        if self.scope["http_version"] == "1.0":
            self.cycle.__class__ = _Plain  # its task is made, and has not begun
        return None

    def on_body(self, body: bytes) -> None:
        if self._is_deaf:
            return
        if self.cycle.response_complete:
            self._discard(len(body))
        super().on_body(body)

    def _content_length(self) -> int:
        """Return the declared length of the body; 0 if it is missing, or no number."""
        text = next((value for name, value in self.headers if name == b"content-length"), b"")
        return int(text) if text.isdigit() else 0

    def _take_host(self) -> None:
        """Replace the Host header by the host of an absolute URL, as in `GET http://host/path` (RFC 9112, 3.2.2)."""
        _, _, rest = self.url.partition(b"://")
        host = re.split(rb"[/?#]", rest, maxsplit=1)[0]
        self.headers[:] = [*(one for one in self.headers if one[0] != b"host"), (b"host", host)]

    def on_message_complete(self) -> None:
        self._in_body = False
        if self._is_deaf:
            return None
        if self._lingers:
            return self.transport.close()
        self._wait(None)
        super().on_message_complete()
        return None

    # --- the end ------------------------------------------------------------------------------------------------------

    def close_gently(self) -> None:
        """Close the connection; if the request is incomplete, first give its sender time to read the response."""
        if self._lingers or self.transport.is_closing():
            return None
        if not (self._in_body or self._in_head or self._is_deaf):
            return self.transport.close()
        self._lingers = True
        self._wait(self.LINGER_SECONDS)
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        return None

    def _discard(self, count: int) -> None:
        self._discarded += count
        if self._discarded > self.LINGER_BYTES:
            self.transport.close()

    def _wait(self, seconds: float | None) -> None:
        """Set the deadline. A request sets it three times, so a running timer is kept and rechecks."""
        self._due = None if seconds is None else self.loop.time() + seconds
        if self._due is not None and (self._timer is None or self._timer.when() > self._due):
            self._arm(self._due)

    def _arm(self, when: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if when is None else self.loop.call_at(when, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._due is None:
            return
        if self.loop.time() < self._due:
            self._arm(self._due)
        elif self._lingers:
            self.transport.close()
        else:
            self._end(b"408 Request Timeout")

    def _end(self, status: bytes, kind: bytes = b"text/plain; charset=utf-8", body: bytes = b"") -> None:
        answering = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        if answering:  # the bytes would stand in the middle of another answer
            return self.transport.close()
        self.transport.write(_SAYS % (status, kind, len(body), body))
        self._is_deaf = True
        return self.close_gently()
