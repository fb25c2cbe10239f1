"""What callers get of session tasks, as models (see `answers`)."""

from __future__ import annotations

from typing import Literal

from kheish.api.http.answer import Answer


class TaskShell(Answer):
    """A background command: its job, and how it ended."""

    job: str
    timeout: float | None
    """Seconds after which it is ended."""
    stop_requested: bool
    exit_status: int | None
    signal: int | None
    timed_out: bool
    stopped: bool
    lost: bool
    """Its runner was killed: nothing shows how it ended."""
    output_bytes: int
    """All that it wrote."""
    truncated: bool
    """Some of it is not in `output`."""
    duration: float | None
    exceeded: str | None = None
    """The limit for which it was ended: `processes` or `memory`."""
    ended: int = 0
    """Its processes that had to be ended."""
    left: int = 0
    """Those that could not be ended."""


class Task(Answer):
    """A task of a session."""

    task_id: str
    session_id: str
    run_id: str | None
    """The run that made it."""
    title: str
    description: str
    """Of a background command: the command line."""
    status: Literal["pending", "in_progress", "blocked", "completed", "failed", "cancelled"]
    owner: str | None
    blocked_by: list[str]
    output: str | None
    """What a background command wrote, once it has ended."""
    created_at: str
    ended_at: str | None
    n: int
    shell: TaskShell | None
    """null where it is no background command."""
