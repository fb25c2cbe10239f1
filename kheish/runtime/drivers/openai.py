"""The `openai` driver: the official SDK, for OpenAI and every server that speaks its chat format.

The SDK builds, signs and sends the request and keeps the connections. Its pydantic layer is left out (`post` with the
plain body: 1 ms of CPU for a streamed call, `chat.completions.create` takes 6), and so is its stream decoder: it closes
the connection at `[DONE]`, before the end of the body, so that every call would open a new one, and it trusts what it
reads.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import orjson

from kheish.auth import outgoing
from kheish.runtime.drivers import chat, failures, hints
from kheish.runtime.drivers.answer import Assembly
from kheish.runtime.drivers.base import ModelError, Reply, Request
from kheish.runtime.drivers.lines import DONE, Documents

if TYPE_CHECKING:
    import httpx
    from openai import AsyncOpenAI

#: where a route names no `api_base`; given to the SDK so that it does not look into the environment
DEFAULT_API_BASE = "https://api.openai.com/v1"
#: what a server without keys gets, for the same reason
NO_CREDENTIAL = "no-credential"
_CONNECT_SECONDS = 15.0
_DRAIN_SECONDS = 0.25
_REMEMBERED = 256  # servers and models, with what they do not take
#: what a request does without, where the server refuses it by name
_OPTIONAL = ("stream_options", "stream")

_sdk_loaded = False


@dataclass(slots=True)
class _Exchange:
    """A request, and what has come of it until now."""

    request: Request
    on_delta: Callable[[str], None]
    assembly: Assembly | None = None

    @property
    def so_far(self) -> Reply | None:
        return self.assembly.so_far() if self.assembly is not None else None


class OpenAIDriver:
    """One client for each (api_base, credential), at most `clients` of them idle; bound to one event loop."""

    def __init__(self, *, clients: int = 32) -> None:
        self._bound = clients
        self._clients: OrderedDict[tuple[str, str], AsyncOpenAI] = OrderedDict()
        self._users: dict[tuple[str, str], int] = {}
        self._making = asyncio.Lock()
        self._refused: OrderedDict[tuple[str, str | None], frozenset[str]] = OrderedDict()

    async def complete(self, request: Request, on_delta: Callable[[str], None]) -> Reply:
        """Ask the model. `settings`: api_base, auth_ref; timeout, inactivity_timeout in seconds. Raises ModelError."""
        await _ensure_sdk()
        total = request.settings.get("timeout")
        exchange = _Exchange(request, on_delta)
        try:
            async with asyncio.timeout(total), self._client(request) as client:
                try:
                    return await self._ask(client, exchange)
                except ModelError as error:
                    raise await hints.explained(error, client, request) from error
        except TimeoutError as error:
            raise ModelError("timeout", f"no complete answer within {total} s", reply=exchange.so_far) from error

    async def _ask(self, client: AsyncOpenAI, exchange: _Exchange) -> Reply:
        """Ask, and once more without what the server refuses by name, or without streaming where nothing came."""
        request = exchange.request
        server = str(client.base_url), request.model
        while True:
            refused = self._refused.get(server, frozenset())
            asked = _without(request, refused)
            try:
                reply = await _send_and_read(client, asked, exchange)
            except ModelError as error:
                named = next((name for name in _OPTIONAL if (error.field or "").startswith(name)), None)
                if named is None or named in refused or not asked.stream:
                    raise
                self._refused[server] = refused | {named}
                if len(self._refused) > _REMEMBERED:
                    self._refused.popitem(last=False)
                continue
            if reply is None and asked.stream:  # llama-cpp-python, for one, tells its errors only so
                reply = await _ask_whole(client, replace(asked, stream=False), exchange)
            if reply is None:
                raise ModelError("empty", "the answer is empty, with and without streaming")
            return reply

    @contextlib.asynccontextmanager
    async def _client(self, request: Request) -> AsyncIterator[AsyncOpenAI]:
        """Return a client, and keep it open while it is in use."""
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

    async def prepare(self) -> None:
        """Import the SDK."""
        await _ensure_sdk()

    async def aclose(self) -> None:
        """Close all connections."""
        while self._clients:
            _, client = self._clients.popitem()
            await client.close()


async def _ensure_sdk() -> None:
    """Import the SDK in a thread: it takes a second."""
    if not _sdk_loaded:
        await outgoing.load()
        await asyncio.to_thread(_load_sdk)


_sdk_loaded = False


def _load_sdk() -> None:
    global _sdk_loaded
    import openai  # noqa: F401

    _sdk_loaded = True


def _connect(api_base: str, credential: str) -> AsyncOpenAI:
    """Return a client that takes only proxies and certificates from the daemon's environment (loads the latter)."""
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient

    from kheish.runtime.drivers import guard

    http_client = DefaultAsyncHttpxClient(trust_env=not _is_loopback(api_base))
    guard.put_on(http_client)
    client = AsyncOpenAI(
        api_key=credential,
        base_url=api_base,
        max_retries=0,  # the loop retries, and journals every attempt
        http_client=http_client,
    )
    client.organization = client.project = client.admin_api_key = client.webhook_secret = None
    client._custom_headers = {}  # OPENAI_CUSTOM_HEADERS; there is no public way to refuse them
    return client


def _is_loopback(api_base: str) -> bool:
    """Return whether the address is on this machine: a proxy of the environment cannot reach its loopback."""
    host = urlsplit(api_base).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _without(request: Request, refused: frozenset[str]) -> Request:
    if not refused:
        return request
    generation = {**request.generation, **({"stream_options": None} if "stream_options" in refused else {})}
    return replace(request, generation=generation, stream=request.stream and "stream" not in refused)


async def _ask_whole(client: AsyncOpenAI, request: Request, exchange: _Exchange) -> Reply | None:
    """Ask for a whole answer after an empty stream.

    A server that failed may close that connection a moment later, which shows only when the connection is used again:
    the request is then sent over another.
    """
    exchange.assembly = None
    try:
        return await _send_and_read(client, request, exchange)
    except ModelError as error:
        if error.kind != "transport" or exchange.assembly is not None:
            raise
    return await _send_and_read(client, request, exchange)


async def _send_and_read(client: AsyncOpenAI, request: Request, exchange: _Exchange) -> Reply | None:
    """Send a request and return its answer; None if the answer was empty. Raises ModelError."""
    import httpx
    import openai

    try:
        response = await _send(client, request)
        try:
            exchange.assembly = Assembly(request)
            return await _read(response, exchange.assembly, exchange.on_delta)
        finally:
            await response.aclose()
    except openai.APIStatusError as error:
        raise _status_error(error, request.credential) from error
    except (openai.OpenAIError, httpx.HTTPError, httpx.StreamError) as error:
        found = list(failures.within(error))
        if ours := next((one for one in found if isinstance(one, ModelError)), None):
            raise ours from error
        if any(isinstance(one, (openai.APITimeoutError, httpx.TimeoutException)) for one in found):
            quiet = request.settings.get("inactivity_timeout")
            after = f" for {quiet:g} s" if quiet else ""
            message = f"the provider was silent{after}, or could not be reached in time"
            raise ModelError("timeout", message, reply=exchange.so_far) from error
        cause = error.__cause__ or error
        detail = failures.plain(f"{type(cause).__name__}: {cause}", request.credential)
        message = f"the connection to the provider failed: {detail}"
        raise ModelError("transport", message, reply=exchange.so_far) from error


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


async def _read(response: httpx.Response, assembly: Assembly, on_delta: Callable[[str], None]) -> Reply | None:
    """Read the answer to its end, or to `[DONE]` and then the rest, so that the connection is kept."""
    documents = Documents()
    stream = response.aiter_raw()
    async for piece in stream:
        if _take(assembly, documents.feed(piece), on_delta):
            await _drain(stream)
            break
    else:
        _take(assembly, documents.end(), on_delta)
        if documents.is_whole:
            assembly.end()
    return None if assembly.is_blank else assembly.reply()


def _take(assembly: Assembly, documents: Iterator[Any], on_delta: Callable[[str], None]) -> bool:
    """Take documents. True where the server says that there are no more."""
    for document in documents:
        if document is DONE:
            assembly.end()
            return True
        if text := assembly.feed(document):
            on_delta(text)
    return False


async def _drain(stream: AsyncIterator[bytes]) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for _ in stream:
                pass


def _status_error(error: Any, credential: str | None) -> ModelError:
    try:
        body = error.response.content
    except Exception:  # noqa: BLE001 - it broke while the SDK read it
        body = b""
    text = body.decode("utf-8", "replace").strip()
    if not text or text.startswith("<"):
        text = error.response.reason_phrase
    return failures.from_body(error.status_code, text, headers=error.response.headers, credential=credential)
