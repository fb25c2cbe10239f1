"""A request to a platform: through the network guard, with a token that is leased for this request alone.

The operator configures `api_base`, so its host is allowed on loopback, too. Redirects are not followed: they would
carry the token to another place.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

from kheish.auth import netguard
from kheish.auth.broker import Lease, using
from kheish.auth.netguard import Answer
from kheish.errors import FetchFailed, KheishError, NotConnected, PlatformRefused, PlatformUnavailable, PlatformUnclear
from kheish.runtime.connectors import bodies

#: a lease of the token, requested for each call
Lend = Callable[[], AbstractAsyncContextManager[Lease]]
#: bytes of an answer; a batch of Telegram's updates may have some megabytes
ANSWER_BYTES = 8 * 1024 * 1024
#: bytes that are parsed on the event loop
_PARSED_HERE = 64 * 1024
_SHOWN = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file to send."""

    name: str
    content: bytes
    media: str = "application/octet-stream"


async def send(
    platform: str,
    method: str,
    url: str,
    *,
    base: str,
    lease: Lease | None,
    headers: Mapping[str, str] | None = None,
    content: bytes | None = None,
    seconds: float,
    limit: int = ANSWER_BYTES,
) -> Answer:
    """Send one request; the revocation of the lease stops it. `base` is the configured address, whose host is allowed.
    Raises CredentialRevoked, and PlatformUnavailable, PlatformUnclear or PlatformRefused; no error contains the token.
    """
    allow = (urlsplit(base).hostname or "",)
    work = netguard.send(method, url, allow=allow, headers=headers, content=content, limit=limit, timeout=seconds)
    token = lease.value if lease is not None else ""
    try:
        answer = await (using(lease, work) if lease is not None else work)
    except NotConnected as error:
        raise PlatformUnavailable(_without(token, f"{platform}: {error.detail}"), reason="not_connected") from None
    except FetchFailed as error:
        raise PlatformUnclear(_without(token, f"{platform}: {error.detail}"), reason="answer_lost") from None
    except KheishError as error:
        if lease is not None and lease.ended_by is not None:
            raise
        raise PlatformRefused(_without(token, f"{platform}: {error.detail}"), reason=error.code) from None
    if answer.leads_to is not None:
        raise PlatformRefused(f"{platform} answered with a redirect, which is not followed.", reason="redirect")
    return answer


async def parse(platform: str, answer: Answer) -> dict[str, Any]:
    """Return the JSON object of an answer. Raises PlatformUnavailable for a server error, and PlatformUnclear for an
    answer that cannot be read."""
    try:
        body = answer.body
        value = orjson.loads(body) if len(body) < _PARSED_HERE else await asyncio.to_thread(orjson.loads, body)
    except orjson.JSONDecodeError:
        value = await asyncio.to_thread(_read_leniently, answer.body)
    if isinstance(value, dict):
        return value
    said = f"{platform} answered {answer.status} without a JSON object"
    if answer.status >= 500:
        after = delay(answer)
        raise PlatformUnavailable(f"{said}.", reason=f"http_{answer.status}", retry_after=after)
    if answer.status >= 400:
        raise PlatformRefused(f"{said}; check api_base.", reason=f"http_{answer.status}")
    raise PlatformUnclear(f"{said}.", reason="unreadable")


def _read_leniently(body: bytes) -> Any:
    """Return a JSON value with halves of characters replaced, since one such message would block all that follow; None
    for what is no JSON."""
    try:
        return bodies.parse(body.decode())
    except (ValueError, RecursionError):
        return None


def delay(answer: Answer) -> float | None:
    """Return the seconds of a `Retry-After` header, which platforms write as a number."""
    try:
        seconds = float(answer.headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds < 86_400 else None


def multipart(fields: Mapping[str, str], files: Mapping[str, File]) -> tuple[str, bytes]:
    """Return the media type and the bytes of a form with files."""
    border = f"kheish-{secrets.token_hex(16)}"
    parts = []
    for name, value in fields.items():
        parts.append(f'--{border}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode())
    for name, file in files.items():
        shown = file.name.replace("\\", "_").replace('"', "_").replace("\r", "_").replace("\n", "_")
        head = f'--{border}\r\nContent-Disposition: form-data; name="{name}"; filename="{shown}"\r\n'
        parts.append(f"{head}Content-Type: {file.media}\r\n\r\n".encode() + file.content + b"\r\n")
    parts.append(f"--{border}--\r\n".encode())
    return f"multipart/form-data; boundary={border}", b"".join(parts)


def written(value: Any) -> str:
    """Return a value as a field of a form: texts as they are, everything else as JSON."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def shorten(text: object) -> str:
    """Return the beginning of a platform's words, on one line."""
    return " ".join(str(text).split())[:_SHOWN]


def _without(token: str, text: str) -> str:
    return text.replace(token, "…") if token else text
