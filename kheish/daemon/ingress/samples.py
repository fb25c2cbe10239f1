"""Signed samples: what `kheish connectors test` sends, as a sender would."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from kheish import ids
from kheish.daemon.ingress.receiving import Receiving
from kheish.domain.connectors.definition import ConnectorFile
from kheish.errors import Invalid
from kheish.runtime.connectors import verifying

_JSON = {"content-type": "application/json"}
_TEXT = "This is a sample that `kheish connectors test` sent."


async def send(
    receiving: Receiving, connector_id: str, body: str | None, now: float, event: str | None = None
) -> tuple[int, Mapping[str, Any]]:
    """Send a sample, and return the status and the answer; `event` is its type. A loop has no requests: its credentials
    are tried. Raises what `Receiving.receive` raises, and PlatformError."""
    file, id = receiving.file(connector_id), ids.new("sample")
    if file.kind == "http":
        raw = (body or orjson.dumps({"id": id, "sample": True, "text": _TEXT}).decode()).encode()
        headers = {**_JSON, **await _signed(receiving, connector_id, file, id, raw, now)}
        if (named := _event(file, event)) is not None:
            headers["x-github-event"] = named
        answer = await receiving.receive(connector_id, headers, raw, is_loopback=True)
        return answer.status, answer.body
    if event is not None:
        raise Invalid("An event is for connectors of the kind http.")
    if body is not None:
        raise Invalid("A body is for connectors of the kind http; platforms have their own.")
    if file.kind == "slack":
        return await _slack(receiving, connector_id, file, id, now)
    if file.kind == "telegram":
        return 200, await receiving.credentials.telegram(connector_id, file).call("getMe")
    raise Invalid(f"There is no sample for the kind {file.kind!r}.")


def _event(file: ConnectorFile, event: str | None) -> str | None:
    """Return the type of a sample's event: the given one, else the first that the connector accepts."""
    return event or next((one for one in file.allow.events if one != "*"), None)


async def _signed(
    receiving: Receiving, connector_id: str, file: ConnectorFile, id: str, raw: bytes, now: float
) -> Mapping[str, str]:
    if file.verify is None:
        return {"idempotency-key": id}
    if file.verify.secret is None:
        raise Invalid(
            f"The connector takes tokens with the role ingress:{connector_id} alone, and Kheish keeps only their "
            f"digests: send a request with one, or name a slot in verify.secret."
        )
    secret = await receiving.credentials.secret(connector_id, file.verify.secret)
    return verifying.signed(file.verify, secret, id, raw, now)


async def _slack(
    receiving: Receiving, connector_id: str, file: ConnectorFile, id: str, now: float
) -> tuple[int, Mapping[str, Any]]:
    """Try the bot's token; with HTTP, send a signed challenge first, which starts nothing."""
    if file.way == "http":
        raw = orjson.dumps({"type": "url_verification", "challenge": id})
        secret = await receiving.credentials.secret(connector_id, receiving.credentials.slot(file, "verify"))
        headers = {**_JSON, **verifying.signed_slack(secret, raw, now)}
        await receiving.receive(connector_id, headers, raw, is_loopback=True)
    known = await receiving.credentials.slack(connector_id, file).call("auth.test")
    if file.way == "socket":
        socket = receiving.credentials.slack(connector_id, file, file.app_token)
        await socket.call("apps.connections.open")
    return 200, {name: known.get(name) for name in ("team", "user", "bot_id")}
