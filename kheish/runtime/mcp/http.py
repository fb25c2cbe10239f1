"""The transport to a server over streamable HTTP, with bounds on what is read before it is parsed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx2
from mcp.client.auth.utils import extract_field_from_www_auth, extract_scope_from_www_auth
from mcp.client.streamable_http import streamable_http_client

from kheish.auth import netguard, outgoing
from kheish.errors import KheishError
from kheish.runtime.mcp import bounding
from kheish.runtime.mcp.wire import TOO_LARGE, Wire

SESSION = "mcp-session-id"
#: seconds for connecting; a response stream may stay open for a day
_CONNECT, _READ = 10.0, 86_400.0
#: characters of a scope that are shown
_SCOPE = 200
#: the beginning of a page that the old transport answers a GET with
_OLD = b"event: endpoint"
OLD_TRANSPORT = (
    "it speaks the old HTTP+SSE transport of 2024, which is not supported; use its URL for streamable HTTP (it often "
    "ends with /mcp)"
)


@asynccontextmanager
async def connect(
    url: str,
    wire: Wire,
    limit: int,
    *,
    headers: Mapping[str, str],
    auth: Any = None,
    allow: Sequence[str] = (),
    advice: str = "",
) -> AsyncIterator[tuple[Any, Any]]:
    """Yield the streams of a connection. `auth` is an httpx2.Auth; the requests that it makes to other origins go
    through the network guard, with the exceptions of `allow`. `advice` says what to do about a missing scope."""
    transport = Bounded(wire, limit, url, allow, advice)
    timeout = httpx2.Timeout(_CONNECT, read=_READ)
    sent = {**headers, "Accept-Encoding": "identity"}
    async with (
        httpx2.AsyncClient(transport=transport, headers=sent, auth=auth, timeout=timeout, trust_env=False) as client,
        streamable_http_client(url, http_client=client, max_sse_event_size=limit) as streams,
    ):
        yield streams


async def is_old(url: str) -> bool:
    """Return whether a server answers a GET as the old transport does."""
    try:
        async with (
            httpx2.AsyncClient(trust_env=False, timeout=httpx2.Timeout(_CONNECT), verify=outgoing.https()) as client,
            client.stream("GET", url, headers={"Accept": "text/event-stream"}) as response,
        ):
            if response.status_code != 200 or "event-stream" not in response.headers.get("content-type", ""):
                return False
            async for data in response.aiter_raw():
                return bool(data.lstrip().startswith(_OLD))
    except (httpx2.HTTPError, httpx2.StreamError):
        return False
    return False


class Bounded(httpx2.AsyncBaseTransport):
    """A transport that bounds responses, notes errors, and sends requests to other origins through the network
    guard."""

    def __init__(self, wire: Wire, limit: int, url: str, allow: Sequence[str], advice: str = "") -> None:
        self._wire = wire
        self._advice = advice
        self._limit = limit
        self._origin = _origin(url)
        self._allow = allow
        self._inner = httpx2.AsyncHTTPTransport(verify=outgoing.https(), trust_env=False)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request. Raises httpx2.TransportError."""
        is_own = _origin(str(request.url)) == self._origin
        if not is_own:
            request = await self._guarded(request)
        response = await self._inner.handle_async_request(request)
        if is_own and response.status_code >= 400:
            self._wire.status = response.status_code
            if response.status_code == 404 and SESSION in request.headers:
                self._wire.lost = True
            if response.status_code == 403 and lacks_scope(response):
                await response.aclose()
                return self._short(response)
        if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            await response.aclose()
            raise httpx2.ReadError("the response is compressed, though that was not asked for")
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        if is_own and "event-stream" in response.headers.get("content-type", ""):
            response.stream = _Events(response.stream, self._wire)  # the SDK bounds the size of each event
        else:
            response.stream = _Limited(response.stream, self._limit, self._wire)
        return response

    def _short(self, response: httpx2.Response) -> httpx2.Response:
        """Return a refusal for lack of a scope as an error of the protocol, which ends the one request only."""
        scope = extract_scope_from_www_auth(response)
        named = f"the scope {scope[:_SCOPE]}" if scope else "a scope"
        error = {"code": -32000, "message": f"the credential has not {named} that this needs{self._advice}"}
        headers = {"WWW-Authenticate": response.headers["WWW-Authenticate"]}
        return httpx2.Response(403, headers=headers, json={"jsonrpc": "2.0", "id": None, "error": error})

    async def _guarded(self, request: httpx2.Request) -> httpx2.Request:
        """Return the request to the address that was checked; the certificate must be the host's."""
        try:
            target = await netguard.check(str(request.url), allow=self._allow)
        except KheishError as error:
            self._wire.fail(error.detail)
            raise httpx2.ConnectError(error.detail) from error
        request.headers.setdefault("Host", request.url.netloc.decode())
        request.extensions = {**request.extensions, "sni_hostname": target.host}
        request.url = request.url.copy_with(host=target.address)
        return request

    async def aclose(self) -> None:
        """Close all connections."""
        await self._inner.aclose()


class _Limited(httpx2.AsyncByteStream):
    """The body of a response, at most `limit` bytes of it."""

    def __init__(self, stream: httpx2.AsyncByteStream, limit: int, wire: Wire) -> None:
        self._stream = stream
        self._limit = limit
        self._wire = wire

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for data in bounding.body(self._bounded(), self._wire):
            yield data
        if self._wire.code == TOO_LARGE:
            raise httpx2.ReadError("the response is too large")

    async def _bounded(self) -> AsyncIterator[bytes]:
        size = 0
        async for data in self._stream:
            size += len(data)
            if size > self._limit:
                self._wire.fail(f"it sent a message of more than {self._limit} bytes (max_message)", TOO_LARGE)
                raise httpx2.ReadError(f"the response has more than {self._limit} bytes")
            yield data

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()


class _Events(httpx2.AsyncByteStream):
    """The body of an event stream, up to an event that is too large."""

    def __init__(self, stream: httpx2.AsyncByteStream, wire: Wire) -> None:
        self._stream = stream
        self._wire = wire

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for data in bounding.events(aiter(self._stream), self._wire):
            yield data
        if self._wire.code == TOO_LARGE:
            raise httpx2.ReadError("an event is too large")

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()


def lacks_scope(response: httpx2.Response) -> bool:
    """Return whether a server refuses a request since the credential lacks a scope."""
    return extract_field_from_www_auth(response, "error") == "insufficient_scope"


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
