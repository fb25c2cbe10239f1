"""`/v1/runs/{run_id}/debug`: what a run captured of its requests, if its level says so."""

from __future__ import annotations

from falcon.asgi import Request, Response

from kheish.api import views
from kheish.api.http import media
from kheish.api.http.answer import Answer
from kheish.api.http.operation import bind, get
from kheish.api.services import Services
from kheish.domain.runs import Run
from kheish.errors import Forbidden

BINARY = "application/octet-stream"


class DebugArtifact(Answer):
    """A captured request, answer or exchange of a run."""

    artifact_id: str
    """Such as turn-0001-attempt-0001-model-request."""
    sha256: str
    """That of the content that a reader gets."""
    bytes: int
    original_bytes: int
    """Its size before it was truncated."""
    truncated: bool
    encrypted: bool
    """Whether it is stored encrypted (level full), so that only an admin may read it."""
    at: str


class DebugArtifacts:
    """The resource of the artifacts of a run."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._state = services.state

    async def list_debug(self, req: Request, resp: Response, run_id: str) -> None:
        """Answer with the artifacts of a run, oldest first."""
        await views.document(self._state, Run, run_id)
        cards = await self._services.debug.listing(run_id)
        media.send(resp, media.page([card.view() for card in cards]))

    async def get_debug(self, req: Request, resp: Response, run_id: str, artifact: str) -> None:
        """Answer with the content of an artifact. One of the level full needs the role admin."""
        await views.document(self._state, Run, run_id)
        cards = {card.artifact_id: card for card in await self._services.debug.listing(run_id)}
        if artifact in cards and cards[artifact].encrypted and req.context.caller.role != "admin":
            raise Forbidden("Artifacts of the level full may contain secrets: only an admin may read them.")
        _, content = await self._services.debug.read(run_id, artifact)
        resp.content_type = BINARY
        resp.data = content


ONE = "/v1/runs/{run_id}/debug"
OPERATIONS = bind(
    DebugArtifacts,
    get(
        ONE, DebugArtifacts.list_debug, "List what a run captured for debugging, oldest first.", DebugArtifact,
        page=True, problems=(404,), tie=Run,
    ),
    get(
        f"{ONE}/{{artifact}}", DebugArtifacts.get_debug, "Get the content of a debug artifact.", None,
        media=BINARY, problems=(404,), tie=Run,
    ),
)  # fmt: skip
