"""Probes by HTTP: liveness and readiness, for machines, without a token."""

from __future__ import annotations

from falcon.asgi import Request, Response

from kheish.api.http import media
from kheish.api.http.answer import Free
from kheish.api.http.operation import bind, get
from kheish.api.services import Services
from kheish.errors import Unavailable


class Probes:
    """The resource of `/healthz` and `/readyz`, for machines, without a token."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def health(self, req: Request, resp: Response) -> None:
        """Answer that the process runs."""
        media.send(resp, {"status": "ok"})

    async def ready(self, req: Request, resp: Response) -> None:
        """Answer that work is accepted. Raises Unavailable (503) otherwise."""
        why = "The daemon is stopping." if self._services.closing.begun else self._services.ready()
        why = why or self._services.upkeep.rewound()
        if why is None and self._services.state.failure is not None:
            why = self._services.state.failure.detail
        if why is not None:
            raise Unavailable(why)
        media.send(resp, {"status": "ready"})


OPERATIONS = bind(
    Probes,
    get("/healthz", Probes.health, "Check whether the process answers.", Free, open=True, early=True),
    get("/readyz", Probes.ready, "Check whether work is accepted.", Free, open=True, early=True),
)
