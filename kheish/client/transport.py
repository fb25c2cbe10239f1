"""Requests and streams over the standard library's http.client.

httpx takes 80 to 110 ms to import, a third of the budget of `kheish status`, and loopback needs none of its features. A
connection per request costs 0.2 ms on loopback, and avoids the doubt whether a kept-alive connection died before or
after a POST was accepted. The asynchronous client, for long-lived processes, uses httpx.
"""

from __future__ import annotations

import contextlib
import http.client
import time
from collections.abc import Callable, Iterator
from typing import TypeVar
from urllib.parse import urlsplit

from kheish.client import faults
from kheish.client.call import Call, Reply, again_after, answer
from kheish.client.discovery import Address
from kheish.client.sse import SILENCE
from kheish.errors import Unreachable

T = TypeVar("T")
#: seconds that the beginning of an event stream may take
OPENING = 10.0


def lost(address: Address, why: Exception) -> Unreachable:
    """Return the error for a connection that failed, with advice."""
    start = f"kheish serve --state-root {address.root}" if address.root else "kheish serve"
    reason = str(why) or type(why).__name__
    # httpx has its own class for "could not connect", and is not imported here.
    if isinstance(why, ConnectionRefusedError) or type(why).__name__ == "ConnectError":
        return Unreachable(f"No daemon answers at {address.url}; start it with `{start}`.")
    return Unreachable(
        f"The connection to {address.url} failed ({reason}); see `kheish status`, and start the daemon with `{start}` "
        "if it is gone."
    )


def request_headers(address: Address) -> dict[str, str]:
    """Return the headers of every request."""
    headers = {"accept": "application/json", "user-agent": "kheish-client"}
    return headers | ({"authorization": f"Bearer {address.token}"} if address.token else {})


class Transport:
    """A sender of calls to the daemon that `find` returns; it searches again if the daemon has moved (a restart, port
    0)."""

    def __init__(self, find: Callable[[], Address]) -> None:
        self._find = find
        self._found: Address | None = None

    @property
    def address(self) -> Address:
        """The daemon's address. Raises Unreachable."""
        if self._found is None:
            self._found = self._find()
        return self._found

    def moved(self) -> bool:
        """Search for the daemon again; return whether it has another address now."""
        before, self._found = self._found, None
        return self.address != before

    def send(self, call: Call[T]) -> T:
        """Send a call and read its response. Raises the KheishError of the daemon's response, or Unreachable."""
        began = time.monotonic()
        while True:
            reply = self._reach(call)
            pause = again_after(call, reply, time.monotonic() - began)
            if pause is None:
                return answer(call, reply)
            time.sleep(pause)

    def _reach(self, call: Call[T]) -> Reply:
        try:
            return self._exchange(call)
        except ConnectionRefusedError as error:
            # Nothing was sent, so a retry at the new address cannot repeat anything.
            if not self.moved():
                raise lost(self.address, error) from error
        try:
            return self._exchange(call)
        except ConnectionRefusedError as error:
            raise lost(self.address, error) from error

    def _exchange(self, call: Call[T]) -> Reply:
        address = self.address
        with contextlib.closing(_connect(address, call.patience)) as connection:
            try:
                connection.request(call.method, call.path, call.body, request_headers(address) | {**call.headers})
                response = connection.getresponse()
                return Reply(response.status, _lower(response), response.read())
            except ConnectionRefusedError:
                raise
            except (OSError, http.client.HTTPException) as error:
                raise lost(address, error) from error

    @contextlib.contextmanager
    def stream(self, path: str, silence: float = SILENCE) -> Iterator[tuple[str | None, Iterator[bytes]]]:
        """Open an event stream: its X-Kheish-Event and its bytes as they arrive, until it is cut or silent for too
        long.

        Raises Unreachable if it cannot be opened or breaks off, or the error of the daemon's response.
        """
        address = self.address
        with contextlib.closing(_connect(address, max(silence, OPENING))) as connection:
            response = _open(connection, path, address)
            if response.status >= 400:
                raise faults.from_reply(response.status, response.read())
            if connection.sock is not None:
                connection.sock.settimeout(silence)
            yield response.getheader("x-kheish-event"), _chunks(response, address)


def _open(connection: http.client.HTTPConnection, path: str, address: Address) -> http.client.HTTPResponse:
    try:
        connection.request("GET", path, headers=request_headers(address) | {"accept": "text/event-stream"})
        return connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        raise lost(address, error) from error


def _connect(address: Address, patience: float) -> http.client.HTTPConnection:
    parts = urlsplit(address.url)
    context = address.trust()
    if context is None:
        return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=patience)
    return http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=patience, context=context)


def _chunks(response: http.client.HTTPResponse, address: Address) -> Iterator[bytes]:
    try:
        while chunk := response.read1(65536):
            yield chunk
    except TimeoutError:
        return
    except (OSError, http.client.HTTPException) as error:
        raise lost(address, error) from error


def _lower(response: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}
