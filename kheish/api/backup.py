"""The backup by HTTP: push now."""

from __future__ import annotations

from falcon.asgi import Request, Response

from kheish.api.http import media
from kheish.api.services import Services


class Backup:
    """`/v1/state/backup`."""

    def __init__(self, parts: Services) -> None:
        self._parts = parts

    async def on_post(self, req: Request, resp: Response) -> None:
        """Push to the remote of `backup.remote`, and answer when it is there. Raises BackupFailed, BackupDiverged,
        TakenOver, Conflict."""
        media.send(resp, await self._parts.backup.push())
