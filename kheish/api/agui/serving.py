"""`POST /agui`: runs for user interfaces by AG-UI, beside Falcon.

A request is admitted like any other, and everything that it leads to is a request to the daemon's own API with the same
token.
"""

from __future__ import annotations

from typing import Any

import falcon

from kheish.api.foreign import entrance, streaming
from kheish.api.foreign.inside import App
from kheish.api.http.authentication import Authentication
from kheish.api.services import Services
from kheish.errors import KheishError
from kheish.protocols.agui import driving, inputs
from kheish.store import parsing

PATH = "/agui"
BODY_BYTES = 4 * 1024 * 1024


class Endpoint:
    """The ASGI application of `/agui`. `app` answers the operations."""

    def __init__(self, services: Services, authentication: Authentication, app: App) -> None:
        self._entrance = entrance.Entrance(services, authentication, app, PATH)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        try:
            req, access = await self._entrance.admit(scope, receive)
            if scope["method"] != "POST":
                raise falcon.HTTPMethodNotAllowed(["POST"])
            given = await parsing.run(inputs.parse, await entrance.read_body(req, BODY_BYTES))
            run, after = await driving.begin(access, given)
        except (KheishError, falcon.HTTPError) as error:
            return await self._entrance.refuse(scope, receive, send, error)
        headers = {"X-Kheish-Session": run["session_id"], "X-Kheish-Run": run["run_id"]}
        events = driving.stream(access, given, run, after)
        return await streaming.send_events(self._entrance.counted(scope, send), receive, events, headers)
