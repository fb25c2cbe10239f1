"""`/v1/config`, `/v1/permissions` and `/v1/instructions`: each a file, kept byte for byte, with its history."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from falcon.asgi import Request, Response

from kheish.api import at_revision, state as api_state
from kheish.api.definitions import Validation
from kheish.api.http import filtering, media, paging
from kheish.api.http.answer import Free
from kheish.api.http.bodies import Body, Name
from kheish.api.http.operation import Operation, bind, get, post, put
from kheish.api.http.paging import Param
from kheish.api.services import Services
from kheish.domain.definitions import TOP, Definition, Kind
from kheish.errors import NotFound, UnsupportedMedia
from kheish.store.files import blob_id

SESSION = (Param(name="session", about="Answer with the matrix for this session: each tool, its decision, its rules."),)


class RestoreFile(Body):
    """The version of a file to restore."""

    rev: Name
    """A commit, or another revision that reads accept."""


class TopFile:
    """The resource of one file at the top of the state root."""

    def __init__(self, services: Services, kind: Kind, path: str) -> None:
        self._services = services
        self._state = services.state
        self._kind = kind
        self._path = path

    async def get_file(self, req: Request, resp: Response) -> None:
        """Answer with the effective content: JSON, or the file byte for byte with `Accept: application/yaml`."""
        if (session_id := req.context.query.get("session")) is not None:
            await filtering.see(self._state, req.context.caller, session_id)
            return media.send(resp, await self._services.inspector.matrix(session_id))
        return self._send(req, resp)

    async def put_file(self, req: Request, resp: Response) -> None:
        """Create (201) or replace (200) the file. YAML is kept byte for byte, and an invalid file changes nothing."""
        raw, kind = await self._content(req)
        await self._store(req, resp, raw, kind)

    async def validate_file(self, req: Request, resp: Response) -> None:
        """Answer with the problems that storing the file would cause. Nothing changes."""
        raw, kind = await self._content(req)
        problems = [dict(one) for one in await self._services.editor.examine(self._kind, self._path, raw, kind)]
        valid = not any(problem["severity"] == "error" for problem in problems)
        media.send(resp, {"valid": valid, "problems": problems})

    async def file_history(self, req: Request, resp: Response) -> None:
        """List the commits that changed the file, newest first."""
        media.send(resp, await api_state.commits(self._services, req.context.query, self._path))

    async def restore_file(self, req: Request, resp: Response) -> None:
        """Replace the file with its version of a commit. That version is validated like any other."""
        body = await media.read(req, RestoreFile)
        moment = await self._services.past.resolve(body.rev)
        try:
            raw = await self._services.past.read(moment.commit, self._path)
        except NotFound:
            raise NotFound(
                f"There was no {self._path} at {body.rev} (commit {moment.commit[:12]}); "
                f"for its history see GET /v1/{self._kind.name}/history"
            ) from None
        resp.set_header(at_revision.COMMIT, moment.commit)
        await self._store(req, resp, raw, media.YAML)

    async def _content(self, req: Request) -> tuple[bytes, str]:
        """Return the body and its media type. Raises UnsupportedMedia, TooLarge."""
        kind = media.media_type(req)
        if kind not in media.TEXTS and kind != media.JSON:
            shown = kind or "no media type"
            raise UnsupportedMedia(f"The body is sent as {shown}; send {media.YAML} or {media.JSON}.")
        return await media.body(req), media.JSON if kind == media.JSON else media.YAML

    async def _store(self, req: Request, resp: Response, raw: bytes, kind: str) -> None:
        made = await self._services.editor.store(
            self._kind, self._path, raw, kind, if_match=media.sent_etag(req), by=req.context.principal
        )
        n = self._state.n
        await self._state.durable()
        self._send(req, resp)
        resp.status = 201 if made else 200
        resp.set_header(media.EVENT, str(n))

    def _send(self, req: Request, resp: Response) -> None:
        found = self._state.definitions.at(self._path)
        if found is not None:
            resp.set_header("ETag", f'"{blob_id(found.raw)}"')
        resp.set_header("Vary", "Accept")
        if media.wants_text(req):
            resp.content_type = f"{media.YAML}; charset=utf-8"
            resp.data = self._existing(found).raw
        else:
            media.send(resp, self._effective(found))

    def _existing(self, found: Definition | None) -> Definition:
        if found is None:
            raise NotFound(f"There is no {self._path}; PUT /v1/{self._kind.name} creates it.")
        return found

    def _effective(self, found: Definition | None) -> Mapping[str, Any]:
        match self._kind.name:
            case "config":
                return self._services.config().model_dump(mode="json")
            case "permissions":
                return self._state.definitions.permissions.model_dump(mode="json")
        value: dict[str, Any] = self._existing(found).value.model_dump(mode="json")
        return value


def operations(path: str, about: str) -> tuple[Operation, ...]:
    """Return the operations of the file at a path; `about` describes its content."""
    kind = TOP[path]
    name, where = kind.name, f"/v1/{kind.name}"
    more: tuple[Param, ...] = SESSION if name == "permissions" else ()
    tie = "query" if more else None
    problems = (404, 409, 412)
    return bind(
        partial(TopFile, kind=kind, path=path),
        get(where, TopFile.get_file, f"Get {about}.", Free, *more, problems=(404,), text=True, tie=tie, name=name),
        put(
            where, TopFile.put_file, f"Create (201) or replace (200) {path}, stored as written.", kind.model, Free,
            problems=problems, text=True, name=f"put_{name}",
        ),
        post(
            f"{where}/validate", TopFile.validate_file, f"Validate {path} without saving it.", kind.model, Validation,
            text=True, name=f"validate_{name}",
        ),
        get(
            f"{where}/history", TopFile.file_history, f"List commits that changed {path}, newest first.",
            at_revision.Commit, *paging.PAGE, page=True, name=f"{name}_history",
        ),
        post(
            f"{where}/restore", TopFile.restore_file, f"Replace {path} with its version of a commit.", RestoreFile,
            Free, problems=problems, name=f"restore_{name}",
        ),
    )  # fmt: skip


OPERATIONS = (
    *operations("kheish.yaml", "the effective settings"),
    *operations("permissions.yaml", "the effective rules"),
    *operations("instructions.md", "the operator's base prompt"),
)
