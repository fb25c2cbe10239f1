"""The application: Falcon over the union of all operations."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from types import MethodType
from typing import Any

import falcon
import falcon.asgi
from falcon.asgi import Request, Response

from kheish.api.http import errors
from kheish.api.http.authentication import Authentication
from kheish.api.http.openapi import DOCS, Docs
from kheish.api.http.operation import Make, Operation
from kheish.api.http.sse import RECEIVE
from kheish.api.services import Services
from kheish.errors import KheishError


class App(falcon.asgi.App[Request, Response]):
    """Falcon's application, with two additions: a stream is notified when its client disconnects, and a request that
    the end of the daemon cancels is answered 503 instead of uvicorn's 500."""

    # Falcon types the three arguments in some releases only.
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # type: ignore[override,unused-ignore]
        if scope["type"] == "http":
            scope[RECEIVE] = receive
        begun = False

        async def noted(message: Any) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await super().__call__(scope, receive, noted)
        except asyncio.CancelledError:
            if begun or scope["type"] != "http":
                raise
            await errors.send_stopping(send)


class Responders:
    """The handlers of one path under the names by which Falcon finds them: `on_get`, `on_post`, …"""


def build(services: Services, operations: Sequence[Operation]) -> App:
    """Return the application that answers `operations` over `services`."""
    app = App(middleware=[Authentication(services, operations)])
    app.req_options.strip_url_path_trailing_slash = True
    app.add_error_handler(Exception, errors.on_defect)
    app.add_error_handler(sqlite3.Error, errors.on_index_error)
    app.add_error_handler(falcon.HTTPError, errors.on_http_error)
    app.add_error_handler(KheishError, errors.on_kheish_error)
    for path, responders in routes(services, operations).items():
        app.add_route(path, responders)
    app.add_route(DOCS, Docs())
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
