"""The connector: a loop that takes files from a folder, and requests with a bearer token. Its file:

kind: spool
token: spool.token              # for requests
options: {folder: /srv/in}      # for the loop
session: {key: "{sender}"}
target: {input: {}}
"""

from __future__ import annotations

import asyncio
import hmac
import json
from pathlib import Path
from typing import Any

from kheish.domain.connectors.arrival import Arrival, Ignored, Parsed
from kheish.errors import Invalid, SignatureInvalid
from kheish.runtime.connectors.base import ConnectorKind, Poll, Request

_PAUSE = 0.2


def read(raw: bytes, key: str) -> Arrival:
    """Return what a message means: `{"from": …, "text": …}`. Raises Invalid."""
    try:
        message: dict[str, Any] = json.loads(raw)
        sender, text = str(message["from"]), str(message["text"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Invalid(f"The message cannot be read: {type(error).__name__}.") from error
    return Arrival(keys=(key,), content=text, sender=sender, fields={"sender": sender})


async def receive(request: Request) -> Parsed:
    """Verify a request, and return what it means. Nothing of the body is parsed before."""
    expected = f"Bearer {await request.secret('token')}"
    if not hmac.compare_digest(request.headers.get("authorization", "").encode(), expected.encode()):
        raise SignatureInvalid("The header Authorization has no valid bearer token.")
    if not request.body:
        return Ignored(reason="an empty request")
    return read(request.body, request.headers.get("x-message-id", ""))


async def poll(loop: Poll) -> None:
    """Take the files of a folder in the order of their names. A file is moved when its receipt is durable: one that a
    kill leaves there is delivered once more, and its name is the key by which that is a duplicate."""
    folder = Path(loop.options["folder"])
    for name in ("done", "bad"):
        await asyncio.to_thread((folder / name).mkdir, parents=True, exist_ok=True)
    while True:
        for path in await asyncio.to_thread(lambda: sorted(folder.glob("*.json"))):
            try:
                arrival = read(await asyncio.to_thread(path.read_bytes), path.name)
            except Invalid:
                await asyncio.to_thread(path.rename, folder / "bad" / path.name)
                continue
            await loop.deliver(arrival)
            await asyncio.to_thread(path.rename, folder / "done" / path.name)
        await asyncio.sleep(_PAUSE)


KIND = ConnectorKind(name="spool", receive=receive, poll=poll)
