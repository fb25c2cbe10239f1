"""A guard on every HTTP client of model servers: no redirects, and no answer without bounds.

It consists of httpx's own event hooks, so that it applies to the official SDK and to litellm alike. The body is
unpacked here, in bounded steps: httpx itself unpacks a whole piece at once, whatever its unpacked size.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator

import httpx

from kheish.runtime.debug import wire
from kheish.runtime.drivers import bounds
from kheish.runtime.drivers.base import ModelError

_STEP = 256 * 1024  # bytes that are unpacked at once
_WINDOWS = {"gzip": zlib.MAX_WBITS | 16, "x-gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}


def put_on(client: httpx.AsyncClient) -> None:
    """Guard a client, once."""
    hooks = client.event_hooks
    if _bound in hooks.get("response", []):
        return
    client.follow_redirects = False
    client.event_hooks = {
        "request": [*hooks.get("request", []), _ask_plain],
        "response": [_bound, *hooks.get("response", [])],
    }


async def _ask_plain(request: httpx.Request) -> None:
    """Request an unpacked answer: compression gains nothing on a stream of small events."""
    request.headers["accept-encoding"] = "identity"
    if (exchange := wire.current()) is not None and (raw := await request.aread()):
        exchange.sent(raw)


async def _bound(response: httpx.Response) -> None:
    """Refuse a redirect, and bound the body. Raises ModelError, within an error of the SDK."""
    if response.is_redirect:
        raise ModelError("bad_request", _redirected(response), status=response.status_code)
    encodings = [word.strip().lower() for word in response.headers.get("content-encoding", "").split(",")]
    encodings = [word for word in encodings if word not in ("", "identity")]
    if len(encodings) > 1 or any(word not in _WINDOWS for word in encodings):
        named = ", ".join(encodings)[:80]
        raise ModelError("transport", f"the server compressed its answer ({named}), which was not requested")
    if encodings:
        del response.headers["content-encoding"]
        response.headers.pop("content-length", None)
    assert isinstance(response.stream, httpx.AsyncByteStream)
    response.stream = _Bounded(response.stream, encodings[0] if encodings else None, is_error=response.is_error)


def _redirected(response: httpx.Response) -> str:
    """Return the redirect's target without parts that may be secret."""
    target = response.url.join(response.headers.get("location", ""))
    shown = str(target.copy_with(username=None, password=None, query=None, fragment=None))[:200]
    return f"the server redirects the request to {shown}, which is not followed: set api_base to the intended address"


class _Bounded(httpx.AsyncByteStream):
    """A bounded body; that of an error is truncated."""

    def __init__(self, inner: httpx.AsyncByteStream, encoding: str | None, *, is_error: bool) -> None:
        self._inner = inner
        self._encoding = encoding
        self._bound = bounds.ERROR if is_error else bounds.BYTES
        self._is_error = is_error
        self._exchange = wire.current()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        received = given = 0
        unpack = _Unpack(self._encoding) if self._encoding else None
        async for raw in self._inner:
            received += len(raw)
            for piece in unpack.steps(raw) if unpack else (raw,):
                if unpack:
                    await asyncio.sleep(0)  # a small piece may hold a second of work
                given += len(piece)
                if max(given, received) > self._bound:
                    if self._is_error:
                        return
                    raise ModelError("oversized", f"the answer is longer than {self._bound:,} bytes")
                if self._exchange is not None:
                    self._exchange.got(piece)
                yield piece

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Unpack:
    """An unpacker of gzip and deflate, the latter also without a header as some servers send it."""

    def __init__(self, encoding: str) -> None:
        self._stream = zlib.decompressobj(_WINDOWS[encoding])
        self._may_be_raw = encoding == "deflate"

    def steps(self, data: bytes) -> Iterator[bytes]:
        """Yield the unpacked content of `data`, in bounded pieces."""
        out = b""
        while data or len(out) == _STEP:  # a full step may have more output, even without further input
            out, data = self._step(data)
            if out:
                yield out

    def _step(self, data: bytes) -> tuple[bytes, bytes]:
        """Return the output of one bounded step, and the rest of the input."""
        try:
            out = self._stream.decompress(data, _STEP)
        except zlib.error as error:
            if not self._may_be_raw:
                raise ModelError("transport", f"the compressed answer is corrupt: {error}") from error
            self._stream = zlib.decompressobj(-zlib.MAX_WBITS)
            self._may_be_raw = False
            return self._step(data)
        self._may_be_raw = False
        return out, self._stream.unconsumed_tail
