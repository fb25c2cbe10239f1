"""Probes by HTTP: whether the process answers, and whether work is taken; for machines, without a token."""

from __future__ import annotations

from falcon.asgi import Request, Response

from kheish.api.http import media
from kheish.api.http.answer import Free
from kheish.api.http.operation import bind, get
from kheish.api.services import Services
from kheish.errors import Unavailable


class Probes:
    """`/healthz`, `/readyz`: for machines, without a token."""

    def __init__(self, parts: Services) -> None:
        self._parts = parts

    async def health(self, req: Request, resp: Response) -> None:
        """The process answers."""
        media.send(resp, {"status": "ok"})

    async def ready(self, req: Request, resp: Response) -> None:
        """Work is taken. Raises Unavailable (503) where it is not."""
        why = "The daemon is stopping." if self._parts.closing.begun else self._parts.ready()
        why = why or self._parts.upkeep.rewound()
        if why is None and self._parts.state.failure is not None:
            why = self._parts.state.failure.detail
        if why is not None:
            raise Unavailable(why)
        media.send(resp, {"status": "ready"})


OPERATIONS = bind(
    Probes,
    get("/healthz", Probes.health, "Whether the process answers.", Free, open=True, early=True),
    get("/readyz", Probes.ready, "Whether work is taken.", Free, open=True, early=True),
)
