"""`/mcp`: the daemon as an MCP server over streamable HTTP, beside Falcon.

A request is admitted like any other (Host, Origin, token, role, rate), and each operation that it leads to is a request
to the daemon's own API with the same token: nothing is permitted twice, filtered twice or audited twice. Each token has
a session manager of the SDK of its own, so that sessions cannot be shared between tokens, and a flood of sessions hurts
its own token only. The SDK is imported at the first request.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import importlib
import logging
import os
import time
from collections.abc import Callable
from typing import Any, TypeVar

import falcon

from kheish.api.foreign import entrance
from kheish.api.foreign.inside import App, Inside
from kheish.api.http.authentication import Authentication
from kheish.api.services import Services
from kheish.errors import FileRefused, KheishError, Unavailable
from kheish.store import door

T = TypeVar("T")
PATH = "/mcp"
#: bytes of a request
BODY_BYTES = 1024 * 1024
#: sessions of a token, and seconds after which an idle one ends
MOST_SESSIONS, IDLE = 100, 600.0
#: seconds between two looks at the validity of a token
_LOOK = 5.0
#: where the scope of a request has its access
_ACCESS = "kheish.access"
log = logging.getLogger(__name__)


class _Sessions:
    """The sessions of one token: the SDK's manager, run by a task, until the token ends or nothing is used."""

    def __init__(self, manager: Any, is_valid: Callable[[], bool]) -> None:
        self.manager = manager
        self._is_valid = is_valid
        self._open = 0
        self._used = time.monotonic()
        self._ready = asyncio.Event()
        self.task = asyncio.get_running_loop().create_task(self._run(), name="mcp sessions")

    async def _run(self) -> None:
        try:
            async with self.manager.run():
                self._ready.set()
                while self._is_wanted():  # noqa: ASYNC110 - neither the end of a token nor time has an event
                    await asyncio.sleep(_LOOK)
        finally:
            self._ready.set()

    def _is_wanted(self) -> bool:
        return self._is_valid() and (self._open > 0 or time.monotonic() - self._used < 2 * IDLE)

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        await self._ready.wait()
        if self.task.done():
            raise Unavailable("The daemon is stopping, or the token has ended.")
        self._open += 1
        try:
            await self.manager.handle_request(scope, receive, send)
        finally:
            self._open -= 1
            self._used = time.monotonic()


class Endpoint:
    """The ASGI application of `/mcp`. `app` answers the operations."""

    def __init__(self, services: Services, authentication: Authentication, app: App) -> None:
        self._services = services
        self._entrance = entrance.Entrance(services, authentication, app, PATH)
        self._sdk: Any = None
        self._importing = asyncio.Lock()
        self._by_token: dict[str, _Sessions] = {}
        services.closing.then(self._end)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        try:
            caller, sessions, body = await self._admitted(scope, receive)
        except (KheishError, falcon.HTTPError) as error:
            return await self._entrance.refuse(scope, receive, send, error)
        is_stream = scope["method"] == "GET"
        by_caller = self._services.feed.by_caller
        if is_stream:
            by_caller.opened(caller)
        try:
            await sessions.handle(scope, _replayed(body, receive), self._entrance.counted(scope, send))
        except KheishError as error:
            await self._entrance.refuse(scope, receive, send, error)
        finally:
            if is_stream:
                by_caller.closed(caller)
        return None

    async def _admitted(self, scope: Any, receive: Any) -> tuple[str, _Sessions, bytes]:
        """Return the caller, its sessions, and the body of the request. Raises KheishError."""
        req, access = await self._entrance.admit(scope, receive)
        if scope["method"] == "GET":
            self._services.feed.by_caller.check(req.context.principal, self._services.config().api.streams)
        body = await entrance.read_body(req, BODY_BYTES) if scope["method"] == "POST" else b""
        scope[_ACCESS] = access
        return req.context.principal, await self._sessions(req.context.digest), body

    async def _sessions(self, digest: str) -> _Sessions:
        sdk = await self._server()
        found = self._by_token.get(digest)
        if found is None or found.task.done():
            manager = sdk[1](
                sdk[0],
                session_idle_timeout=IDLE,
                max_sessions=MOST_SESSIONS,
                max_request_body_size=BODY_BYTES,
            )
            tokens = self._services.tokens
            found = self._by_token[digest] = _Sessions(manager, lambda: tokens.holder(digest) is not None)
            found.task.add_done_callback(lambda done: self._ended(digest, done))
        return found

    async def _server(self) -> Any:
        """Return the server and the class of its session managers; the first call imports the SDK, in a thread."""
        async with self._importing:
            if self._sdk is None:
                server = await asyncio.to_thread(importlib.import_module, "kheish.protocols.mcp.server")
                managers = await asyncio.to_thread(importlib.import_module, "mcp.server.streamable_http_manager")
                logging.getLogger("mcp").setLevel(logging.ERROR)  # it logs each session and each odd request
                key = await asyncio.to_thread(self._key)
                built = server.build(_access, key=key, principal_of=lambda context: _access(context).digest)
                self._sdk = built, managers.StreamableHTTPSessionManager
        return self._sdk

    def _key(self) -> bytes:
        """Return the key that seals the state of clients; it outlives the process, as the local token does."""
        try:
            secret = door.read_own(self._services.state.root / ".kheish" / "token", most=4096)[0]
        except (OSError, FileRefused):
            secret = os.urandom(32)  # a client's state is then valid until the daemon stops
        return hmac.digest(secret, b"kheish-mcp-state-1", hashlib.sha256)

    def _ended(self, digest: str, done: asyncio.Task[None]) -> None:
        if self._by_token.get(digest) is not None and self._by_token[digest].task is done:
            del self._by_token[digest]
        if not done.cancelled() and (error := done.exception()) is not None:
            log.error("the MCP sessions of a token ended", exc_info=error)

    def _end(self) -> None:
        """End all sessions: the daemon stops."""
        for sessions in self._by_token.values():
            sessions.task.cancel()


def _access(context: Any) -> Inside:
    """Return the access of a request of the SDK."""
    found: Inside = context.request.scope[_ACCESS]
    return found


def _replayed(body: bytes, receive: Any) -> Any:
    """Return a `receive` that begins with the body, which was read."""
    is_begun = False

    async def replayed() -> Any:
        nonlocal is_begun
        if is_begun:
            return await receive()
        is_begun = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed
