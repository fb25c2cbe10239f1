"""Memory files by HTTP: list, search, show, put, delete, accept and revoke, their history, and drafts of skills."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from itertools import islice
from typing import Annotated, Any

from falcon.asgi import Request, Response
from pydantic import Field

from kheish import ids
from kheish.api import at_revision, state as api_state, views
from kheish.api.http import media, paging
from kheish.api.http.bodies import Body
from kheish.api.http.operation import bind, delete, get, post, put
from kheish.api.http.paging import Param
from kheish.api.memory import answers as shapes
from kheish.api.services import Services
from kheish.authoring import preconditions
from kheish.domain.memory import names
from kheish.domain.memory.ledger import Author
from kheish.domain.memory.names import Place
from kheish.domain.sessions.session import Session
from kheish.errors import Invalid, NotFound, UnsupportedMedia
from kheish.runtime.memory import catalog as listing, drafts, finding
from kheish.runtime.memory.catalog import Note
from kheish.store import parsing
from kheish.store.files import blob_id

_DIGEST = re.compile(r"[0-9a-f]{8,64}\Z")
LIST = (
    *paging.PAGE,
    Param(name="scope", kind="choice", choices=tuple(names.FOLDERS), many=True, about="Only these scopes."),
    Param(name="owner", about="Only files of this persona, project or session."),
    Param(name="origin", kind="choice", choices=("person", "agent"), many=True, about="Only files of this origin."),
    Param(name="q", about='Only files with these words, `"a phrase"`, or a prefix, `deplo*`.'),
)

Path = Annotated[str, Field(min_length=1, max_length=400)]


class PutMemory(Body):
    """The content of a memory file."""

    content: str
    """The whole file: optional front matter, and the text below it."""


class Marking(Body):
    """A memory file whose origin a user changes."""

    path: Path
    """Its path in the state root: `memory/shared/deploy.md`."""
    digest: Annotated[str, Field(min_length=8, max_length=64)] | None = None
    """The sha256 of the reviewed content (a prefix is enough); other content is refused."""


class PromoteMemory(Body):
    """A memory file that becomes the draft of a skill."""

    path: Path
    skill: Annotated[str, Field(min_length=1, max_length=128)]
    """The name of the skill."""


class MemoryFiles:
    """The resource of `/v1/memory` and the files below it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._state = services.state
        self._keeper = services.memory.keeper
        self._catalog = services.memory.keeper.catalog

    async def list_memory(self, req: Request, resp: Response) -> None:
        """Answer with a page of files, by path; with `q`, the newest matches first."""
        given = req.context.query
        await self._catalog.loaded.wait()
        limit = given.get("limit", paging.LIMIT)
        if (query := given.get("q")) is not None:
            notes = [note for note in self._catalog.all() if _fits(note, given)]
            return media.send(resp, media.page(await self._found(notes, query, limit)))
        after = paging.place_of("m", given.get("cursor"))
        rows = list(islice((note for note in self._catalog.after(after) if _fits(note, given)), limit + 1))
        cursor = paging.cursor_of("m", rows[limit - 1].path) if len(rows) > limit else None
        return media.send(resp, media.page([shapes.file(note) for note in rows[:limit]], cursor))

    async def _found(self, notes: list[Note], query: str, limit: int) -> list[dict[str, Any]]:
        try:
            hits = await asyncio.to_thread(finding.search, self._state.root, notes, query, limit)
        except ValueError as error:
            raise Invalid(f"{query!r} is not a valid query: {error}.") from error
        return [shapes.hit(one) for one in hits]

    async def get_memory(self, req: Request, resp: Response, scope: str, owner: str, path: str) -> None:
        """Answer with a file: JSON, or byte for byte with `Accept: text/markdown`."""
        full = names.place(scope, owner).path(names.check_name(path))
        if (rev := req.context.query.get("at")) is not None:
            return await self._send_earlier(req, resp, full, rev)
        await self._catalog.loaded.wait()
        note, there = self._catalog.get(full), await self._keeper.content(full)
        if there.raw is None:
            raise NotFound(f"There is no memory file {full}.")
        if note is None or note.digest != there.digest:
            note = await self._note(full, there.raw)
        return _send(req, resp, note, there.raw)

    async def _note(self, path: str, raw: bytes) -> Note:
        """Return the note of a content that is not (yet) listed."""
        seen = await parsing.run(listing.inspect, path, raw, self._state.clock())
        if seen.note is None:
            raise Invalid(f"{path} is not valid: {'; '.join(one.message for one in seen.problems)}.")
        known = await asyncio.to_thread(listing.origins, self._state, [seen.note.digest])
        return listing.with_origin(seen.note, known.get(seen.note.digest))

    async def _send_earlier(self, req: Request, resp: Response, path: str, rev: str) -> None:
        moment = await self._services.past.resolve(rev)
        try:
            raw = await self._services.past.read(moment.commit, path)
        except NotFound:
            raise NotFound(f"There was no {path} at {rev} (commit {moment.commit[:12]}).") from None
        resp.set_header(at_revision.COMMIT, moment.commit)
        _send(req, resp, await self._note(path, raw), raw)

    async def put_memory(self, req: Request, resp: Response, scope: str, owner: str, path: str) -> None:
        """Create (201) or replace (200) a file on behalf of the caller: its content is a user's then."""
        place, name = names.place(scope, owner), names.check_name(path)
        content = await _content(req)
        full = place.path(name)
        await self._catalog.loaded.wait()
        there = await self._keeper.content(full)
        if there.raw is None:
            await self._check_owner(place)
        expected = _expected(req, full, there.raw)
        seen = there.digest if expected is None else expected
        note = await self._keeper.write(_author(req), place, name, content, seen=seen)
        _send(req, resp, note, content)
        resp.status = 200 if there.raw is not None else 201
        resp.set_header(media.EVENT, str(self._state.durable_n))
        resp.set_header("Location", f"/v1/memory/{place.scope}/{place.owner or names.NO_OWNER[0]}/{name}")

    async def _check_owner(self, place: Place) -> None:
        """Raise NotFound if the persona, project or session of a place does not exist."""
        if place.scope == "session" and place.owner is not None:
            await views.document(self._state, Session, place.owner)
        elif place.owner is not None:
            self._state.definitions.get(f"{place.scope}s", place.owner)

    async def delete_memory(self, req: Request, resp: Response, scope: str, owner: str, path: str) -> None:
        """Remove a file (204)."""
        place, name = names.place(scope, owner), names.check_name(path)
        await self._catalog.loaded.wait()
        there = await self._keeper.content(place.path(name))
        await self._keeper.remove(_author(req), place, name, seen=_expected(req, place.path(name), there.raw))
        resp.status = 204
        resp.set_header(media.EVENT, str(self._state.durable_n))

    async def memory_history(self, req: Request, resp: Response, scope: str, owner: str, path: str) -> None:
        """List the commits that changed a file, newest first, even if it is removed."""
        full = names.place(scope, owner).path(names.check_name(path))
        page = await api_state.commits(self._services, req.context.query, full)
        if not page["items"] and self._catalog.get(full) is None:
            raise NotFound(f"There is no memory file {full}.")
        media.send(resp, page)

    async def accept_memory(self, req: Request, resp: Response) -> None:
        """Make an agent's file a user's."""
        body = await media.read(req, Marking)
        await self._catalog.loaded.wait()
        note = await self._keeper.mark(_author(req), body.path, "accepted", seen=body.digest)
        media.send(resp, shapes.file(note), n=self._state.durable_n)

    async def revoke_memory(self, req: Request, resp: Response) -> None:
        """Make a user's file an agent's."""
        body = await media.read(req, Marking)
        await self._catalog.loaded.wait()
        note = await self._keeper.mark(_author(req), body.path, "revoked", seen=body.digest)
        media.send(resp, shapes.file(note), n=self._state.durable_n)

    async def promote_memory(self, req: Request, resp: Response) -> None:
        """Write the draft of a skill from a file (201). Raises Conflict if the draft exists."""
        body = await media.read(req, PromoteMemory)
        place, name = names.file(body.path)
        there = await self._keeper.content(place.path(name))
        if there.raw is None:
            raise NotFound(f"There is no memory file {body.path}.")
        draft = await drafts.write(self._state.root, ids.check_slug(body.skill, "skill"), place.path(name), there.raw)
        media.send(resp, {"path": draft.path, "content": draft.content}, status=201)


def _fits(note: Note, given: Mapping[str, Any]) -> bool:
    scopes, owner, origins = given.get("scope"), given.get("owner"), given.get("origin")
    origin = "person" if note.is_users else "agent"
    return (
        (not scopes or note.place.scope in scopes)
        and (owner is None or note.place.owner == owner)
        and (not origins or origin in origins)
    )


def _send(req: Request, resp: Response, note: Note, raw: bytes) -> None:
    resp.set_header("ETag", f'"{blob_id(raw)}"')
    resp.set_header("Vary", "Accept")
    if media.wants_text(req):
        resp.content_type = "text/markdown; charset=utf-8"
        resp.data = raw
    else:
        media.send(resp, shapes.file(note, raw.decode("utf-8", "replace")))


def _expected(req: Request, path: str, there: bytes | None) -> str | None:
    """Return the digest that the caller expects to replace: of the present content if its ETag matches; None without an
    expectation. Raises Invalid, PreconditionFailed."""
    tag = media.sent_etag(req)
    if tag in (preconditions.ANY, preconditions.ABSENT):
        preconditions.check(path, tag, blob_id(there) if there is not None else None)
        return listing.digest(there) if there is not None else None
    if there is not None and tag in (blob_id(there), listing.digest(there)):
        return listing.digest(there)
    return tag  # the digest of no content, so that the answer shows both versions


async def _content(req: Request) -> bytes:
    """Return the file's content from JSON or as text. Raises UnsupportedMedia, Invalid."""
    kind = media.media_type(req)
    if kind == media.JSON:
        return (await media.read(req, PutMemory)).content.encode()
    if kind in media.TEXTS or kind == "text/plain":
        return await media.body(req)
    raise UnsupportedMedia(f"The body is sent as {kind or 'no media type'}; send text/markdown or {media.JSON}.")


def _author(req: Request) -> Author:
    return Author(by=req.context.principal, origin="person", via="api")


ONE = "/v1/memory/{scope}/{owner}/{path}"
OPERATIONS = bind(
    MemoryFiles,
    get(
        "/v1/memory",
        MemoryFiles.list_memory,
        "List memory files by path; with q, the newest matches first.",
        shapes.MemoryFile,
        *LIST,
        page=True,
    ),
    get(
        ONE,
        MemoryFiles.get_memory,
        "Get a memory file. The owner of shared memory is `-`.",
        shapes.MemoryFile,
        at_revision.AT,
        problems=(404,),
        text=True,
    ),
    put(
        ONE,
        MemoryFiles.put_memory,
        "Create (201) or replace (200) a memory file, which becomes a user's.",
        PutMemory,
        shapes.MemoryFile,
        problems=(404, 409, 412),
        text=True,
    ),
    delete(ONE, MemoryFiles.delete_memory, "Remove a memory file.", problems=(404, 409, 412)),
    get(
        f"{ONE}/history",
        MemoryFiles.memory_history,
        "List commits that changed a memory file, newest first.",
        at_revision.Commit,
        *paging.PAGE,
        page=True,
        problems=(404,),
    ),
    post(
        "/v1/memory/accept",
        MemoryFiles.accept_memory,
        "Accept an agent's memory file: it counts as a user's from then on.",
        Marking,
        shapes.MemoryFile,
        problems=(404, 409),
    ),
    post(
        "/v1/memory/revoke",
        MemoryFiles.revoke_memory,
        "Revoke a user's memory file: it counts as an agent's from then on.",
        Marking,
        shapes.MemoryFile,
        problems=(404, 409),
    ),
    post(
        "/v1/memory/promote",
        MemoryFiles.promote_memory,
        "Write the draft of a skill from a memory file, for a user to review.",
        PromoteMemory,
        shapes.SkillDraft,
        problems=(404, 409),
        good=(201,),
    ),
)
