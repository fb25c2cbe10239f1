"""The backup by HTTP: push now."""

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
    """Where to, without credentials."""


class Backup(Answer):
    """How the backup is."""

    remote: str | None
    """The name of the git remote; null: nothing is pushed."""
    every_seconds: float | None
    outcome: Literal["never", "pushed", "failed", "diverged", "taken_over"]
    """How the newest push of this daemon went."""
    tried_at: str | None
    error: str | None
    pushed: Pushed | None
    """The newest push that succeeded."""
    restored: bool
    """Whether this root was restored and has not taken over: it pushes nothing."""


class Backups:
    """`/v1/state/backup`."""

    def __init__(self, parts: Services) -> None:
        self._parts = parts

    async def push_backup(self, req: Request, resp: Response) -> None:
        """Push to the remote of `backup.remote`, and answer when it is there. Raises BackupFailed, BackupDiverged,
        TakenOver, Conflict."""
        media.send(resp, await self._parts.backup.push())


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
