"""Transcription of audio by a route with the capability: an OpenAI-compatible server's `/audio/transcriptions`."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kheish import ids
from kheish.auth import broker, outgoing
from kheish.domain.events import AuditRecorded
from kheish.domain.routes import Route, readiness
from kheish.errors import KheishError
from kheish.runtime.drivers import failures
from kheish.runtime.drivers.base import ModelError
from kheish.runtime.drivers.openai import DEFAULT_API_BASE
from kheish.state.state import State

if TYPE_CHECKING:
    from kheish.runtime.agent import Agent

TRIES = 3
_PAUSE = 2.0  # seconds before the second try, doubled before the next
_ENDINGS = {"audio/mpeg": "mp3", "audio/x-wav": "wav", "audio/wav": "wav", "audio/ogg": "ogg", "audio/flac": "flac",
            "audio/x-flac": "flac", "audio/mp4": "m4a", "audio/aac": "aac", "audio/amr": "amr"}  # fmt: skip
NO_ROUTE = (
    "Audio is transcribed by a route of the driver openai with the capability transcription, and there is none that is "
    "ready."
)


class NotTranscribed(Exception):
    """A recording has no text; the text of the error is the reason."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """The text of a recording, with the route and the model that wrote it."""

    text: str
    route: str
    model: str


def route_of(state: State) -> tuple[str, Route] | None:
    """Return the first route that can transcribe, by id; None without one."""
    for id, route in sorted(state.definitions.routes.items()):
        can = route.capabilities.transcription and route.driver == "openai"
        if can and readiness(id, route, os.environ, state.slots) is None:
            return id, route
    return None


class Transcriber:
    """The transcription of recordings, with a lease of the route's credential for each call."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    async def transcribe(self, content: bytes, media_type: str, digest: str) -> Transcript:
        """Return the text of a recording; `digest` stands for it in the audit. Raises NotTranscribed."""
        found = route_of(self._agent.state)
        if found is None:
            raise NotTranscribed(NO_ROUTE)
        route_id, route = found
        pause = _PAUSE
        for number in range(TRIES):
            try:
                text = await self._audited(route_id, route, content, media_type, digest)
                return Transcript(text, route_id, route.model or "")
            except ModelError as error:
                if not error.retryable or number == TRIES - 1:
                    raise NotTranscribed(f"The route {route_id} could not transcribe it: {error.message}.") from error
                await asyncio.sleep(error.retry_after or pause)
                pause *= 2
            except KheishError as error:
                raise NotTranscribed(f"The route {route_id} could not transcribe it: {error.detail}") from error
        raise NotTranscribed(NO_ROUTE)

    async def _audited(self, route_id: str, route: Route, content: bytes, media_type: str, digest: str) -> str:
        """Return the text of a recording. An entry of the audit precedes the call: no audit, no call. Raises
        ModelError, CredentialRevoked."""
        state, target = self._agent.state, f"{route_id}/{route.model}"
        about: dict[str, Any] = {"action": "model", "subject": "daemon", "target": target, "request_digest": digest}
        state.append(AuditRecorded(outcome="begun", **about).on())
        await state.durable()
        outcome = "failed"
        try:
            text = await self._lent(route_id, route, content, media_type)
            outcome = "done"
        finally:
            state.append(AuditRecorded(outcome=outcome, **about).on())  # type: ignore[arg-type]  # fields of one event
        return text

    async def _lent(self, route_id: str, route: Route, content: bytes, media_type: str) -> str:
        if route.auth_ref is None:
            return await _ask(route, content, media_type, None)
        lent = self._agent.broker.lease(("daemon",), route.auth_ref, f"route:{route_id}", scope=())
        async with lent as lease:
            return await broker.using(lease, _ask(route, content, media_type, lease.value))


async def _ask(route: Route, content: bytes, media_type: str, credential: str | None) -> str:
    """Return the server's transcript. Raises ModelError."""
    await outgoing.load()
    import httpx

    from kheish.runtime.drivers import guard

    base = (route.api_base or DEFAULT_API_BASE).rstrip("/")
    headers = {"authorization": f"Bearer {credential}"} if credential else {}
    file = (f"audio.{_ENDINGS.get(media_type, 'bin')}", content, media_type)
    timeout = ids.duration(route.timeout)
    client = httpx.AsyncClient(verify=outgoing.https(), trust_env=not _is_loopback(base), timeout=timeout)
    guard.put_on(client)
    try:
        async with client, asyncio.timeout(timeout):
            answer = await client.post(
                f"{base}/audio/transcriptions",
                headers=headers,
                files={"file": file},
                data={"model": route.model or "", "response_format": "json"},
            )
    except TimeoutError as error:
        raise ModelError("timeout", f"no answer within {timeout:g} s") from error
    except httpx.HTTPError as error:
        inner = next((one for one in failures.within(error) if isinstance(one, ModelError)), None)
        text = failures.plain(f"{type(error).__name__}: {error}", credential)
        raise inner or ModelError("transport", f"the connection to the provider failed: {text}") from error
    if answer.status_code >= 400:
        text = answer.text.strip() or answer.reason_phrase
        raise failures.from_body(answer.status_code, text, headers=answer.headers, credential=credential)
    return _text_of(answer)


def _text_of(answer: Any) -> str:
    try:
        found = answer.json()["text"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError("bad_request", "the server sent no transcript") from error
    if not isinstance(found, str):
        raise ModelError("bad_request", "the server sent no transcript")
    return found


def _is_loopback(base: str) -> bool:
    """Return whether the address is on this machine, which no proxy reaches."""
    host = urlsplit(base).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
