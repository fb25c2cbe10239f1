"""Projects by HTTP: their files with their state, members, channels; pause, resume, archive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from falcon.asgi import Request, Response

from kheish import ids
from kheish.api import definitions
from kheish.api.definitions import Definitions, DefinitionView
from kheish.api.http import media, paging
from kheish.api.http.answer import Answer
from kheish.api.http.bodies import Because
from kheish.api.http.operation import Operation, bind, get, post
from kheish.api.projects import tasks
from kheish.api.services import Services
from kheish.domain.definitions import KINDS, Definition
from kheish.domain.events import frozen
from kheish.domain.events.projects import ProjectState
from kheish.domain.projects import project as projects, verbs
from kheish.domain.projects.definition import ProjectFile
from kheish.runtime.projects import work

KIND = KINDS["projects"]


@frozen
class ProjectDetailsView(DefinitionView):
    """A project: the fields of its file, and the following."""

    of_now = True

    state: ProjectState
    """Whether tasks are started and claimed."""
    reason: str | None
    """The reason of a pause."""
    counts: dict[str, int]
    """The tasks by status."""
    owners: dict[str, int]
    """The open tasks by member."""
    claimed: int
    """The tasks in progress."""


class ProjectMemberDetails(Answer):
    """A member of a project, with what it owns."""

    member: str
    kind: str
    person: str | None
    session: str | None
    role: str | None
    tags: list[str]
    open_tasks: int
    """The open tasks that it is assigned to, or works on."""


class ProjectChannelLink(Answer):
    """A channel that a project links."""

    channel: str
    role: str | None
    default: bool
    """Whether the threads of tasks are opened there."""
    mirror: bool
    """Whether the members of the project are members of the channel, too."""


class ProjectFiles(Definitions):
    """The files, each with the state of its project."""

    added = ("state", "reason", "counts", "owners", "claimed")

    async def delete_definition(self, req: Request, resp: Response, id: str) -> None:
        """Remove a project without tasks, or archive one that has some (204)."""
        ids.check_slug(id, "id")
        if id in self._state.definitions.by_kind[KIND.name]:
            async with work.using(self._state, id, req.context.principal):
                has_tasks = verbs.get(self._state, id).total > 0
                if has_tasks:
                    verbs.set_state(self._state, id, "archived", by=req.context.principal, reason="deleted")
            if has_tasks:
                n = self._state.n
                await self._state.durable()
                resp.status = 204
                return resp.set_header(media.EVENT, str(n))
        return await super().delete_definition(req, resp, id)

    async def stored(self, id: str, by: str) -> None:
        async with work.using(self._state, id, by):
            pass  # its file is applied

    async def _added(self, found: Sequence[Definition]) -> list[dict[str, Any]]:
        known = await projects.newest(self._state, [one.id for one in found])
        return [_state(one.value, doc) for one, doc in zip(found, known, strict=True)]


def _state(file: ProjectFile, doc: dict[str, Any] | None) -> dict[str, Any]:
    if doc is None or doc["is_removed"]:  # the file is a moment old
        doc = {"state": file.state, "reason": None, "counts": {}, "owners": {}, "claimed": 0}
    return {name: doc[name] for name in ProjectFiles.added}


class Projects:
    """The resource of the paths below `/v1/projects/{id}` that other Definitions do not have."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._state = services.state

    async def list_project_members(self, req: Request, resp: Response, id: str) -> None:
        """Answer with the members and what they own."""
        file = self._file(id)
        [doc] = await projects.newest(self._state, [id])
        owners = doc["owners"] if doc is not None else {}
        rows = [
            {"member": one.member, "kind": one.kind, "person": one.person_name, "session": one.session_id,
             "role": one.role, "tags": list(one.tags), "open_tasks": owners.get(one.member, 0)}
            for one in file.members
        ]  # fmt: skip
        _send_rows(req, resp, rows, "member")

    async def list_project_channels(self, req: Request, resp: Response, id: str) -> None:
        """Answer with the linked channels."""
        _send_rows(req, resp, [one.model_dump(mode="json") for one in self._file(id).channels], "channel")

    async def pause_project(self, req: Request, resp: Response, id: str) -> None:
        """Start and claim no more tasks; what is under way continues."""
        await self._change(req, resp, id, "paused")

    async def resume_project(self, req: Request, resp: Response, id: str) -> None:
        """Make a project active, whatever it was."""
        await self._change(req, resp, id, "active")

    async def archive_project(self, req: Request, resp: Response, id: str) -> None:
        """Archive a project: it takes no more tasks."""
        await self._change(req, resp, id, "archived")

    async def _change(self, req: Request, resp: Response, id: str, state: ProjectState) -> None:
        body, by = await media.read(req, Because), req.context.principal
        async with work.using(self._state, ids.check_slug(id, "id"), by):
            verbs.set_state(self._state, id, state, by=by, reason=body.reason)
        n = self._state.n
        await self._state.durable()
        await ProjectFiles(self._services, KIND).get_definition(req, resp, id)
        resp.set_header(media.EVENT, str(n))

    def _file(self, id: str) -> ProjectFile:
        """Return the file in force. Raises NotFound, Invalid."""
        file: ProjectFile = self._state.definitions.get(KIND.name, ids.check_slug(id, "id")).value
        return file


def _send_rows(req: Request, resp: Response, rows: list[dict[str, Any]], key: str) -> None:
    given = req.context.query
    start, limit = paging.number_of("r", given.get("cursor")) or 0, given.get("limit", paging.LIMIT)
    cursor = paging.cursor_of("r", start + limit) if start + limit < len(rows) else None
    media.send(resp, media.page(rows[start : start + limit], cursor))


def _of_files() -> tuple[Operation, ...]:
    """Return the operations that all Definitions have; a deletion may archive the project instead."""
    one = f"/v1/{KIND.name}/{{id}}"
    tied = (
        replace(item, tie="project") if item.path.startswith(one) else item
        for item in definitions.operations(KIND, ProjectFiles, ProjectDetailsView)
    )
    about = "Remove a project; one with tasks is archived."
    return tuple(
        replace(item, handler=ProjectFiles.delete_definition, about=about) if item.method == "DELETE" else item
        for item in tied
    )


ONE = "/v1/projects/{id}"
OPERATIONS = (
    *_of_files(),
    *bind(
        Projects,
        get(f"{ONE}/members", Projects.list_project_members, "List the members of a project, with what they own.",
            ProjectMemberDetails, *paging.PAGE, page=True, problems=(404,), tie="project"),
        get(f"{ONE}/channels", Projects.list_project_channels, "List the channels that a project links.",
            ProjectChannelLink, *paging.PAGE, page=True, problems=(404,), tie="project"),
        post(f"{ONE}/pause", Projects.pause_project, "Start and claim no more tasks.", Because, ProjectDetailsView,
             problems=(404,), tie="project"),
        post(f"{ONE}/resume", Projects.resume_project, "Make a project active again.", Because, ProjectDetailsView,
             problems=(404,), tie="project"),
        post(f"{ONE}/archive", Projects.archive_project, "Archive a project: it takes no more tasks.", Because,
             ProjectDetailsView, problems=(404,), tie="project"),
    ),
    *tasks.OPERATIONS,
)  # fmt: skip
