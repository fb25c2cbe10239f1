"""Tasks of projects by HTTP: list, create, change, delete, start, claim, extend, release, complete; and the board."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from falcon.asgi import Request, Response

from kheish import ids
from kheish.api.http import media, paging
from kheish.api.http.answer import Answer
from kheish.api.http.operation import bind, delete, get, patch, post
from kheish.api.http.paging import Given, Param
from kheish.api.projects.bodies import (
    ChangeProjectTask,
    ClaimProjectTask,
    CompleteProjectTask,
    CreateProjectTask,
    ExtendProjectTask,
    HeldTask,
    ReleaseProjectTask,
    StartProjectTask,
)
from kheish.api.services import Services
from kheish.domain.projects import claims, moving, project as projects, verbs
from kheish.domain.projects.claims import Holder
from kheish.domain.projects.definition import ProjectFile
from kheish.domain.projects.project import PROJECTS
from kheish.domain.projects.task import STATUSES
from kheish.domain.projects.verbs import Place
from kheish.domain.projects.view import NOUN, ProjectTaskView, status_of
from kheish.domain.shown import outward
from kheish.errors import Fault, Invalid
from kheish.runtime.projects import work
from kheish.state.event import Draft
from kheish.state.state import State
from kheish.texts import is_blank, is_line

CARDS, MOST_CARDS = 20, 100
LIST = (*paging.PAGE, paging.choices("status", STATUSES), paging.text("assignee"), paging.text("parent"))
BOARD = (Param(name="limit", kind="count", least=1, most=MOST_CARDS, about=f"The tasks of each column ({CARDS})."),)
Doc = dict[str, Any]
_FIELDS = ("title", "description", "assignee", "blocked_by", "parent")


class BoardColumn(Answer):
    """The tasks with one status, newest first."""

    status: str
    count: int
    items: list[dict[str, Any]]
    next_cursor: str | None
    """The cursor of the rest, for the list of tasks with this status."""


class Board(Answer):
    """The tasks of a project by status."""

    project: str
    title: str | None
    state: str
    counts: dict[str, int]
    claimed: int
    """The tasks in progress."""
    columns: list[BoardColumn]


class Tasks:
    """The resource of the tasks of a project."""

    def __init__(self, services: Services) -> None:
        self._state = services.state

    async def list_project_tasks(self, req: Request, resp: Response, id: str) -> None:
        """Answer with a page of tasks, newest first."""
        await self._known(id)
        media.send(resp, media.page(*await page(self._state, id, req.context.query)))

    async def create_project_task(self, req: Request, resp: Response, id: str) -> None:
        """Create a task (201)."""
        body = await media.read(req, CreateProjectTask)
        given = body.model_dump(exclude={"task_id"}, exclude_none=True)
        given["blocked_by"] = tuple(body.blocked_by)
        request = media.idempotency(req, body, f"projects/{id}/tasks")
        by = req.context.principal
        task_id = await work.create(self._state, id, body.task_id, given, by=by, request=request)
        resp.set_header("Location", f"/v1/projects/{id}/tasks/{task_id}")
        await self._answer(resp, id, task_id, status=201)

    async def get_project_task(self, req: Request, resp: Response, id: str, task_id: str) -> None:
        """Answer with one task."""
        await self._answer(resp, id, task_id, changes=False)

    async def change_project_task(self, req: Request, resp: Response, id: str, task_id: str) -> None:
        """Change a task: as its holder with `claim_id`, else as a user."""
        body, by = await media.read(req, ChangeProjectTask), req.context.principal
        given = {name: getattr(body, name) for name in _FIELDS if name in body.model_fields_set}
        if given.get("blocked_by") is not None:
            given["blocked_by"] = tuple(given["blocked_by"])
        given = {name: value for name, value in given.items() if value is not None or name in ("assignee", "parent")}
        before = await self._newest(id, task_id)
        await work.change(
            self._state, id, task_id, given, lambda place: _moved(self._state, place, task_id, body), by=by,
            person=req.context.caller.person,
        )  # fmt: skip
        if body.status == "cancelled":
            await work.stop_run(self._state, before, by=by)
        await self._answer(resp, id, task_id)

    async def delete_project_task(self, req: Request, resp: Response, id: str, task_id: str) -> None:
        """Delete a task that no other waits for (204)."""
        async with work.using(self._state, id, req.context.principal, task_id) as place:
            verbs.delete(self._state, place, task_id)
        n = self._state.n
        await self._state.durable()
        resp.status = 204
        resp.set_header(media.EVENT, str(n))

    async def start_project_task(self, req: Request, resp: Response, id: str, task_id: str) -> None:
        """Start a run for a task, in the session of its assignee (202)."""
        body = await media.read(req, StartProjectTask)
        request = media.idempotency(req, body, f"projects/{id}/tasks/{task_id}/start")
        await work.start(self._state, id, task_id, by=req.context.principal, request=request)
        await self._answer(resp, id, task_id, status=202)

    async def claim_project_task(self, req: Request, resp: Response, id: str, task_id: str) -> None:
        """Claim a task; the answer has the id that each later change has to name."""
        body, by = await media.read(req, ClaimProjectTask), req.context.principal
        ttl = claims.seconds(body.ttl)
        request = media.idempotency(req, body, f"projects/{id}/tasks/{task_id}/claim by {by}")
        async with work.using(self._state, id, by, task_id) as place:
            if body.agent is not None:
                holder = await work.agent(self._state, place, body.agent)
                run_id = holder.run_id if body.ttl is None else None
                holder = Holder(by=holder.by, is_member=True, session_id=holder.session_id, run_id=run_id, ttl=ttl)
            else:
                holder = _outside(body.holder or "", place.file, ttl)
            doc = await work.claim(self._state, id, task_id, holder, by=by, request=request)
        await self._hold(resp, doc)

    async def extend_project_task(self, req: Request, resp: Response, id: str, task_id: str) -> None:
        """Extend the claim of an outside holder."""
        body = await media.read(req, ExtendProjectTask)
        ttl = claims.seconds(body.ttl)
        async with work.using(self._state, id, req.context.principal, task_id) as place:
            claims.extend(self._state, place, task_id, body.claim_id, ttl)
            doc = verbs.document(self._state, id, task_id)
        await self._hold(resp, doc)

    async def release_project_task(self, req: Request, resp: Response, id: str, task_id: str) -> None:
        """Give a task back without a result."""
        body = await media.read(req, ReleaseProjectTask)
        async with work.using(self._state, id, req.context.principal, task_id) as place:
            claims.release(self._state, place, task_id, body.claim_id, body.reason)
        await self._answer(resp, id, task_id)

    async def complete_project_task(self, req: Request, resp: Response, id: str, task_id: str) -> None:
        """End a task as its holder."""
        body, caller = await media.read(req, CompleteProjectTask), req.context.caller
        async with work.using(self._state, id, req.context.principal, task_id, person=caller.person) as place:
            claims.complete(self._state, place, task_id, body.claim_id, body.output, body.status, body.reason)
        await self._answer(resp, id, task_id)

    async def project_board(self, req: Request, resp: Response, id: str) -> None:
        """Answer with the tasks by status."""
        project, file = await self._known(id), self._state.definitions.get(PROJECTS, id).value
        limit = req.context.query.get("limit", CARDS)
        columns = []
        for status in STATUSES:
            found: tuple[list[Doc], str | None] = ([], None)
            if project["counts"].get(status):
                found = await page(self._state, id, {"status": (status,), "limit": limit})
            columns.append(
                {"status": status, "count": project["counts"].get(status, 0), "items": found[0],
                 "next_cursor": found[1]}
            )  # fmt: skip
        kept = {name: project[name] for name in ("state", "counts", "claimed")}
        media.send(resp, {"project": id, "title": file.title, **kept, "columns": columns})

    # --- shared -------------------------------------------------------------------------------------------------------

    async def _known(self, id: str) -> Doc:
        """Return the document of a project; that of one whose file is a moment old is empty. Raises NotFound."""
        self._state.definitions.get(PROJECTS, ids.check_slug(id, "id"))
        [doc] = await projects.newest(self._state, [id])
        return doc if doc is not None else {"state": "active", "counts": {}, "claimed": 0}

    async def _newest(self, id: str, task_id: str) -> Doc:
        await self._known(id)
        await verbs.recall(self._state, id, [task_id])
        return dict(verbs.document(self._state, id, task_id))

    async def _answer(self, resp: Response, id: str, task_id: str, *, status: int = 200, changes: bool = True) -> None:
        doc, n = await self._newest(id, task_id), self._state.n
        await self._state.durable()
        media.send(resp, shown(self._state, doc), status=status, n=n if changes else None)

    async def _hold(self, resp: Response, doc: Mapping[str, Any]) -> None:
        n = self._state.n
        await self._state.durable()
        kept = {name: doc["claim"][name] for name in ("claim_id", "attempt", "by", "run_id", "expires_at")}
        media.send(resp, {**kept, "project": doc["project"], "task_id": doc["task_id"]}, n=n)


def _moved(state: State, place: Place, task_id: str, body: ChangeProjectTask) -> list[Draft]:
    """Return the drafts of a change of status."""
    if body.claim_id is not None:
        task = claims.holding(state, place, task_id, body.claim_id)
        if body.status in ("pending", "blocked"):
            kind = (body.block_kind or "needs_input") if body.status == "blocked" else None
            return [
                claims.released(
                    task, body.reason, by=place.by, now=state.clock(), kind=kind, bars=body.status == "pending"
                )
            ]
        if body.status is not None:
            return [claims.result(place, task_id, body.output, body.status, body.reason).on(by=place.by)]
        return []
    if body.status is None:
        return []
    return moving.move(state, place, task_id, body.status, body.block_kind, body.reason, body.output)


async def page(state: State, project: str, given: Given) -> tuple[list[Doc], str | None]:
    """Return a page of tasks, newest first, with everything that was durable when the request came.

    One status is found by the status alone, which names the project.
    """
    await state.caught_up()
    statuses = [status_of(project, one) for one in given.get("status", ())]
    fields = {name: given[name] for name in ("assignee", "parent") if name in given}
    limit, cursor = given.get("limit", paging.LIMIT), given.get("cursor")
    owner = None if len(statuses) == 1 and not fields else f"{PROJECTS}/{project}"
    items: list[Doc] = []
    while True:
        found = await asyncio.to_thread(
            state.index.things,
            NOUN.name,
            limit=limit - len(items),
            cursor=cursor,
            session=owner,
            statuses=statuses,
            fields=fields,
        )
        items += [shown(state, doc) for doc in found.items if doc["status"] != "deleted"]
        cursor = found.next_cursor
        if cursor is None or len(items) >= limit:
            return items, cursor


def shown(state: State, doc: Doc) -> Doc:
    """Return the document of a task as callers get it: whether its claim has lapsed is a matter of time."""
    claim = doc["claim"]
    until = claim["expires_at"] if claim is not None else None
    return {**outward(ProjectTaskView, doc), "lapsed": until is not None and until <= ids.stamp(state.clock())}


MANY = "/v1/projects/{id}/tasks"
ONE = f"{MANY}/{{task_id}}"


def _outside(name: str, file: ProjectFile, ttl: float | None) -> Holder:
    """Return a holder that names itself. Raises Invalid for a name that agents and auditors could take for another
    text, or for an agent."""
    member = file.member(name)
    fault = None
    if is_blank(name) or not is_line(name):
        fault = "must be one line of visible characters"
    elif member is not None and member.kind != "human":
        fault = f"names the member {name}, which is an agent; claim with agent, or choose another name"
    if fault is not None:
        raise Invalid(f"/holder: {fault}.", errors=[Fault("/holder", fault)])
    return Holder(by=name, is_member=member is not None, ttl=ttl)


OPERATIONS = bind(
    Tasks,
    get(MANY, Tasks.list_project_tasks, "List the tasks of a project, newest first.", ProjectTaskView, *LIST,
        page=True, problems=(404,), tie="project"),
    post(MANY, Tasks.create_project_task, "Create a task in a project.", CreateProjectTask, ProjectTaskView,
         good=(201,), problems=(404, 409), key=True, tie="project"),
    get(ONE, Tasks.get_project_task, "Get one task of a project.", ProjectTaskView, problems=(404,), tie="project"),
    patch(ONE, Tasks.change_project_task, "Change a task: as its holder with `claim_id`, else as a user.",
          ChangeProjectTask, ProjectTaskView, problems=(404, 409), tie="project"),
    delete(ONE, Tasks.delete_project_task, "Delete a task that no other waits for.", problems=(404, 409),
           tie="project"),
    post(f"{ONE}/start", Tasks.start_project_task, "Start a run for a task, in the session of its assignee.",
         StartProjectTask, ProjectTaskView, good=(202,), problems=(404, 409), key=True, tie="project"),
    post(f"{ONE}/claim", Tasks.claim_project_task, "Claim a task; one holder gets it.", ClaimProjectTask, HeldTask,
         problems=(404, 409), key=True, tie="project"),
    post(f"{ONE}/heartbeat", Tasks.extend_project_task, "Extend the claim of an outside holder.", ExtendProjectTask,
         HeldTask, problems=(404, 409), tie="project"),
    post(f"{ONE}/release", Tasks.release_project_task, "Give a task back without a result.", ReleaseProjectTask,
         ProjectTaskView, problems=(404, 409), tie="project"),
    post(f"{ONE}/complete", Tasks.complete_project_task, "End a task as its holder.", CompleteProjectTask,
         ProjectTaskView, problems=(404, 409), tie="project"),
    get("/v1/projects/{id}/board", Tasks.project_board, "Get the tasks of a project by status.", Board, *BOARD,
        problems=(404,), tie="project"),
)  # fmt: skip
