"""Requests and streams over httpx, for the asynchronous client: the twin of `transport.py`."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, TypeVar

from kheish.client import faults
from kheish.client.call import Call, Reply, again_after, answer
from kheish.client.discovery import Address
from kheish.client.sse import SILENCE
from kheish.client.transport import OPENING, lost, request_headers

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")


class AsyncTransport:
    """A sender of calls to the daemon that `find` returns; it searches again if the daemon has moved."""

    def __init__(self, find: Callable[[], Address]) -> None:
        self._find = find
        self._found: Address | None = None
        self._http: tuple[str | None, httpx.AsyncClient] | None = None  # with the expected certificate

    async def address(self) -> Address:
        """Return the daemon's address. Raises Unreachable."""
        if self._found is None:
            self._found = await asyncio.to_thread(self._find)
        return self._found

    async def moved(self) -> bool:
        """Search for the daemon again; return whether it has another address now."""
        before, self._found = self._found, None
        return await self.address() != before

    async def _client(self, address: Address) -> httpx.AsyncClient:
        import httpx

        if self._http is None or self._http[0] != address.certificate:
            await self.close()
            trust = address.trust()
            # Proxies of the environment are for other hosts, not for a local daemon.
            client = httpx.AsyncClient(trust_env=False, timeout=httpx.Timeout(60.0), verify=trust or True)
            self._http = address.certificate, client
        return self._http[1]

    async def send(self, call: Call[T]) -> T:
        """Send a call and read its response. Raises the KheishError of the daemon's response, or Unreachable."""
        began = time.monotonic()
        while True:
            reply = await self._reach(call)
            pause = again_after(call, reply, time.monotonic() - began)
            if pause is None:
                return answer(call, reply)
            await asyncio.sleep(pause)

    async def _reach(self, call: Call[T]) -> Reply:
        import httpx

        try:
            return await self._exchange(call)
        except httpx.ConnectError as error:
            # Nothing was sent, so a retry at the new address cannot repeat anything.
            if not await self.moved():
                raise lost(await self.address(), error) from error
        try:
            return await self._exchange(call)
        except httpx.ConnectError as error:
            raise lost(await self.address(), error) from error

    async def _exchange(self, call: Call[T]) -> Reply:
        import httpx

        address = await self.address()
        headers = request_headers(address) | {**call.headers}
        try:
            response = await (await self._client(address)).request(
                call.method, address.url + call.path, content=call.body, headers=headers, timeout=call.patience
            )
        except httpx.ConnectError:
            raise
        except httpx.HTTPError as error:
            raise lost(address, error) from error
        return Reply(response.status_code, response.headers, response.content)

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, silence: float = SILENCE
    ) -> AsyncIterator[tuple[str | None, AsyncIterator[bytes]]]:
        """Open an event stream: its X-Kheish-Event and its bytes as they arrive, until it is cut or silent for too
        long.

        Raises Unreachable if it cannot be opened or breaks off, or the error of the daemon's response.
        """
        import httpx

        address = await self.address()
        headers = request_headers(address) | {"accept": "text/event-stream"}
        patience = max(silence, OPENING)
        try:
            client = await self._client(address)
            async with client.stream("GET", address.url + path, headers=headers, timeout=patience) as response:
                if response.status_code >= 400:
                    raise faults.from_reply(response.status_code, await response.aread())
                yield response.headers.get("x-kheish-event"), _chunks(response, silence)
        except httpx.HTTPError as error:
            raise lost(address, error) from error

    async def close(self) -> None:
        if self._http is not None:
            await self._http[1].aclose()
        self._http = None


async def _chunks(response: httpx.Response, silence: float) -> AsyncIterator[bytes]:
    chunks = response.aiter_bytes()
    while True:
        try:
            async with asyncio.timeout(silence):
                chunk = await anext(chunks)
        except (TimeoutError, StopAsyncIteration):
            return
        yield chunk
