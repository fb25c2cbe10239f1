"""Tasks of a session by HTTP: list."""

from __future__ import annotations

from typing import Literal

from falcon.asgi import Request, Response

from kheish.api import views
from kheish.api.http import media, paging
from kheish.api.http.answer import Answer
from kheish.api.http.operation import bind, get
from kheish.api.services import Services
from kheish.domain import tasks
from kheish.domain.sessions import Session

LIST = (
    *paging.PAGE,
    paging.choices("status", ("pending", "in_progress", "blocked", "completed", "failed", "cancelled")),
)


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


class Tasks:
    """`/v1/sessions/{session_id}/tasks`."""

    def __init__(self, parts: Services) -> None:
        self._state = parts.state

    async def list_tasks(self, req: Request, resp: Response, session_id: str) -> None:
        """A page of the session's tasks, newest first."""
        await views.document(self._state, Session, session_id)
        media.send(resp, await views.listed(self._state, tasks.Task, {**req.context.query, "session": session_id}))


OPERATIONS = bind(
    Tasks,
    get(
        "/v1/sessions/{session_id}/tasks",
        Tasks.list_tasks,
        "The session's tasks, newest first.",
        Task,
        *LIST,
        page=True,
        problems=(404,),
    ),
)
