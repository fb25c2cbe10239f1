"""Hints for repairing a route: the requested address, the credential, and what to try.

A wrong setting is rare and hard to diagnose, so the server may get a further request about its models.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from kheish.runtime.drivers import lenient
from kheish.runtime.drivers.base import ModelError, Request

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_SECONDS = 3.0  # seconds for all requests together
_SHOWN = 10  # models
_ENDPOINT = "/chat/completions"
#: statuses that indicate a wrong address; 200: the answer was a web page
_ASTRAY = frozenset({200, 301, 302, 303, 307, 308, 404, 405})


async def explained(error: ModelError, client: AsyncOpenAI, request: Request) -> ModelError:
    """Return the error with the address, the status and a hint."""
    base = plain(str(client.base_url))
    message = f"{error.message.rstrip()} ({f'{error.status} from ' if error.status else ''}{base}{_ENDPOINT})"
    hints: Iterable[str] = ()
    if error.kind == "auth":
        hints = (credential(request),)
    elif error.kind == "bad_request" and error.status in _ASTRAY:
        hints = await _astray(client, request, base)
    return error.worded(" ".join((message, *hints)))


def credential(request: Request) -> str:
    """Describe the credential that was sent, by name only."""
    ref = request.settings.get("auth_ref")
    if not ref or not request.credential:
        return "No credential was sent: auth_ref of the route names none."
    kind = "variable" if ref.startswith("env:") else "slot"
    return f"The credential of the {kind} {ref.removeprefix('env:')} was sent."


def plain(address: str) -> str:
    """Return an address without parts that may be secret."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))


async def _astray(client: AsyncOpenAI, request: Request, base: str) -> list[str]:
    """Diagnose whether the model is missing, or the address is wrong."""
    try:
        async with asyncio.timeout(_SECONDS):
            models = await _models(client, base)
            if models:
                return [] if request.model in models else [_no_model(request.model or "", models)]
            for other in _others(base):
                if await _models(client, other):
                    return [f"{other}/models answers: set api_base to {other}"]
    except TimeoutError:
        pass
    path = urlsplit(base).path
    if path.endswith((_ENDPOINT, "/completions")):
        whole = base.removesuffix(_ENDPOINT).removesuffix("/completions")
        return [f"api_base is the address before {_ENDPOINT}: set it to {whole}"]
    parts = path.split("/")
    return [] if "v1" in parts else [f"Is api_base complete? Most servers need {base}/v1"]


def _no_model(model: str, models: list[str]) -> str:
    near = get_close_matches(model, models, n=1)
    listed = ", ".join(models[:_SHOWN]) + (f" and {len(models) - _SHOWN} more" if len(models) > _SHOWN else "")
    return f"The server has no model {model!r}; " + (f"did you mean {near[0]!r}?" if near else f"it has {listed}.")


def _others(base: str) -> Iterator[str]:
    """Yield addresses of the same server that may be intended."""
    parts = urlsplit(base)
    path = parts.path
    trimmed = path.removesuffix(_ENDPOINT).removesuffix("/completions").removesuffix("/models")
    for other in dict.fromkeys((trimmed, f"{trimmed}/v1", "/v1", "/api/v1", "/openai/v1", "")):
        if other != path and not other.endswith("/v1/v1"):
            yield urlunsplit((parts.scheme, parts.netloc, other, "", ""))


async def _models(client: AsyncOpenAI, base: str) -> list[str]:
    """Return the names of a server's models; empty if it does not list them."""
    import httpx
    import openai

    try:
        response = await client.get(
            f"{base}/models", cast_to=httpx.Response, options={"timeout": httpx.Timeout(_SECONDS)}
        )
        document = lenient.loads((await response.aread()) if isinstance(response, httpx.Response) else b"")
    except (openai.OpenAIError, httpx.HTTPError, httpx.StreamError, ModelError, ValueError):
        return []
    return list(_names(document))


def _names(document: Any) -> Iterator[str]:
    rows = document.get("data") if isinstance(document, dict) else document
    for row in rows if isinstance(rows, list) else ():
        name = row.get("id") if isinstance(row, dict) else None
        if isinstance(name, str) and name:
            yield name[:200]
