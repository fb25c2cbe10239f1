"""`/v1/stacks`: folders of Definitions that are planned, applied and exported as a whole."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from falcon.asgi import Request, Response
from pydantic import Field

from kheish import ids
from kheish.api.definitions import Definitions
from kheish.api.hooks.resource import HookFiles
from kheish.api.http import media, paging
from kheish.api.http.answer import Answer
from kheish.api.http.bodies import Body
from kheish.api.http.operation import bind, get, post
from kheish.api.http.paging import Param
from kheish.api.mcp.resource import McpFiles
from kheish.api.outputs.resource import OutputFiles
from kheish.api.projects.resource import ProjectFiles
from kheish.api.schedules.resource import ScheduleFiles
from kheish.api.services import Services
from kheish.authoring.sources import id_of, kind_of
from kheish.authoring.stacks.plan import File, Plan
from kheish.domain.definitions import KINDS, TOP
from kheish.errors import Fault, Invalid
from kheish.ids import now
from kheish.store.edits import problems as words

#: kinds that act on a file when it is stored
_RESOURCES: Mapping[str, type[Definitions]] = {
    "hooks": HookFiles,
    "mcp": McpFiles,
    "outputs": OutputFiles,
    "projects": ProjectFiles,
    "schedules": ScheduleFiles,
}
Path = Annotated[str, Field(min_length=1, max_length=1000)]


class StackFile(Body):
    """A file of a stack: its text, or its bytes in Base64."""

    path: Path
    """The path in the state root, such as routes/local.yaml."""
    text: str | None = None
    """The content, stored as it is."""
    content_base64: str | None = None
    """The content of a file that is no text."""
    executable: bool = False
    """Whether it is a program, such as a script of a skill."""


class PlanStack(Body):
    """A stack to plan."""

    managed_by: Annotated[str, Field(min_length=1, max_length=64)]
    """The name of the stack, which labels its files."""
    files: Annotated[list[StackFile], Field(max_length=5000)]
    """All of its files."""
    prune: bool = False
    """Also delete the files of this stack that are missing from the list."""


class ApplyStack(PlanStack):
    """A stack to apply."""

    plan: Annotated[str, Field(min_length=64, max_length=64)] | None = None
    """The digest of the plan that was reviewed: if the state root changed since, nothing is applied (412)."""


class StackChange(Answer):
    """A change of a file that a stack makes."""

    path: str
    action: Literal["create", "change", "label", "keep", "delete"]
    """label: only notes that the file belongs to the stack; keep: nothing."""
    managed_by: str | None
    """The stack that it belonged to before."""
    before: str | None
    """The sha256 of its content before; null: it was missing."""
    after: str | None
    """The sha256 of its content afterwards; null: it is deleted."""


class StackPlan(Answer):
    """The changes of a stack."""

    managed_by: str
    plan: str
    """The digest of the changes."""
    changes: list[StackChange]
    ignored: list[str]
    """Files that are no Definitions."""
    problems: list[dict[str, Any]]
    """The problems of the files; with an error, nothing is applied."""


class ExportedFile(Answer):
    """A file of a Definition."""

    path: str
    text: str | None
    content_base64: str | None
    """The content of a file that is not UTF-8."""
    executable: bool
    managed_by: str | None


class Stacks:
    """The resource of `/v1/stacks`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._state = services.state

    async def plan_stack(self, req: Request, resp: Response) -> None:
        """Answer with what applying would do. Nothing is changed."""
        body = await media.read(req, PlanStack)
        stack = ids.check_slug(body.managed_by, "managed_by")
        media.send(resp, _view(await self._services.stacks.plan(stack, _files(body), prune=body.prune)))

    async def apply_stack(self, req: Request, resp: Response) -> None:
        """Write all files as one commit, or none."""
        body, by = await media.read(req, ApplyStack), req.context.principal
        stack = ids.check_slug(body.managed_by, "managed_by")
        plan = await self._services.stacks.apply(stack, _files(body), prune=body.prune, expected=body.plan, by=by)
        for one in plan.effective:
            kind = kind_of(one.path)
            if kind is not None and one.after is not None and one.path not in TOP:
                resource = _RESOURCES.get(kind.name, Definitions)(self._services, KINDS[kind.name])
                await resource.stored(id_of(one.path, kind), by)
        n = self._state.n
        await self._state.durable()
        media.send(resp, _view(plan), n=n if plan.effective else None)

    async def export_stack(self, req: Request, resp: Response) -> None:
        """Answer with a page of the files of Definitions, by path."""
        given = req.context.query
        files = await self._services.stacks.export(given.get("managed_by"))
        after, limit = paging.place_of("x", given.get("cursor")), given.get("limit", paging.LIMIT)
        paths = [path for path in sorted(files) if after is None or path > after]
        items = [self._exported(path, files[path]) for path in paths[:limit]]
        cursor = paging.cursor_of("x", paths[limit - 1]) if len(paths) > limit else None
        media.send(resp, media.page(items, cursor))

    def _exported(self, path: str, file: File) -> dict[str, Any]:
        try:
            text, raw = file.content.decode(), None
        except UnicodeDecodeError:
            text, raw = None, base64.b64encode(file.content).decode()
        return {
            "path": path,
            "text": text,
            "content_base64": raw,
            "executable": file.executable,
            "managed_by": self._state.definitions.managed.get(path),
        }


def _files(body: PlanStack) -> dict[str, File]:
    """Return the files by path. Raises Invalid."""
    files: dict[str, File] = {}
    for at, one in enumerate(body.files):
        if (one.text is None) == (one.content_base64 is None):
            raise Invalid(f"{one.path}: send text or content_base64.", errors=[Fault(f"/files/{at}", "needs one")])
        if one.path in files:
            raise Invalid(f"{one.path} is listed twice.", errors=[Fault(f"/files/{at}/path", "is repeated")])
        files[one.path] = File(_content(at, one), one.executable)
    return files


def _content(at: int, one: StackFile) -> bytes:
    if one.text is not None:
        return one.text.encode()
    try:
        return base64.b64decode(one.content_base64 or "", validate=True)
    except binascii.Error as error:
        fault = Fault(f"/files/{at}/content_base64", "is not Base64")
        raise Invalid(f"{one.path}: content_base64 is not Base64.", errors=[fault]) from error


def _view(plan: Plan) -> dict[str, Any]:
    at = now()
    return {
        "managed_by": plan.stack,
        "plan": plan.digest,
        "changes": [one.view() for one in plan.changes],
        "ignored": list(plan.ignored),
        "problems": [{**words.view(problem), "since": at} for problem in plan.problems],
    }


EXPORT = (*paging.PAGE, Param(name="managed_by", about="Only the files of this stack."))
OPERATIONS = bind(
    Stacks,
    post("/v1/stacks/plan", Stacks.plan_stack, "Show what applying a stack would do.", PlanStack, StackPlan,
         problems=(409,)),
    post("/v1/stacks/apply", Stacks.apply_stack, "Apply a stack: all of its files as one commit, or none.", ApplyStack,
         StackPlan, problems=(409, 412)),
    get("/v1/stacks/files", Stacks.export_stack, "List the files of Definitions, with their content.", ExportedFile,
        *EXPORT, page=True),
)  # fmt: skip
