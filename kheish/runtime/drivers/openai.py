"""The `openai` driver: the official SDK, for OpenAI and every server that speaks its chat format.

The SDK builds, signs and sends the request and reads the errors; its pydantic layer is left out (`post` with the
plain body: 1 ms of CPU for a streamed call, `chat.completions.create` takes 6). Its stream decoder is left out too:
it closes the connection at `[DONE]`, before the end of the body, so that every call would open a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import orjson

from kheish.runtime.drivers import chat, failures
from kheish.runtime.drivers.base import ModelError, Reply, Request

if TYPE_CHECKING:
    import httpx
    from openai import AsyncOpenAI

#: where a route names no `api_base`; given to the SDK so that it does not look into the environment
DEFAULT_API_BASE = "https://api.openai.com/v1"
#: what a server without keys gets, for the same reason
NO_CREDENTIAL = "no-credential"
_CONNECT_SECONDS = 15.0
_DRAIN_SECONDS = 0.25

_sdk_loaded = False


class OpenAIDriver:
    """One client for each (api_base, credential), at most `clients` of them idle; bound to one event loop."""

    def __init__(self, *, clients: int = 32) -> None:
        self._bound = clients
        self._clients: OrderedDict[tuple[str, str], AsyncOpenAI] = OrderedDict()
        self._users: dict[tuple[str, str], int] = {}
        self._making = asyncio.Lock()

    async def complete(self, request: Request, on_delta: Callable[[str], None]) -> Reply:
        """Ask the model. `settings`: api_base, timeout and inactivity_timeout in seconds. Raises ModelError."""
        await _ensure_sdk()
        total = request.settings.get("timeout")
        try:
            async with asyncio.timeout(total), self._client(request) as client:
                return await _ask(client, request, on_delta)
        except TimeoutError as error:
            raise ModelError("timeout", f"no complete answer within {total} s") from error

    @contextlib.asynccontextmanager
    async def _client(self, request: Request) -> AsyncIterator[AsyncOpenAI]:
        """A client that is not closed while it is in use."""
        credential = failures.usable_credential(request.credential) or NO_CREDENTIAL
        key = (request.settings.get("api_base") or DEFAULT_API_BASE, credential)
        self._users[key] = self._users.get(key, 0) + 1
        try:
            async with self._making if key not in self._clients else contextlib.nullcontext():
                if key not in self._clients:
                    self._clients[key] = await asyncio.to_thread(_connect, *key)
            self._clients.move_to_end(key)
            yield self._clients[key]
        finally:
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key]
            await self._evict()

    async def _evict(self) -> None:
        idle = [key for key in self._clients if key not in self._users] if len(self._clients) > self._bound else []
        for key in idle[: len(self._clients) - self._bound]:
            await self._clients.pop(key).close()

    async def aclose(self) -> None:
        """Close all connections."""
        while self._clients:
            _, client = self._clients.popitem()
            await client.close()


async def _ensure_sdk() -> None:
    """Import the SDK in a thread: it takes a second."""
    if not _sdk_loaded:
        await asyncio.to_thread(_load_sdk)


_sdk_loaded = False


def _load_sdk() -> None:
    global _sdk_loaded
    import openai  # noqa: F401

    _sdk_loaded = True


def _connect(api_base: str, credential: str) -> AsyncOpenAI:
    """A client that takes nothing from the daemon's environment but proxies and certificates (loads the latter)."""
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient

    client = AsyncOpenAI(
        api_key=credential,
        base_url=api_base,
        max_retries=0,  # the loop retries, and journals every attempt
        http_client=DefaultAsyncHttpxClient(trust_env=not _is_loopback(api_base)),
    )
    client.organization = client.project = client.admin_api_key = client.webhook_secret = None
    client._custom_headers = {}  # OPENAI_CUSTOM_HEADERS; there is no public way to refuse them
    return client


def _is_loopback(api_base: str) -> bool:
    """A proxy of the environment cannot reach this machine's own loopback."""
    host = urlsplit(api_base).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


async def _ask(client: AsyncOpenAI, request: Request, on_delta: Callable[[str], None]) -> Reply:
    import httpx
    import openai

    try:
        response = await _send(client, request)
        try:
            return await _read(response, request, on_delta)
        finally:
            await response.aclose()
    except openai.APIStatusError as error:
        raise _status_error(error, request.credential) from error
    except (openai.APITimeoutError, httpx.TimeoutException) as error:
        quiet = request.settings.get("inactivity_timeout")
        after = f" for {quiet:g} s" if quiet else ""
        raise ModelError("timeout", f"the provider was silent{after}, or could not be reached in time") from error
    except (openai.OpenAIError, httpx.HTTPError, httpx.StreamError) as error:
        cause = error.__cause__ or error
        detail = failures.plain(f"{type(cause).__name__}: {cause}", request.credential)
        raise ModelError("transport", f"the connection to the provider failed: {detail}") from error


async def _send(client: AsyncOpenAI, request: Request) -> httpx.Response:
    import httpx
    from openai import AsyncStream

    # A whole answer comes after a long silence, and that is no fault: only the total time bounds it.
    quiet = request.settings.get("inactivity_timeout") if request.stream else None
    # Bytes, since orjson is ten times as fast on a long history.
    payload = orjson.dumps(chat.body(request))
    response: Any = await client.post(  # typed as the stream class; with this cast_to it is the response itself
        "/chat/completions",
        cast_to=httpx.Response,
        content=payload,
        options={"timeout": httpx.Timeout(quiet, connect=_CONNECT_SECONDS)},
        stream=True,
        stream_cls=AsyncStream[Any],
    )
    return cast("httpx.Response", response)


async def _read(response: httpx.Response, request: Request, on_delta: Callable[[str], None]) -> Reply:
    assembly = chat.Assembly()
    if "text/event-stream" in response.headers.get("content-type", ""):
        async for data in events(response):
            if text := assembly.feed(_chunk(data, request.credential)):
                on_delta(text)
    elif text := assembly.feed(_chunk(await response.aread(), request.credential)):
        on_delta(text)
    return assembly.reply(request)


def _chunk(data: bytes, credential: str | None) -> Any:
    try:
        chunk = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ModelError("transport", f"the provider sent what is no JSON: {data[:80]!r}") from error
    if isinstance(chunk, dict) and chunk.get("error"):
        raise failures.from_event(chunk["error"], credential)
    return chunk


async def events(response: httpx.Response) -> AsyncIterator[bytes]:
    """The data of each server-sent event, to `[DONE]` or the end; then the rest, so that the connection is kept."""
    rest = b""
    data: list[bytes] = []
    stream = response.aiter_bytes()
    async for piece in stream:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            line = line.removesuffix(b"\r")
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
            elif not line and data:
                event, data = b"\n".join(data), []
                if event.startswith(b"[DONE]"):
                    await _drain(stream)
                    return
                yield event
    if rest.startswith(b"data:") or data:  # a last event without its empty line
        tail = b"\n".join([*data, *([rest[5:].strip()] if rest.startswith(b"data:") else [])])
        if not tail.startswith(b"[DONE]"):
            yield tail


async def _drain(stream: AsyncIterator[bytes]) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for _ in stream:
                pass


def _status_error(error: Any, credential: str | None) -> ModelError:
    fields = error.body if isinstance(error.body, dict) else {}
    message = fields.get("message") or (error.body if isinstance(error.body, str) else "") or str(error)
    code = fields.get("code") or fields.get("type")
    return failures.from_status(
        error.status_code,
        str(message),
        code=str(code) if code else None,
        headers=error.response.headers,
        credential=credential,
    )
