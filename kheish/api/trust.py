"""Trust by HTTP: versions of Playbooks, MCP servers, hooks and outputs that may start commands by themselves, skills
that allow calls, and the trust in one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import orjson
from falcon.asgi import Request, Response
from pydantic import Field

from kheish.api.hooks import trusting as hooks
from kheish.api.http import media, paging
from kheish.api.http.answer import Answer
from kheish.api.http.bodies import Body
from kheish.api.http.operation import bind, get, post
from kheish.api.http.paging import Param
from kheish.api.mcp import trusting as servers
from kheish.api.outputs import trusting as outputs
from kheish.api.playbooks import listed
from kheish.api.services import Services
from kheish.api.skills import trusting as skills
from kheish.domain.events import DefinitionChanged
from kheish.domain.events.playbooks import EvidenceRef
from kheish.domain.playbooks import trust, versions as playbooks
from kheish.errors import Invalid, VersionTampered
from kheish.state.state import State

#: the beginning of cursors in the part of the list that has the files
_FILES = "files:"
LIST = (*paging.PAGE, Param(name="playbook", about="Only versions of this playbook."))


class Trusted(Answer):
    """A version of a Playbook whose Flows start commands without asking, an MCP server, a hook or an output that starts
    a command, or a skill that allows calls."""

    name: str
    """`id@version`, `mcp/id`, `hooks/id`, `outputs/id`, or `skills/id`."""
    id: str
    """The same as `name`."""
    path: str | None
    """The file; null for a version, which is a tag."""
    kind: Literal["playbook", "hook", "mcp", "output", "skill"]
    state: trust.Trust
    """`waiting`: nothing runs without asking until an admin trusts it."""
    digest: str
    commands: list[str] | None
    """The command lines, or the calls that a skill allows; null if a tag is tampered with."""
    bound: list[str]
    """The files that the trust in a hook covers, besides its own; empty for others."""
    published_by: str
    """The publisher of a version; empty for a file."""
    changed_by: str
    """The author of the newest change of the file: `person` for an edit or a pull; for a version, its publisher."""
    via: Literal["api", "git"]
    trusted_by: str | None
    trusted_at: str | None
    reason: str | None
    n: int


class Trust(Body):
    """A request to trust the commands of a version, a server, a hook, an output or a skill."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    """`id@version`, `mcp/id`, `hooks/id`, `outputs/id`, or `skills/id`."""
    digest: Annotated[str, Field(min_length=8, max_length=64)]
    """The digest of the reviewed content (a prefix is enough); another digest is refused."""


class Trusting:
    """The resource of `/v1/trust`."""

    def __init__(self, services: Services) -> None:
        self._playbooks = services.playbooks
        self._skills = skills.Trusting(services)
        self._servers = servers.Trusting(services)
        self._hooks = hooks.Trusting(services)
        self._outputs = outputs.Trusting(services)
        self._state = services.state
        self._authors, self._reading = _Authors(), asyncio.Lock()

    async def list_trust(self, req: Request, resp: Response) -> None:
        """Answer with a page: first the servers, hooks and skills, by name, then the versions, newest first.

        Versions without commands are skipped, so that a page may be short.
        """
        given = req.context.query
        cursor, limit = given.get("cursor"), given.get("limit", paging.LIMIT)
        files: list[dict[str, Any]] = []
        if "playbook" not in given and (cursor is None or cursor.startswith(_FILES)):
            after = paging.place_of("t", cursor.removeprefix(_FILES)) if cursor else ""
            found = [one for one in await self._files() if one["name"] > after]
            files = await self._with_authors(found[:limit])
            if len(found) > limit:
                place = paging.cursor_of("t", files[-1]["name"])
                media.send(resp, media.page(files, f"{_FILES}{place}"))
                return
            given = {**given, "cursor": None, "limit": max(limit - len(files), 1)}
        page = await listed(self._state, given, given.get("playbook"))
        shown = [await self._shown(doc["playbook_id"], doc["version"]) for doc in page.items]
        media.send(resp, media.page([*files, *(one for one in shown if one["commands"] != [])], page.next_cursor))

    async def _files(self) -> list[dict[str, Any]]:
        kinds = (self._hooks, self._outputs, self._servers, self._skills)
        found = [one for kind in kinds for one in await kind.listed()]
        return sorted(found, key=lambda one: str(one["name"]))

    async def _with_authors(self, files: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        if not files:
            return []
        async with self._reading:
            await asyncio.to_thread(self._authors.read, self._state)
        return [{"bound": [], **one, "changed_by": self._authors.by_path.get(one["path"], "person")} for one in files]

    async def get_trust(self, req: Request, resp: Response, name: str) -> None:
        """Answer with one version, with or without commands."""
        media.send(resp, await self._shown(*_split(name)))

    async def get_trusted_skill(self, req: Request, resp: Response, id: str) -> None:
        """Answer with one skill, whether or not it allows calls."""
        media.send(resp, *await self._with_authors([await self._skills.shown(id)]))

    async def get_trusted_server(self, req: Request, resp: Response, id: str) -> None:
        """Answer with one MCP server, whether or not it starts a command."""
        media.send(resp, *await self._with_authors([await self._servers.shown(id)]))

    async def get_trusted_hook(self, req: Request, resp: Response, id: str) -> None:
        """Answer with one hook, whether or not it needs trust."""
        media.send(resp, *await self._with_authors([await self._hooks.shown(id)]))

    async def get_trusted_output(self, req: Request, resp: Response, id: str) -> None:
        """Answer with one output, whether or not it needs trust."""
        media.send(resp, *await self._with_authors([await self._outputs.shown(id)]))

    async def trust(self, req: Request, resp: Response) -> None:
        """Release a published version on the caller's authority; a trusted version remains unchanged."""
        body = await media.read(req, Trust)
        known: tuple[tuple[str, Any], ...] = (
            (skills.FOLDER, self._skills),
            (servers.FOLDER, self._servers),
            (hooks.FOLDER, self._hooks),
            (outputs.FOLDER, self._outputs),
        )
        for folder, files in known:
            if body.name.startswith(folder):
                shown = await files.trust(body.name.removeprefix(folder), body.digest, req.context.principal)
                return media.send(resp, *await self._with_authors([shown]), n=self._state.n)
        id, version = _split(body.name)
        one = await self._playbooks.version(id, version)
        skills.check_digest(body.name, one.digest, body.digest)
        if trust.of(one) != "trusted":
            by = req.context.principal
            attestation = EvidenceRef(
                kind="attestation", id=by, description=f"trusts the commands of {one.digest[:12]}"
            )
            await self._playbooks.release(id, version, "verified", by=by, evidence=[attestation])
        return media.send(resp, await self._shown(id, version), n=self._state.n)

    async def _shown(self, id: str, version: str) -> dict[str, Any]:
        try:
            released = await self._playbooks.read(id, version)
        except VersionTampered:
            return _of_version(trust.view(await self._playbooks.version(id, version), None))
        return _of_version(trust.view(released.version, released.data))


def _of_version(doc: dict[str, Any]) -> dict[str, Any]:
    return {**doc, "id": doc["name"], "path": None, "bound": [], "changed_by": doc["published_by"]}


class _Authors:
    """The authors of the newest changes of servers, hooks, outputs and skills, by path, as far as these are journaled.
    An entry is read once: the journal grows with each change of any Definition."""

    def __init__(self) -> None:
        self.by_path: dict[str, str] = {}
        self._n = 0

    def read(self, state: State) -> None:
        """Read the changes since the last reading. Blocks on disk."""
        for n, _, line in state.index.stream("journals/daemon", (DefinitionChanged.kind,), self._n):
            self._n = n
            entry = orjson.loads(line)
            if entry["data"]["path"].startswith((servers.FOLDER, hooks.FOLDER, outputs.FOLDER, skills.FOLDER)):
                self.by_path[entry["data"]["path"]] = entry["actor"]


def _split(name: str) -> tuple[str, str]:
    id, _, version = name.partition("@")
    if not playbooks.is_version(version):
        raise Invalid(f"{name!r} names no version; write ID@VERSION, such as triage@1.0.0.")
    return id, version


OPERATIONS = bind(
    Trusting,
    get(
        "/v1/trust",
        Trusting.list_trust,
        "List MCP servers, hooks, outputs and versions of playbooks that start commands, and skills, with their trust.",
        Trusted,
        *LIST,
        page=True,
    ),
    get(
        "/v1/trust/{name}",
        Trusting.get_trust,
        "Get one version with its trust.",
        Trusted,
        problems=(404,),
    ),
    get(
        "/v1/trust/skills/{id}",
        Trusting.get_trusted_skill,
        "Get one skill with its trust.",
        Trusted,
        problems=(404,),
    ),
    get(
        f"/v1/trust/{servers.FOLDER}{{id}}",
        Trusting.get_trusted_server,
        "Get one MCP server with its trust.",
        Trusted,
        problems=(404,),
    ),
    get(
        f"/v1/trust/{hooks.FOLDER}{{id}}",
        Trusting.get_trusted_hook,
        "Get one hook with its trust.",
        Trusted,
        problems=(404,),
    ),
    get(
        f"/v1/trust/{outputs.FOLDER}{{id}}",
        Trusting.get_trusted_output,
        "Get one output with its trust.",
        Trusted,
        problems=(404,),
    ),
    post(
        "/v1/trust",
        Trusting.trust,
        "Trust a version (it becomes verified), a server, a hook, an output or a skill on the caller's authority, "
        "after a review.",
        Trust,
        Trusted,
        problems=(404, 409),
    ),
)
