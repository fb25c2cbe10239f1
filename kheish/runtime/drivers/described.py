"""The window that a server states: each family of servers in its own way.

- OpenAI's format, `GET /models`: vLLM and Mistral `max_model_len` or `max_context_length`, llama.cpp `meta.n_ctx`,
  OpenRouter and others `context_length`, Groq `context_window`.
- llama.cpp, `GET /props`: `default_generation_settings.n_ctx`, the window of one slot.
- Ollama, `GET /api/ps` and `POST /api/show`: the window of the loaded model, and `num_ctx` of its settings.

A model's own limit (`n_ctx_train`, `*.context_length` of Ollama) is not the server's, and is not believed.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson

from kheish.auth import outgoing
from kheish.runtime.drivers import failures
from kheish.runtime.drivers.base import ModelError, Request

SECONDS = 5.0  # seconds for all requests together
MOST_BYTES = 8 << 20  # bytes of one answer: lists of models are long
_WINDOWS = (
    "max_model_len", "max_context_length", "context_length", "context_window", "n_ctx", "max_context_window",
    "max_input_tokens", "inputTokenLimit",
)  # fmt: skip
_LOADED = ("loaded_context_length",)  # LM Studio
_NUM_CTX = re.compile(r"^num_ctx\s+([0-9]+)", re.MULTILINE)


async def window(request: Request) -> int | None:
    """Return the model's window in tokens as the server reports it; None if it does not. Never raises."""
    api_base = request.settings.get("api_base")
    if not api_base:
        return None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SECONDS):
            return await _ask(api_base.rstrip("/"), request)
    return None


async def _ask(api_base: str, request: Request) -> int | None:
    await outgoing.load()
    import httpx

    root = api_base.removesuffix("/v1")
    try:
        credential = failures.usable_credential(request.credential)
        headers = {"authorization": f"Bearer {credential}"} if credential else {}
        client = await asyncio.to_thread(_client, api_base, headers)
        async with client:
            models = await _json(client, "GET", f"{api_base}/models")
            window = of_models(models, request.model)
            if window is None and _mentions(models, "llamacpp"):
                window = of_props(await _json(client, "GET", f"{root}/props"))
            if window is None and _mentions(models, "library"):
                window = of_ollama(await _json(client, "GET", f"{root}/api/ps"), request.model)
                shown = await _json(client, "POST", f"{root}/api/show", {"model": request.model}) if not window else {}
                window = window or of_parameters(shown)
            return window
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ModelError, ValueError):
        return None


def _client(api_base: str, headers: Mapping[str, str]) -> Any:
    """Return a client; its certificates are read from disk, so this runs in a thread."""
    import httpx

    is_plain = urlsplit(api_base).scheme == "http"
    return httpx.AsyncClient(
        headers=dict(headers), verify=not is_plain, trust_env=not is_plain, follow_redirects=False, timeout=SECONDS
    )


async def _json(client: Any, method: str, url: str, body: Any = None) -> Any:
    content = orjson.dumps(body) if body is not None else None
    async with client.stream(method, url, content=content) as response:
        if response.status_code != 200:
            return None
        raw = b""
        async for piece in response.aiter_bytes():
            raw += piece
            if len(raw) > MOST_BYTES:
                return None
    return await asyncio.to_thread(orjson.loads, raw) if raw else None


def of_models(answer: Any, model: str | None) -> int | None:
    """Return the window from a list of models: that of the named one, or of the only one."""
    listed = _entries(answer)
    named = [one for one in listed if model is not None and model in (one.get("id"), one.get("model"), one.get("name"))]
    for one in named or (listed if len(listed) == 1 else []):
        meta = one.get("meta")
        for source in (one, meta if isinstance(meta, Mapping) else {}):
            if window := _first(source, (*_LOADED, *_WINDOWS)):
                return window
    return None


def _entries(answer: Any) -> list[Mapping[str, Any]]:
    if not isinstance(answer, Mapping):
        return []
    entries = answer.get("data")
    if not isinstance(entries, list):
        entries = answer.get("models")
    return [one for one in entries if isinstance(one, Mapping)] if isinstance(entries, list) else []


def _mentions(answer: Any, owner: str) -> bool:
    return any(one.get("owned_by") == owner for one in _entries(answer))


def of_props(answer: Any) -> int | None:
    """Return the window from llama.cpp's properties."""
    settings = answer.get("default_generation_settings") if isinstance(answer, Mapping) else None
    return _first(settings, ("n_ctx",)) if isinstance(settings, Mapping) else None


def of_ollama(answer: Any, model: str | None) -> int | None:
    """Return the window of a model that Ollama has loaded."""
    for one in _entries(answer):
        if model in (one.get("name"), one.get("model")) or f"{model}:latest" == one.get("name"):
            return _first(one, ("context_length",))
    return None


def of_parameters(answer: Any) -> int | None:
    """Return the window from the settings of a model of Ollama."""
    parameters = answer.get("parameters") if isinstance(answer, Mapping) else None
    match = _NUM_CTX.search(parameters) if isinstance(parameters, str) else None
    return int(match[1]) if match and len(match[1]) < 10 else None


def _first(source: Mapping[str, Any], names: Iterable[str]) -> int | None:
    for name in names:
        value = source.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None
