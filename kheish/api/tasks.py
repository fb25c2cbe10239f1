"""Tasks of a session by HTTP: list, create, show, change, output, stop."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any

from falcon.asgi import Request, Response
from pydantic import Field

from kheish import ids
from kheish.api import views
from kheish.api.http import media, paging
from kheish.api.http.answer import Answer
from kheish.api.http.bodies import Because, Body, Key, Name
from kheish.api.http.operation import bind, get, patch, post
from kheish.api.http.paging import Param
from kheish.api.services import Services
from kheish.api.views import Doc
from kheish.domain import keys
from kheish.domain.events.mailboxes import Sender
from kheish.domain.events.tasks import BlockKind, TaskStatus
from kheish.domain.mailboxes import recipients
from kheish.domain.sessions.session import Session
from kheish.domain.tasks import verbs
from kheish.domain.tasks.task import FINAL, Task, TaskView
from kheish.domain.tasks.verbs import Author, Fields, Owner
from kheish.errors import NotFound
from kheish.runtime.tools import reading
from kheish.state import pins

STATUSES = ("pending", "in_progress", "blocked", "completed", "failed", "cancelled")
LIST = (*paging.PAGE, paging.choices("status", STATUSES))
OUTPUT = (
    Param(name="after", kind="count", about="Bytes to leave out from the beginning: the `next` of the last answer."),
    Param(name="tail", kind="count", least=1, most=2000, about="Only this many last lines."),
    Param(name="wait", kind="duration", about="Wait for its end (with `after`: for more output), at most this time."),
)
_LOOK_EVERY = 0.2

Title = Annotated[str, Field(min_length=1, max_length=verbs.TITLE_CHARACTERS)]
Text = Annotated[str, Field(max_length=verbs.TEXT_BYTES)]
Tasks_ = Annotated[list[Name], Field(max_length=verbs.BLOCKERS)]


class ChangeTask(Body):
    """Changes of a task that has not ended; a field that is left out stays as it is."""

    title: Title | None = None
    """Unique among the session's active tasks."""
    description: Text | None = None
    """The work, and the condition under which it is done."""
    status: TaskStatus | None = None
    """`completed`, `failed` and `cancelled` are final."""
    block_kind: BlockKind | None = None
    """The reason of the status `blocked`."""
    owner: Annotated[str, Field(min_length=1, max_length=400)] | None = None
    """The agent that does it, which gets a message; null: none."""
    blocked_by: Tasks_ | None = None
    """The ids of the tasks of this session that come first."""
    metadata: dict[str, Any] | None = None
    """The caller's own data; 16 KiB at most."""
    output: Text | None = None
    """The result."""


class CreateTask(ChangeTask):
    """A task of the session."""

    title: Title
    """Unique among the session's active tasks."""
    idempotency_key: Key | None = None
    """The same key creates one task. It may also be sent as the header Idempotency-Key."""


class TaskOutput(Answer):
    """A piece of a task's output."""

    task_id: str
    status: str
    text: str
    start: int
    """The first byte of `text` in the whole output."""
    next: int
    """The byte behind `text`: the `after` of the next request."""
    total: int
    """The bytes that there are by now."""
    waits_for_input: bool


class Tasks:
    """The resource of `/v1/sessions/{session_id}/tasks` and the paths below it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._state = services.state

    async def list_tasks(self, req: Request, resp: Response, session_id: str) -> None:
        """Answer with a page of the session's tasks, newest first."""
        await views.document(self._state, Session, session_id)
        media.send(resp, await views.listed(self._state, Task, {**req.context.query, "session": session_id}))

    async def get_task(self, req: Request, resp: Response, session_id: str, task_id: str) -> None:
        """Answer with one task."""
        media.send(resp, await self._task(session_id, task_id))

    async def create_task(self, req: Request, resp: Response, session_id: str) -> None:
        """Create a task (201)."""
        body = await media.read(req, CreateTask)
        request = media.idempotency(req, body, f"sessions/{session_id}/tasks")
        owner = await self._owner(body.owner)
        async with self._state.using(session_id), self._state.using(owner.session_id if owner else session_id):
            key = await keys.known(self._state, request)
            task_id = keys.earlier(self._state, key)
            if task_id is None:
                task_id = ids.new("task")
                await verbs.recall(self._state, session_id, tuple(body.blocked_by or ()))
                change = verbs.create(
                    self._state, session_id, task_id, _fields(body, owner), self._author(req), keys.sent(key)
                )
                self._state.append(*change.drafts)
        await self._answer(resp, session_id, task_id, status=201)

    async def change_task(self, req: Request, resp: Response, session_id: str, task_id: str) -> None:
        """Change a task that has not ended."""
        body = await media.read(req, ChangeTask)
        owner = await self._owner(body.owner)
        async with self._state.using(session_id), self._state.using(owner.session_id if owner else session_id):
            doc = await self._task(session_id, task_id)
            await verbs.recall(self._state, session_id, tuple(body.blocked_by or ()))
            if doc["status"] in FINAL:
                raise verbs.ended_conflict(task_id, doc["status"])
            change = verbs.update(self._state, task_id, _fields(body, owner), self._author(req))
            if change.drafts:
                self._state.append(*change.drafts)
        await self._answer(resp, session_id, task_id)

    async def stop_task(self, req: Request, resp: Response, session_id: str, task_id: str) -> None:
        """Stop a background command, or cancel another task; an ended one remains unchanged."""
        body = await media.read(req, Because)
        await self._task(session_id, task_id)
        async with pins.thing(self._state, Task, task_id) as ended:
            if ended is None:
                verbs.stop(self._state, task_id, by=req.context.principal, reason=body.reason)
        await self._answer(resp, session_id, task_id)

    async def task_output(self, req: Request, resp: Response, session_id: str, task_id: str) -> None:
        """Answer with the output of a task, from a byte on or its end; with `?wait=`, when there is more, or at its
        end."""
        query = req.context.query
        after, tail = query.get("after"), query.get("tail")
        until = time.monotonic() + (query.get("wait") or 0.0)
        while True:
            await self._task(session_id, task_id)
            doc = await self._state.recall(Task, task_id) or {}
            seen = await reading.see(self._state, self._services.jobs, doc, after, tail)
            is_news = doc["status"] in FINAL or (after is not None and bool(seen.text))
            if is_news or time.monotonic() >= until or self._services.closing.begun:
                break
            await asyncio.sleep(_LOOK_EVERY)
        media.send(
            resp,
            {
                "task_id": task_id,
                "status": doc["status"],
                "text": seen.text,
                "start": seen.start,
                "next": seen.next,
                "total": seen.total,
                "waits_for_input": doc.get("waits_for_input", False),
            },
        )

    # --- shared -------------------------------------------------------------------------------------------------------

    def _author(self, req: Request) -> Author:
        return Author(sender=Sender(actor=req.context.principal))

    async def _owner(self, name: str | None) -> Owner | None:
        if name is None:
            return None
        session_id = await recipients.resolve(self._state, name)
        async with self._state.using(session_id):
            return Owner(agent_id=self._state.get(Session, session_id).agent_id, session_id=session_id)

    async def _task(self, session_id: str, task_id: str) -> Doc:
        doc = await views.document(self._state, Task, task_id)
        if doc["session_id"] != session_id:
            raise NotFound(f"There is no task {task_id!r} in this session.")
        return doc

    async def _answer(self, resp: Response, session_id: str, task_id: str, status: int = 200) -> None:
        n = self._state.n
        await self._state.durable()
        media.send(resp, await self._task(session_id, task_id), status=status, n=n)


def _fields(body: ChangeTask, owner: Owner | None) -> Fields:
    return Fields(
        title=body.title,
        description=body.description,
        status=body.status,
        block_kind=body.block_kind,
        owner=owner,
        unassigned="owner" in body.model_fields_set and owner is None,
        blocked_by=tuple(body.blocked_by) if body.blocked_by is not None else None,
        metadata=body.metadata,
        output=body.output,
    )


ALL = "/v1/sessions/{session_id}/tasks"
ONE = f"{ALL}/{{task_id}}"
OPERATIONS = bind(
    Tasks,
    get(ALL, Tasks.list_tasks, "List the session's tasks, newest first.", TaskView, *LIST, page=True, problems=(404,)),
    post(
        ALL,
        Tasks.create_task,
        "Create a task.",
        CreateTask,
        TaskView,
        good=(201,),
        problems=(404, 409, 429),
        key=True,
    ),
    get(ONE, Tasks.get_task, "Get one task.", TaskView, problems=(404,)),
    patch(ONE, Tasks.change_task, "Change a task that has not ended.", ChangeTask, TaskView, problems=(404, 409)),
    get(f"{ONE}/output", Tasks.task_output, "Read a task's output.", TaskOutput, *OUTPUT, problems=(404,)),
    post(
        f"{ONE}/stop",
        Tasks.stop_task,
        "Stop a background command, or cancel another task.",
        Because,
        TaskView,
        problems=(404,),
    ),
)
