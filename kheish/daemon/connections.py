"""Connections with an end: who never finishes a request, or sends endless headers, does not stay for ever."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_SAYS = b"HTTP/1.1 %s\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Connection(HttpToolsProtocol):
    """uvicorn's, with bounds: it waits for ever for the rest of a request, and keeps headers of any size.

    Answers may take as long as they like: long polls and event streams do.
    """

    HEAD_SECONDS = 15.0
    BODY_SECONDS = 60.0
    HEAD_BYTES = 64 * 1024

    _timer: asyncio.TimerHandle | None = None
    _due: float | None = None
    _in_head = True
    _head = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait(self.HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait(None)
        self._arm(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head += len(data)
            if self._head > self.HEAD_BYTES:
                self._end(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head = True, 0
        self._wait(self.HEAD_SECONDS)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._wait(self.BODY_SECONDS)
        if not self.url.startswith(b"/") and b"://" in self.url:
            self._take_host()
        super().on_headers_complete()

    def _take_host(self) -> None:
        """`GET http://host/path`: that host is meant, whatever the header says (RFC 9112, 3.2.2)."""
        _, _, rest = self.url.partition(b"://")
        host = re.split(rb"[/?#]", rest, maxsplit=1)[0]
        self.headers[:] = [*(one for one in self.headers if one[0] != b"host"), (b"host", host)]

    def on_message_complete(self) -> None:
        self._wait(None)
        super().on_message_complete()

    def _wait(self, seconds: float | None) -> None:
        """End the connection after so long. A request sets this three times, so the timer goes on, and looks then."""
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
        else:
            self._end(b"408 Request Timeout")

    def _end(self, status: bytes) -> None:
        answering = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        if not answering:  # else the bytes would stand in the middle of another answer
            self.transport.write(_SAYS % status)
        self.transport.close()
