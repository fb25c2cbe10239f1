"""Requests and streams over httpx, for the asynchronous client: the twin of `transport.py`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, TypeVar

from kheish.client import faults
from kheish.client.call import Call, Reply, answer
from kheish.client.discovery import Address
from kheish.client.sse import SILENCE
from kheish.client.transport import OPENING, lost, request_headers

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")


class AsyncTransport:
    """Sends calls to the daemon that `find` finds; looks again when it is not where it was."""

    def __init__(self, find: Callable[[], Address]) -> None:
        self._find = find
        self._found: Address | None = None
        self._http: tuple[str | None, httpx.AsyncClient] | None = None  # with the certificate that it expects

    async def address(self) -> Address:
        """Where the daemon is. Raises Unreachable."""
        if self._found is None:
            self._found = await asyncio.to_thread(self._find)
        return self._found

    async def moved(self) -> bool:
        """Look for the daemon again; True if it answers somewhere else now."""
        before, self._found = self._found, None
        return await self.address() != before

    async def _client(self, address: Address) -> httpx.AsyncClient:
        import httpx

        if self._http is None or self._http[0] != address.certificate:
            await self.close()
            trust = address.trust()
            # Proxies of the environment are for the world outside, not for a daemon next door.
            made = httpx.AsyncClient(trust_env=False, timeout=httpx.Timeout(60.0), verify=trust or True)
            self._http = address.certificate, made
        return self._http[1]

    async def send(self, call: Call[T]) -> T:
        """Send one call and read its answer. Raises the KheishError that the daemon answered with, or Unreachable."""
        import httpx

        try:
            return answer(call, await self._exchange(call))
        except httpx.ConnectError as error:
            # Nothing was sent, so asking at the new address cannot do anything twice.
            if not await self.moved():
                raise lost(await self.address(), error) from error
        try:
            return answer(call, await self._exchange(call))
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
        """Open an event stream: its X-Kheish-Event and its bytes as they come, until it is cut or silent for so long.

        Raises Unreachable where it cannot be opened or is cut unclean, or the error that the daemon answered with.
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
