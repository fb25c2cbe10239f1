"""`/openai/v1`: runs for clients that speak the OpenAI protocols, beside Falcon.

A request is admitted like any other, and everything that it leads to is a request to the daemon's own API with the same
token. Errors have the shape of that protocol.
"""

from __future__ import annotations

import asyncio
import json
import time
import weakref
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import falcon
from falcon.asgi import Request

from kheish.api.foreign import entrance, streaming
from kheish.api.foreign.inside import App, Inside
from kheish.api.http.authentication import Authentication
from kheish.api.services import Services
from kheish.client import requests
from kheish.errors import Invalid, KheishError, NotFound
from kheish.protocols import needs
from kheish.protocols.openai import bodies, chat, failures, messages, names, places, responses
from kheish.store import parsing

#: everything below this path, and the noun of its role
BASE, _NOUN = "/openai/v1/", "/openai"
BODY_BYTES = 4 * 1024 * 1024
_SESSION = "X-Kheish-Session"


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller's access, its name, and what its headers say."""

    access: Inside
    name: str
    session: str | None
    key: str | None
    is_retry: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: a document, or events."""

    body: Mapping[str, Any] | AsyncIterator[bytes]
    run: Any = None

    @property
    def headers(self) -> dict[str, str]:
        """Headers that name the run and its session."""
        if self.run is None:
            return {}
        return {"X-Kheish-Run": self.run["run_id"], _SESSION: self.run["session_id"]}


class Endpoint:
    """The ASGI application of `/openai/v1`. `app` answers the operations."""

    def __init__(self, services: Services, authentication: Authentication, app: App) -> None:
        self._entrance = entrance.Entrance(services, authentication, app, _NOUN)
        #: one for each conversation that begins: two equal requests at once find one run
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        send = self._entrance.counted(scope, send)
        try:
            req, access = await self._entrance.admit(scope, receive)
            caller = Caller(
                access,
                req.context.principal,
                req.get_header(_SESSION),
                req.get_header("Idempotency-Key"),
                (req.get_header("x-stainless-retry-count") or "0") != "0",
            )
            answer = await self._answer(req, caller)
        except (KheishError, falcon.HTTPError) as error:
            return await streaming.send_json(send, *_refusal(error), self._entrance.services)
        if isinstance(answer.body, Mapping):
            return await streaming.send_json(send, 200, answer.body, answer.headers, self._entrance.services)
        return await streaming.send_events(send, receive, _ending(answer.body), answer.headers)

    async def _answer(self, req: Request, caller: Caller) -> Answer:
        match req.method, req.path.removeprefix(BASE).strip("/").split("/"):
            case "GET", ["models"]:
                listed = [_model(name) for name in await names.listed(caller.access)]
                return Answer({"object": "list", "data": listed})
            case "GET", ["models", *words]:
                name = names.parse(unquote("/".join(words)))
                return Answer(_model(str(name)))
            case "POST", ["chat", "completions"]:
                return await self._chat(await entrance.read_body(req, BODY_BYTES), caller)
            case "POST", ["responses"]:
                return await self._respond(await entrance.read_body(req, BODY_BYTES), caller)
            case "GET", ["responses", id]:
                return await _response(req, caller, id)
            case "POST", ["responses", id, "cancel"]:
                run = await caller.access.send(requests.get_run(responses.run_of(id)))
                if run["status"] != "cancelled":
                    await caller.access.send(requests.cancel_run(run["run_id"]))
                    run = await caller.access.send(requests.get_run(run["run_id"], wait="5s"))
                return Answer(await responses.read(caller.access, run), run)
        raise NotFound(f"There is nothing at {req.method} {req.path[:200]}; see docs/openai-compatible.md.")

    async def _chat(self, raw: bytes, caller: Caller) -> Answer:
        body, told = await parsing.run(_read_chat, raw)
        name = names.parse(body.model)
        wanted = places.Wanted(
            caller=caller.name,
            name=name,
            told=told,
            session=caller.session or (body.metadata or {}).get("kheish_session"),
            key=caller.key,
            is_retry=caller.is_retry,
        )
        async with self._lock(wanted.session or wanted.prefix):
            place = await places.find(caller.access, wanted)
            generation = body.generation() or None
            run = await places.start(caller.access, wanted, place, body.metadata or {}, generation=generation)
        if body.stream:
            with_usage = bool((body.stream_options or {}).get("include_usage"))
            return Answer(chat.chunks(caller.access, run, body.model, with_usage=with_usage), run)
        return Answer(await chat.completion(caller.access, run, body.model), run)

    async def _respond(self, raw: bytes, caller: Caller) -> Answer:
        body = await parsing.run(bodies.responses, raw)
        name = names.parse(body.model)
        async with self._lock(messages.digest(caller.name, raw.decode(errors="replace"))):
            run = await responses.start(
                caller.access, body, name, caller.name, key=caller.key, is_retry=caller.is_retry
            )
        if body.stream:
            return Answer(responses.stream(caller.access, run), run)
        if not body.background:
            run = await needs.settle(caller.access, run)
        return Answer(await responses.read(caller.access, run), run)

    def _lock(self, key: str) -> asyncio.Lock:
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        return lock


def _read_chat(raw: bytes) -> tuple[bodies.ChatBody, messages.Conversation]:
    body = bodies.chat(raw)
    return body, messages.conversation(body.messages)


async def _response(req: Request, caller: Caller, id: str) -> Answer:
    run = await caller.access.send(requests.get_run(responses.run_of(id)))
    streams = req.get_param("stream") or "false"
    if streams not in ("true", "false"):
        raise Invalid("stream is true or false.", param="stream")
    if streams == "true":
        return Answer(responses.stream(caller.access, run, responses.place_of(req.get_param("starting_after"))), run)
    return Answer(await responses.read(caller.access, run), run)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": int(time.time()), "owned_by": names.NAME}


def _refusal(error: KheishError | falcon.HTTPError) -> tuple[int, Mapping[str, Any], dict[str, str]]:
    """Return the status, body and headers of an error."""
    if isinstance(error, falcon.HTTPError):
        error = Invalid(error.description or str(error.title))
    headers = {"x-should-retry": "false"} if error.status == 500 else {}
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="kheish"'
    if error.status in (429, 503):
        headers["Retry-After"] = str(error.extra.get("retry_after", 1))
    return error.status, failures.document(error), headers


async def _ending(events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield events; an error after the first of them becomes the last one."""
    try:
        async for event in events:
            yield event
    except KheishError as error:
        yield b"data: " + json.dumps(failures.document(error)).encode() + b"\n\n"
