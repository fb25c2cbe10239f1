"""The `litellm` driver: every provider that litellm supports, at its price (an import of seconds, 20 ms a call).

Without `auth_ref` a provider's own credentials lookup applies (a cloud's role, for example), except if the route has an
`api_base`: nothing of the daemon's environment goes to a server that the operator named.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

from kheish.auth import outgoing
from kheish.runtime.drivers import chat, failures, hints
from kheish.runtime.drivers.answer import Assembly
from kheish.runtime.drivers.base import ModelError, Reply, Request

NO_CREDENTIAL = "no-credential"


class LiteLLMDriver:
    """A driver whose connections litellm keeps itself, for the whole process."""

    def __init__(self) -> None:
        self._litellm: Any = None

    async def complete(self, request: Request, on_delta: Callable[[str], None]) -> Reply:
        """Call the model. `settings`: api_base, auth_ref; timeout, inactivity_timeout in seconds. Raises ModelError."""
        await self.prepare()
        total = request.settings.get("timeout")
        assembly = Assembly(request)
        try:
            async with asyncio.timeout(total):
                reply = await _ask(self._litellm, request, assembly, on_delta)
        except TimeoutError as error:
            message = f"no complete answer within {total} s"
            raise ModelError("timeout", message, reply=assembly.so_far()) from error
        except ModelError as error:
            if error.kind == "auth":
                raise error.worded(f"{error.message.rstrip()} {hints.credential(request)}") from error
            raise
        return replace(reply, cost_usd=_cost(self._litellm, request, reply))

    async def prepare(self) -> None:
        """Import litellm, which takes seconds."""
        if self._litellm is None:
            await outgoing.load()
            self._litellm = await asyncio.to_thread(_load)

    async def aclose(self) -> None:
        """Close litellm's connections."""
        if self._litellm is not None:
            await self._litellm.close_litellm_async_clients()


def _load() -> Any:
    # Prices from the package and not from the network, and no `.env` of the current folder.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
    import litellm
    import openai.resources.chat  # noqa: F401 - this and the tokenizer would be loaded on the loop, in the first call

    getattr(litellm, "encoding", None)
    litellm.suppress_debug_info = True  # it prints help texts to stdout
    litellm.num_retries = 0
    litellm.telemetry = False
    litellm.in_memory_llm_clients_cache = _guarding_cache()
    return litellm


def _guarding_cache() -> Any:
    """Return the cache through which litellm passes every client that it makes: each gets the guard there."""
    import httpx
    from litellm.caching.llm_caching_handler import LLMClientCache

    from kheish.runtime.drivers import guard

    class Guarding(LLMClientCache):
        """litellm's own cache of clients."""

        def set_cache(self, key: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
            return super().set_cache(key, _guarded(value), *args, **kwargs)

        def get_cache(self, key: Any, **kwargs: Any) -> Any:
            client = super().get_cache(key, **kwargs)  # type: ignore[no-untyped-call]  # litellm has no types here
            return _guarded(client)  # it recreates a closed client

    def _guarded(value: Any) -> Any:
        for client in (getattr(value, "client", None), getattr(value, "_client", None)):
            if isinstance(client, httpx.AsyncClient):
                guard.put_on(client)
        return value

    return Guarding()


async def _ask(litellm: Any, request: Request, assembly: Assembly, on_delta: Callable[[str], None]) -> Reply:
    import httpx
    import openai

    try:
        async for document in _documents(litellm, request):
            if document is _OVER:
                assembly.end()
            elif text := assembly.feed(document):
                on_delta(text)
    except ModelError as error:
        error.reply = error.reply or assembly.so_far()
        raise
    except (openai.OpenAIError, httpx.HTTPError) as error:  # litellm's errors are the SDK's
        translated = _translated(error, request.credential)
        translated.reply = translated.reply or assembly.so_far()
        raise translated from error
    return assembly.reply()


_OVER = object()  # the answer is complete


async def _documents(litellm: Any, request: Request) -> AsyncIterator[Any]:
    """Yield the documents of an answer, without litellm's additions to a stream that broke off."""
    quiet = request.settings.get("inactivity_timeout") if request.stream else None
    answer = await _within(quiet, litellm.acompletion(**_arguments(request)))
    if not request.stream:
        yield answer.model_dump(exclude_none=True)
        yield _OVER
        return
    stream = aiter(answer)
    try:
        while True:
            try:
                chunk = await _within(quiet, anext(stream))
            except StopAsyncIteration:
                return
            yield _as_received(chunk.model_dump(exclude_none=True), answer)
    finally:
        await _close(answer)


def _as_received(document: dict[str, Any], stream: Any) -> dict[str, Any]:
    """Return a document without what litellm invents if the provider sent none: the reason `stop`, and tokens."""
    received = getattr(stream, "received_finish_reason", None) or getattr(stream, "intermittent_finish_reason", None)
    if received is None:
        for choice in document.get("choices") or ():
            choice.pop("finish_reason", None)
    if "usage" in document and not any(getattr(chunk, "usage", None) for chunk in getattr(stream, "chunks", ())):
        del document["usage"]
    return document


async def _within(seconds: float | None, step: Awaitable[Any]) -> Any:
    try:
        async with asyncio.timeout(seconds):
            return await step
    except TimeoutError as error:
        raise ModelError("timeout", f"the provider was silent for {seconds} s") from error


async def _close(answer: Any) -> None:
    # A stream that was abandoned in the middle keeps its connection until then.
    if callable(close := getattr(answer, "aclose", None)):
        await close()


def _arguments(request: Request) -> dict[str, Any]:
    arguments = chat.body(request)
    api_base = request.settings.get("api_base")
    credential = failures.usable_credential(request.credential) or (NO_CREDENTIAL if api_base else None)
    arguments |= {"num_retries": 0, "max_retries": 0}  # the loop retries, and journals every attempt
    optional = {"api_base": api_base, "api_key": credential, "timeout": request.settings.get("timeout")}
    return arguments | {key: value for key, value in optional.items() if value is not None}


def _translated(error: Exception, credential: str | None) -> ModelError:
    import httpx
    import openai

    errors = list(failures.within(error))
    if ours := next((one for one in errors if isinstance(one, ModelError)), None):
        return ours  # the guard's
    # A stream that fails in the middle comes wrapped, with a status that is litellm's and not the provider's.
    inner = getattr(error, "original_exception", None)
    if isinstance(inner, openai.OpenAIError):
        return _translated(inner, credential)
    message = str(getattr(error, "message", "") or error)
    status = getattr(error, "status_code", None)
    if isinstance(error, (openai.APITimeoutError, httpx.TimeoutException)):
        return ModelError("timeout", failures.plain(message, credential))
    if isinstance(error, openai.APIConnectionError) or not isinstance(status, int) or inner is not None:
        return ModelError("transport", failures.plain(message, credential))
    code = getattr(error, "code", None)
    if type(error).__name__ == "ContextWindowExceededError":
        code = "context_length_exceeded"
    body = getattr(error, "body", None) or message
    return failures.from_body(
        status, body, code=str(code) if code else None, headers=_headers(error), credential=credential
    )


def _headers(error: Exception) -> dict[str, str]:
    """Return a provider's headers, which litellm keeps in one of two places."""
    out: dict[str, str] = {}
    for headers in (getattr(getattr(error, "response", None), "headers", None), _kept_headers(error)):
        out |= {str(key).lower(): str(value) for key, value in dict(headers or {}).items()}
    return out


def _kept_headers(error: Exception) -> Any:
    return getattr(error, "litellm_response_headers", None) or getattr(error, "headers", None)


def _cost(litellm: Any, request: Request, reply: Reply) -> float | None:
    """Return the price by litellm's list; None for a model without a price."""
    try:
        read, written = litellm.cost_per_token(
            model=request.model,
            prompt_tokens=reply.usage.input_tokens,
            completion_tokens=reply.usage.output_tokens,
            cache_read_input_tokens=reply.usage.cached_tokens,
        )
    except Exception:  # noqa: BLE001 - litellm raises a bare Exception for a model without a price
        return None
    return float(read + written)
