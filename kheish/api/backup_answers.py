"""What callers get about the backup, as models."""

from __future__ import annotations

from typing import Literal

from kheish.api.http.answer import Answer


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
