"""Tasks of a session by HTTP: list."""

from __future__ import annotations

from falcon.asgi import Request, Response

from kheish.api import views
from kheish.api.http import media, paging
from kheish.api.http.operation import bind, get
from kheish.api.services import Services
from kheish.domain import tasks
from kheish.domain.sessions.session import Session

LIST = (
    *paging.PAGE,
    paging.choices("status", ("pending", "in_progress", "blocked", "completed", "failed", "cancelled")),
)


class Tasks:
    """The resource of `/v1/sessions/{session_id}/tasks`."""

    def __init__(self, services: Services) -> None:
        self._state = services.state

    async def list_tasks(self, req: Request, resp: Response, session_id: str) -> None:
        """Answer with a page of the session's tasks, newest first."""
        await views.document(self._state, Session, session_id)
        media.send(resp, await views.listed(self._state, tasks.Task, {**req.context.query, "session": session_id}))


OPERATIONS = bind(
    Tasks,
    get(
        "/v1/sessions/{session_id}/tasks",
        Tasks.list_tasks,
        "List the session's tasks, newest first.",
        tasks.TaskView,
        *LIST,
        page=True,
        problems=(404,),
    ),
)
