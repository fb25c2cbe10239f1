"""Definitions by HTTP, the same for all kinds: list, show, put, delete, validate, history; as JSON or as bytes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

import orjson
from falcon.asgi import Request, Response

from kheish import ids
from kheish.api import at_revision, state as api_state
from kheish.api.http import media, paging
from kheish.api.http.answer import Answer
from kheish.api.http.operation import Operation, Tie, bind, delete, get, post, put
from kheish.api.http.paging import Param
from kheish.api.services import Services
from kheish.domain.definitions import KINDS, Definition, Kind
from kheish.domain.events import frozen
from kheish.domain.shown import View
from kheish.errors import Fault, Invalid, UnsupportedMedia
from kheish.store.edits import problems as words
from kheish.store.edits.problems import Problem
from kheish.store.files import blob_id

#: fields that an answer adds to a definition's own; a PUT ignores them
ADDED = ("id", "path", "etag", "status", "managed_by")
NOTHING: Mapping[str, Any] = MappingProxyType({})
#: kinds whose module extends these operations
OWN = frozenset({
    "channels", "connectors", "hooks", "mcp", "outputs", "projects", "schedules", "skills", "sources", "workers",
})  # fmt: skip
VALIDATE = (Param(name="id", about="The id of the definition; paths beside the file are resolved from its folder."),)


class Validation(Answer):
    """The result of validating a definition, with its problems."""

    valid: bool
    problems: list[dict[str, Any]]
    next: list[dict[str, Any]] | None = None
    """The next times of a valid schedule, if it were saved now."""


class DefinitionState(Answer):
    """The state of a definition, and the files that refer to it."""

    state: Literal["ready", "not_ready", "invalid", "deleted"]
    last_error: str | None
    """The reason why it is not ready, or the problem in its file; the last valid version is then in force."""
    observed_digest: str | None
    """sha256 of the file as last read; null if the file is missing."""
    bindings: list[str]
    """The files that refer to it."""


@frozen
class DefinitionView(View):
    """A definition: its own fields, and the following."""

    id: str
    path: str
    etag: str
    """The git blob id of the file."""
    status: DefinitionState
    managed_by: str | None = None
    """The stack that the file belongs to (`kheish apply`)."""


class Definitions:
    """The resource of `/v1/{kind}` and the paths below it, for one kind."""

    added: tuple[str, ...] = ()

    def __init__(self, services: Services, kind: Kind) -> None:
        self._services = services
        self._state = services.state
        self._kind = kind

    async def list_definitions(self, req: Request, resp: Response) -> None:
        """Answer with a page of definitions in force, by id."""
        given = req.context.query
        after, limit = paging.place_of("d", given.get("cursor")), given.get("limit", paging.LIMIT)
        known = self._state.definitions.by_kind[self._kind.name]
        rows = [known[id] for id in sorted(known) if after is None or id > after][: limit + 1]
        more = len(rows) > limit
        definitions = self._state.definitions
        statuses = [definitions.status(one, os.environ, self._state.slots) for one in rows[:limit]]
        added = await self._added(rows[:limit])
        items = [self._view(*one) for one in zip(rows[:limit], statuses, added, strict=True)]
        media.send(resp, media.page(items, paging.cursor_of("d", items[-1]["id"]) if more else None))

    async def get_definition(self, req: Request, resp: Response, id: str) -> None:
        """Answer with one definition: JSON, or the file byte for byte with `Accept: application/yaml`."""
        if rev := req.context.query.get("at"):
            value, status = await at_revision.definition(
                self._services, resp, self._kind, ids.check_slug(id, "id"), rev
            )
            return self._send(req, resp, value, status)
        found = self._state.definitions.get(self._kind.name, id)
        return self._send(req, resp, found, added=(await self._added([found]))[0])

    async def put_definition(self, req: Request, resp: Response, id: str) -> None:
        """Create (201) or replace (200) a definition. YAML is kept byte for byte."""
        ids.check_slug(id, "id")
        raw, kind = await self._content(req, id)
        made = await self._services.editor.put(
            self._kind.name, id, raw, kind, if_match=media.sent_etag(req), by=req.context.principal
        )
        await self.stored(id, req.context.principal)
        n = self._state.n
        await self._state.durable()
        found = self._state.definitions.get(self._kind.name, id)
        self._send(req, resp, found, added=(await self._added([found]))[0])
        resp.status = 201 if made else 200
        resp.set_header(media.EVENT, str(n))
        resp.set_header("Location", f"/v1/{self._kind.name}/{id}")

    async def delete_definition(self, req: Request, resp: Response, id: str) -> None:
        """Remove a definition (204)."""
        await self._services.editor.delete(self._kind.name, id, if_match=media.sent_etag(req), by=req.context.principal)
        n = self._state.n
        await self._state.durable()
        resp.status = 204
        resp.set_header(media.EVENT, str(n))

    async def validate_definition(self, req: Request, resp: Response) -> None:
        """Validate a definition without saving it."""
        id = req.context.query.get("id")
        if id is not None:
            ids.check_slug(id, "id")
        raw, kind = await self._content(req, id)
        problems = [dict(one) for one in await self._services.editor.validate(self._kind.name, id, raw, kind)]
        valid = not any(problem["severity"] == "error" for problem in problems)
        warnings = await self._warnings(id, raw, kind) if valid else ()
        problems += [{**words.view(one), "since": ids.now()} for one in warnings]
        media.send(resp, {"valid": valid, "problems": problems, **(await self._foreseen(raw, kind) if valid else {})})

    async def _warnings(self, id: str | None, raw: bytes, kind: str) -> Sequence[Problem]:
        """Return what the state of the daemon adds to the problems of a valid definition; by default nothing."""
        return ()

    async def _foreseen(self, raw: bytes, kind: str) -> dict[str, Any]:
        """Return what else the answer about a valid definition has: what it would do; by default nothing."""
        return {}

    async def definition_history(self, req: Request, resp: Response, id: str) -> None:
        """List the commits that changed a definition, newest first, even if it is deleted."""
        ids.check_slug(id, "id")
        page = await api_state.commits(self._services, req.context.query, self._kind.path(id))
        if not page["items"]:
            self._state.definitions.get(self._kind.name, id)  # raises NotFound if it never existed
        media.send(resp, page)

    async def _content(self, req: Request, id: str | None) -> tuple[bytes, str]:
        """Return the body and its media type. Raises UnsupportedMedia, Invalid."""
        kind = media.media_type(req)
        raw = await media.body(req)
        if kind in media.TEXTS:
            return raw, media.YAML
        if kind != media.JSON:
            shown = kind or "no media type"
            raise UnsupportedMedia(f"The body is sent as {shown}; send {media.YAML} or {media.JSON}.")
        return self._without_added(raw, id), kind

    def _without_added(self, raw: bytes, id: str | None) -> bytes:
        """Return JSON without the fields that only answers have. Raises Invalid.

        An answer can so be edited and sent back.
        """
        try:
            if not media.plain_json(raw):
                return raw
            value = orjson.loads(raw)
        except (ValueError, RecursionError):
            return raw  # the editor reports the problem, as for any definition
        known = {field.alias or name for name, field in self._kind.model.model_fields.items()}
        if not isinstance(value, dict):
            return raw
        extra = [name for name in (*ADDED, *self.added) if name in value and name not in known]
        if "id" in extra and id is not None and value["id"] != id:
            raise Invalid(
                f"The body's id is {value['id']!r}, but the path has {id!r}.", errors=[Fault("/id", "differs")]
            )
        return orjson.dumps({key: item for key, item in value.items() if key not in extra}) if extra else raw

    async def stored(self, id: str, by: str) -> None:
        """Act on a definition that was just stored, before the answer."""

    async def _added(self, found: Sequence[Definition]) -> list[dict[str, Any]]:
        """Return the members that an answer adds to each definition; subclasses name them in `added`."""
        return [{}] * len(found)

    def _send(
        self,
        req: Request,
        resp: Response,
        found: Definition,
        status: dict[str, Any] | None = None,
        added: Mapping[str, Any] = NOTHING,
    ) -> None:
        resp.set_header("ETag", f'"{blob_id(found.raw)}"')
        resp.set_header("Vary", "Accept")
        if media.wants_text(req):
            resp.content_type = f"{media.YAML}; charset=utf-8"
            resp.data = found.raw
        else:
            media.send(resp, self._view(found, status, added))

    def _view(
        self, found: Definition, status: dict[str, Any] | None = None, more: Mapping[str, Any] = NOTHING
    ) -> dict[str, Any]:
        added = {
            "id": found.id,
            "path": found.path,
            "etag": blob_id(found.raw),
            "managed_by": self._state.definitions.managed.get(found.path),
            "status": status or self._state.definitions.status(found, os.environ, self._state.slots),
        }
        data = found.data if found.value is None else found.value.model_dump(mode="json", by_alias=True)
        return {**added, **data, **more}


def operations(
    kind: Kind,
    resource: type[Definitions] = Definitions,
    answer: type[View] = DefinitionView,
    more: tuple[Param, ...] = (),
    tie: Tie | None = None,
) -> tuple[Operation, ...]:
    """Return the operations of one kind; their names contain its name. `more`: further parameters of its reads."""
    reads = _reads(kind, resource, answer, more, tie)
    return bind(partial(resource, kind=kind), *reads, *_writes(kind, answer))


def _reads(
    kind: Kind, resource: type[Definitions], answer: type[View], more: tuple[Param, ...], tie: Tie | None
) -> tuple[Operation, ...]:
    many, one, noun = f"/v1/{kind.name}", f"/v1/{kind.name}/{{id}}", kind.singular
    return (
        get(
            many,
            resource.list_definitions,
            f"List valid {kind.many}, by id.",
            answer,
            *paging.PAGE,
            *more,
            page=True,
            tie=tie,
            name=f"list_{kind.name}",
        ),
        get(
            one,
            resource.get_definition,
            f"One {kind.one}.",
            answer,
            at_revision.AT,
            *more,
            problems=(404,),
            text=True,
            tie=tie,
            name=f"get_{noun}",
        ),
    )


def _writes(kind: Kind, answer: type[View]) -> tuple[Operation, ...]:
    many, one, noun, a = f"/v1/{kind.name}", f"/v1/{kind.name}/{{id}}", kind.singular, f"{kind.article} {kind.one}"
    return (
        put(
            one,
            Definitions.put_definition,
            f"Create (201) or replace (200) {a}.",
            kind.model,
            answer,
            problems=(404, 409, 412),
            text=True,
            name=f"put_{noun}",
        ),
        delete(one, Definitions.delete_definition, f"Remove {a}.", problems=(404, 409, 412), name=f"delete_{noun}"),
        post(
            f"{many}/validate",
            Definitions.validate_definition,
            f"Validate {a} without saving it.",
            kind.model,
            Validation,
            *VALIDATE,
            text=True,
            name=f"validate_{noun}",
        ),
        get(
            f"{one}/history",
            Definitions.definition_history,
            f"List commits that changed {a}, newest first.",
            at_revision.Commit,
            *paging.PAGE,
            page=True,
            problems=(404,),
            name=f"{noun}_history",
        ),
    )


OPERATIONS = tuple(operation for kind in KINDS.values() if kind.name not in OWN for operation in operations(kind))
