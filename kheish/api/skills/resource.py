"""Skills by HTTP: those of the state root and of configured folders; with `?session=`, those of its workspace, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from falcon.asgi import Request, Response

from kheish.api import definitions
from kheish.api.definitions import Definitions, DefinitionView
from kheish.api.http import media, paging
from kheish.api.http.answer import Answer
from kheish.api.http.paging import Param
from kheish.api.skills import problems as skill_problems
from kheish.domain import trusts
from kheish.domain.definitions import KINDS, Definition
from kheish.domain.events import frozen
from kheish.errors import NotFound
from kheish.runtime.skills.catalog import Found, Listing
from kheish.store.edits import problems as words

KIND = KINDS["skills"]
SESSION = (Param(name="session", about="Also the skills that this session finds in its workspace."),)


class SkillProblem(Answer):
    """A problem of a skill's file."""

    path: str
    line: int | None
    column: int | None
    severity: Literal["error", "warning"]
    code: str
    message: str


@frozen
class SkillDetailsView(DefinitionView):
    """A skill: the fields of its front matter, its text as `body`, and the following."""

    of_now = True

    name: str
    """The name in effect: that of the folder."""
    description: str
    source: Literal["state", "workspace", "folder"]
    dir: str
    """The folder: from the state root, from the workspace, or absolute."""
    shadowed_by: str | None
    """The folder of the skill with the same name that is in effect instead."""
    problems: list[SkillProblem]
    trusted: bool | None
    """Whether its `allowed-tools` are in effect; null if it has none."""
    model_invocable: bool
    """Whether the model may start it."""
    user_invocable: bool
    """Whether users may start it with `/name`."""


class Skills(Definitions):
    """The resource of `/v1/skills`."""

    added = ("name", "source", "dir", "shadowed_by", "problems", "trusted", "model_invocable", "user_invocable")

    async def list_definitions(self, req: Request, resp: Response) -> None:
        """Answer with a page of skills, by name; those in effect before those that they shadow."""
        given = req.context.query
        after, limit = paging.place_of("d", given.get("cursor")), given.get("limit", paging.LIMIT)
        listing = await skill_problems.listed(self._services, given.get("session"))
        rows = sorted(((f"{one.name}\n{order}", one) for order, one in _ordered(listing)), key=lambda row: row[0])
        rows = [row for row in rows if after is None or row[0] > after][: limit + 1]
        items = [await self._shown(one) for _, one in rows[:limit]]
        more = len(rows) > limit
        media.send(resp, media.page(items, paging.cursor_of("d", rows[limit - 1][0]) if more else None))

    async def get_definition(self, req: Request, resp: Response, id: str) -> None:
        """Answer with one skill: JSON, or its file byte for byte with `Accept: application/yaml`."""
        session = req.context.query.get("session")
        if req.context.query.get("at") or (session is None and id in self._state.definitions.by_kind[KIND.name]):
            return await super().get_definition(req, resp, id)
        found = (await skill_problems.listed(self._services, session)).skills.get(id)
        if found is None:
            raise NotFound(f"There is no skill {id!r}.")
        if found.source == "state":
            return await super().get_definition(req, resp, id)
        read = await self._services.skills.read(found)
        resp.set_header("ETag", f'"{found.etag}"')
        resp.set_header("Vary", "Accept")
        if media.wants_text(req):
            resp.content_type = f"{media.YAML}; charset=utf-8"
            resp.data = read.raw
        else:
            media.send(resp, {**await self._shown(found), "body": read.skill.body})
        return None

    async def _shown(self, found: Found) -> dict[str, Any]:
        """Return a skill as an item of the list."""
        definition = self._state.definitions.by_kind[KIND.name].get(found.name)
        if found.source == "state" and definition is not None:
            return self._view(definition, more=await self._of(found))
        status: dict[str, Any] = {"state": "ready", "last_error": None, "observed_digest": found.digest, "bindings": []}
        given: dict[str, Any] = {
            "id": found.name,
            "path": f"{found.dir}/{found.file}",
            "etag": found.etag,
            "status": status,
        }
        given["managed_by"] = None
        return {**given, **found.skill.model_dump(mode="json", by_alias=True), **await self._of(found)}

    async def _added(self, found: Sequence[Definition]) -> list[dict[str, Any]]:
        own = {one.name: one for one in self._services.skills.catalog.of_state()}
        return [await self._of(own[one.id]) if one.id in own else {} for one in found]

    async def _of(self, found: Found) -> dict[str, Any]:
        problems = [words.view(one) for one in found.problems]
        if found.source == "state":
            problems += [dict(one) for one in self._services.problems() if one["path"] == f"{found.dir}/{found.file}"]
        fields = SkillProblem.__annotations__
        return {
            "name": found.name,
            "source": found.source,
            "dir": found.dir,
            "shadowed_by": found.shadowed_by,
            "problems": [{name: one[name] for name in fields} for one in problems],
            "trusted": await self._is_trusted(found),
            "model_invocable": not found.skill.disable_model_invocation,
            "user_invocable": found.skill.user_invocable,
        }

    async def _is_trusted(self, found: Found) -> bool | None:
        if not found.skill.allowed_tools:
            return None
        trusted = await trusts.find(self._state, found.definition) if found.source == "state" else None
        if trusted is None:
            return False
        read = await self._services.skills.read(found)
        return read.is_whole and read.content.digest == trusted.digest


def _ordered(listing: Listing) -> list[tuple[str, Found]]:
    shadowed = [(f"{number:06d}", one) for number, one in enumerate(listing.shadowed, 1)]
    return [*(("000000", one) for one in listing.skills.values()), *shadowed]


OPERATIONS = definitions.operations(KIND, Skills, SkillDetailsView, SESSION, tie="query")
