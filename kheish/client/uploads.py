"""Uploads of files as they are, so that a file of any size that the daemon accepts has no longer body."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from kheish.client.call import Call
from kheish.client.requests import create_asset, create_observations

if TYPE_CHECKING:
    from kheish.client.shapes import Asset, ReceivedObservations


def store_asset(name: str, content: bytes, *, media_type: str | None = None) -> Call[Asset]:
    """Return the request that stores a file."""
    boundary = f"kheish-{os.urandom(24).hex()}"
    plain = os.fsencode(name).decode("utf-8", "backslashreplace")  # as list_files shows a name that is no UTF-8
    fields = {"name": plain, **({"media_type": media_type} if media_type else {})}
    head = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
        for field, value in fields.items()
    )
    head += (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    body = b"".join((head.encode(), content, f"\r\n--{boundary}--\r\n".encode()))
    inline = create_asset(plain, "")
    return Call(
        inline.method, inline.path, inline.read, body, {"content-type": f"multipart/form-data; boundary={boundary}"}
    )


def store_observation(
    source: str,
    content: bytes,
    *,
    kind: str | None = None,
    captured_at: str | None = None,
    stream: str | None = None,
    sequence: int | None = None,
    group: str | None = None,
    idempotency_key: str | None = None,
) -> Call[ReceivedObservations]:
    """Return the request that stores the raw content of one observation."""
    call = create_observations(
        source, (), kind=kind, captured_at=captured_at, stream=stream, sequence=sequence, group=group,
        idempotency_key=idempotency_key,
    )  # fmt: skip
    return replace(call, body=content, headers={**call.headers, "content-type": "application/octet-stream"})
