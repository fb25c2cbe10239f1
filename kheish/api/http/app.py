"""The application: Falcon over the union of all operations."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MethodType
from typing import Any
from urllib.parse import unquote

import falcon
import falcon.asgi
from falcon.asgi import Request, Response

from kheish.api.http import console, errors
from kheish.api.http.authentication import Authentication
from kheish.api.http.openapi import DOCS, Docs
from kheish.api.http.operation import Make, Operation
from kheish.api.http.routing import Router
from kheish.api.http.sse import RECEIVE
from kheish.api.services import Services
from kheish.errors import KheishError

#: an ASGI application, and its maker: from the services, the authentication and what answers the operations
Mounted = Callable[[Any, Any, Any], Awaitable[None]]
Mount = Callable[[Services, Authentication, Mounted], Mounted]


class App(falcon.asgi.App[Request, Response]):
    """Falcon's application, with four additions: a stream is notified when its client disconnects, a request that the
    end of the daemon cancels is answered 503 instead of uvicorn's 500, a path may have an application of its own, and
    an encoded slash is a character of an id (`%2F`), never the end of one: `a%2Fruns` is no way to another operation.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        #: applications beside Falcon, by their paths
        self.mounted: dict[str, Mounted] = {}

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request that comes from within the daemon."""
        scope[RECEIVE] = receive
        await super().__call__(scope, receive, send)

    # Falcon types the three arguments in some releases only.
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # type: ignore[override,unused-ignore]
        if scope["type"] == "http":
            scope[RECEIVE] = receive
            raw = scope.get("raw_path") or b""
            if b"%2f" in raw.lower():
                scope["path"] = "/".join(unquote(part).replace("/", "%2F") for part in raw.decode("latin-1").split("/"))
        begun = False

        async def noted(message: Any) -> None:
            nonlocal begun
            begun = True
            await send(message)

        mounted = self._mounted(scope["path"]) if scope["type"] == "http" and self.mounted else None
        try:
            await (mounted or super().__call__)(scope, receive, noted)
        except asyncio.CancelledError:
            if begun or scope["type"] != "http":
                raise
            await errors.send_stopping(send)

    def _mounted(self, path: str) -> Mounted | None:
        """Return the application of a path, or of what is below a mount whose own path ends with a slash."""
        if (exact := self.mounted.get(path.rstrip("/"))) is not None:
            return exact
        return next((app for mount, app in self.mounted.items() if mount[-1] == "/" and path.startswith(mount)), None)


class Responders:
    """The handlers of one path under the names by which Falcon finds them: `on_get`, `on_post`, …"""


def build(services: Services, operations: Sequence[Operation], mounts: Mapping[str, Mount] | None = None) -> App:
    """Return the application that answers `operations` over `services`; `mounts` are applications of other protocols,
    by their paths."""
    authentication = Authentication(services, operations)
    app = App(middleware=[authentication], router=Router())
    app.mounted = {path: make(services, authentication, app.answer) for path, make in (mounts or {}).items()}
    app.req_options.strip_url_path_trailing_slash = True
    app.add_error_handler(Exception, errors.on_defect)
    app.add_error_handler(sqlite3.Error, errors.on_index_error)
    app.add_error_handler(falcon.HTTPError, errors.on_http_error)
    app.add_error_handler(KheishError, errors.on_kheish_error)
    for path, responders in routes(services, operations).items():
        app.add_route(path, responders)
    app.add_route(DOCS, Docs())
    console.add_routes(app)
    return app


def routes(services: Services, operations: Sequence[Operation]) -> Mapping[str, Responders]:
    """Return each path with its handlers; each resource is made once."""
    resources: dict[Make, object] = {}
    paths: dict[str, Responders] = {}
    for operation in operations:
        make = operation.make
        assert make is not None, f"{operation.name} is bound to no resource"
        if make not in resources:
            resources[make] = make(services)
        responder = MethodType(operation.handler, resources[make])
        setattr(paths.setdefault(operation.path, Responders()), f"on_{operation.method.lower()}", responder)
    return paths
