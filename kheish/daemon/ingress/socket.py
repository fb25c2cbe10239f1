"""Slack's Socket Mode: a websocket that the daemon opens, so that no public address is needed. An envelope is
acknowledged when what it led to is durable; Slack sends others again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson

from kheish.auth import netguard, outgoing
from kheish.auth.broker import using
from kheish.daemon.ingress.polling import deliver
from kheish.domain.connectors.arrival import Ignored, Parsed
from kheish.domain.connectors.definition import ConnectorFile
from kheish.errors import Invalid, KheishError, PlatformRefused, PlatformUnavailable
from kheish.runtime.connectors import reading
from kheish.runtime.platforms.slack import API

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

    from kheish.daemon.ingress.fetching import Fetching

log = logging.getLogger(__name__)

_CONNECTING = 15.0
#: seconds without a ping of Slack after which the connection counts as dead
_SILENT = 90.0
_MESSAGE_BYTES = 4 * 1024 * 1024
#: envelopes that are taken in at the same time
_AT_ONCE = 16


async def run(fetching: Fetching, connector_id: str, file: ConnectorFile) -> None:
    """Open a connection, and take in its envelopes until Slack asks for another. Raises PlatformError,
    CredentialRevoked."""
    credentials = fetching.receiving.credentials
    slot = credentials.slot(file, "app_token")
    opened = await credentials.slack(connector_id, file, slot).call("apps.connections.open")
    url = opened.get("url")
    if not isinstance(url, str):
        raise PlatformUnavailable("Slack gave no address for Socket Mode.", reason="no_url")
    async with credentials.lend(connector_id, slot)() as lease:
        # A revoked token closes the connection, too.
        await using(lease, _connected(fetching, connector_id, file, url))


async def _connected(fetching: Fetching, connector_id: str, file: ConnectorFile, url: str) -> None:
    await asyncio.to_thread(_load)
    from websockets.asyncio.client import connect
    from websockets.exceptions import WebSocketException

    await outgoing.load()
    parts = urlsplit(url)
    if parts.scheme not in ("ws", "wss"):
        raise PlatformRefused("Slack's address for Socket Mode is no websocket.", reason="bad_url")
    base = urlsplit(file.api_base or API).hostname or ""
    plain = parts._replace(scheme="https" if parts.scheme == "wss" else "http").geturl()
    try:
        target = await netguard.check(plain, allow=(base,))
        secure: dict[str, Any] = (
            {"ssl": outgoing.tls(), "server_hostname": target.host} if parts.scheme == "wss" else {}
        )
        connection = connect(
            url, host=target.address, port=target.port, open_timeout=_CONNECTING, max_size=_MESSAGE_BYTES,
            proxy=None, ping_interval=None, **secure,
        )  # fmt: skip
        async with connection as socket:
            await _Envelopes(fetching, connector_id, file, socket).take_all()
    except (WebSocketException, OSError, TimeoutError) as error:
        said = f"The connection of Socket Mode ended: {error or type(error).__name__}."
        raise PlatformUnavailable(said, reason="disconnected") from error


def _load() -> None:
    import websockets.asyncio.client  # noqa: F401 - loaded here, used on the event loop


class _Envelopes:
    """The envelopes of one connection."""

    def __init__(self, fetching: Fetching, connector_id: str, file: ConnectorFile, socket: ClientConnection) -> None:
        self._fetching = fetching
        self._id = connector_id
        self._file = file
        self._socket = socket
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def take_all(self) -> None:
        """Take in envelopes until Slack ends the connection, then wait for those under way."""
        async with asyncio.TaskGroup() as under_way:
            while True:
                raw = await asyncio.wait_for(self._socket.recv(), _SILENT)
                envelope, parsed = await self._read(raw)
                kind = envelope.get("type")
                if kind == "hello":
                    self._fetching.connected(self._id)
                elif kind == "disconnect":
                    return
                elif parsed is not None:
                    await self._places.acquire()
                    under_way.create_task(self._take(envelope, parsed))

    async def _read(self, raw: str | bytes) -> tuple[Mapping[str, Any], Parsed | None]:
        try:
            return await reading.read_envelope(raw.encode("utf-8", "replace") if isinstance(raw, str) else raw)
        except Invalid as error:
            log.warning("connector %s: an envelope is left out: %s", self._id, error.detail)
            return {}, None

    async def _take(self, envelope: Mapping[str, Any], parsed: Parsed) -> None:
        try:
            await deliver(self._fetching.receiving, self._id, self._file, parsed)
            answer = parsed.answer if isinstance(parsed, Ignored) else None
            await self._acknowledge(envelope, answer)
        except KheishError as error:  # Slack sends it again
            log.warning("connector %s: an envelope is not acknowledged: %s", self._id, error.detail)
        finally:
            self._places.release()

    async def _acknowledge(self, envelope: Mapping[str, Any], answer: Mapping[str, Any] | None) -> None:
        from websockets.exceptions import ConnectionClosed

        body: dict[str, Any] = {"envelope_id": envelope["envelope_id"]}
        if answer is not None and envelope.get("accepts_response_payload"):
            body["payload"] = dict(answer)
        try:
            await self._socket.send(orjson.dumps(body).decode())
        except ConnectionClosed:
            log.info("connector %s: the connection ended before an acknowledgement", self._id)
