"""Permissions by HTTP: the rules in force, and what a call would meet."""

from __future__ import annotations

from falcon.asgi import Request, Response

from kheish.api import models
from kheish.api.http import filtering, media
from kheish.api.services import Services
from kheish.errors import Invalid


class Permissions:
    """`/v1/permissions`."""

    def __init__(self, parts: Services) -> None:
        self._parts = parts

    async def on_get(self, req: Request, resp: Response) -> None:
        """permissions.yaml as it is in force."""
        media.send(resp, self._parts.state.definitions.permissions.model_dump(mode="json"))

    async def on_post_check(self, req: Request, resp: Response) -> None:
        """Explain what a call would meet; it is not made."""
        body = await media.read(req, models.CheckPermission)
        if body.session and body.session_id and body.session != body.session_id:
            raise Invalid("session and session_id differ; send one of them.")
        session_id = body.session_id or body.session
        if session_id is not None:
            filtering.see(req.context.caller, session_id)
            await self._parts.state.load(session_id)
        media.send(resp, await self._parts.inspector.check(body.tool, body.arguments, session_id))
