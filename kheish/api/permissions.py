"""The decision that a call would get, by HTTP. The rules themselves are a file (`settings`)."""

from __future__ import annotations

from typing import Any, Literal

from falcon.asgi import Request, Response
from pydantic import Field

from kheish.api.http import filtering, media
from kheish.api.http.answer import Answer
from kheish.api.http.bodies import Body, Name
from kheish.api.http.operation import bind, post
from kheish.api.services import Services
from kheish.errors import Invalid


class CheckPermission(Body):
    """A tool call to evaluate. It is not executed."""

    tool: Name
    """The tool's name."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Its arguments."""
    session_id: Name | None = None
    """The session whose mode, rules and workspace apply; without it, those of a new session."""
    session: Name | None = None
    """The same as `session_id`."""


class Verdict(Answer):
    """The decision that a call would get."""

    decision: Literal["allow", "ask", "deny"]
    why: str


class Permissions:
    """The resource of `/v1/permissions/check`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def check_permission(self, req: Request, resp: Response) -> None:
        """Explain the decision on a call without executing it."""
        body = await media.read(req, CheckPermission)
        if body.session and body.session_id and body.session != body.session_id:
            raise Invalid("session and session_id differ; send one of them.")
        session_id = body.session_id or body.session
        if session_id is not None:
            await filtering.see(self._services.state, req.context.caller, session_id)
        media.send(resp, await self._services.inspector.check(body.tool, body.arguments, session_id))


OPERATIONS = bind(
    Permissions,
    post(
        "/v1/permissions/check",
        Permissions.check_permission,
        "Explain the decision on a call without executing it.",
        CheckPermission,
        Verdict,
        problems=(404,),
        tie="none",
    ),
)
