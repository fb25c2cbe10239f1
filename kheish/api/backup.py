"""The backup by HTTP: immediate pushes."""

from __future__ import annotations

from typing import Literal

from falcon.asgi import Request, Response

from kheish.api.http import media
from kheish.api.http.answer import Answer
from kheish.api.http.operation import bind, post
from kheish.api.services import Services


class Pushed(Answer):
    """A push that succeeded."""

    commit: str
    n: int
    """The newest event that it holds."""
    at: str
    url: str
    """The target, without credentials."""


class Backup(Answer):
    """The state of the backup."""

    remote: str | None
    """The name of the git remote; null: nothing is pushed."""
    every_seconds: float | None
    outcome: Literal["never", "pushed", "failed", "diverged", "taken_over"]
    """The result of the newest push of this daemon."""
    tried_at: str | None
    error: str | None
    pushed: Pushed | None
    """The newest push that succeeded."""
    restored: bool
    """Whether this root was restored and has not taken over; such a root pushes nothing."""


class Backups:
    """The resource of `/v1/state/backup`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def push_backup(self, req: Request, resp: Response) -> None:
        """Push to the remote of `backup.remote`, and answer after the push.

        Raises BackupFailed, BackupDiverged, TakenOver, Conflict.
        """
        media.send(resp, await self._services.backup.push())


OPERATIONS = bind(
    Backups,
    post(
        "/v1/state/backup",
        Backups.push_backup,
        "Push to the backup's remote now.",
        None,
        Backup,
        problems=(409,),
    ),
)
