"""Sessions, runs and definitions as of a commit (`?at=REV`)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
from falcon.asgi import Response

from kheish.api import views
from kheish.api.http import media, paging
from kheish.api.http.answer import Answer
from kheish.api.http.paging import Given, Param
from kheish.api.services import Services
from kheish.api.views import Doc
from kheish.domain.definitions import Definition, Kind
from kheish.domain.events import Spilled
from kheish.domain.nouns import BY_CLASS
from kheish.domain.sessions.session import Session
from kheish.errors import NotFound, SessionDeleted
from kheish.state.noun import Noun
from kheish.state.state import State
from kheish.store import parsing
from kheish.store.edits import definitions as reading
from kheish.store.git.revisions import FORMS, Moment
from kheish.store.log import records, spills

AT = Param(name="at", about=f"The revision to read: {FORMS}.")
COMMIT = "X-Kheish-Commit"


class Commit(Answer):
    """A commit of the state root."""

    commit: str
    parents: list[str]
    message: str
    trailers: dict[str, list[str]]
    author: dict[str, str]
    time: int
    """Seconds since 1970."""


async def document(services: Services, resp: Response, cls: type, id: str, rev: str) -> Doc:
    """Return the Record of a session, of a noun in it, or of a Flow, as of a commit. Raises Invalid, NotFound."""
    moment = await services.past.resolve(rev)
    noun = BY_CLASS[cls]
    folder = await _folder(services, noun, id, moment)
    path = await _record(services, noun, id, folder)
    try:
        raw = await services.past.read(moment.commit, path)
    except NotFound:
        raise NotFound(
            f"There was no {noun.name} {id!r} at {rev} (commit {moment.commit[:12]}); for its history see "
            f"GET /v1/sessions/{folder.rpartition('/')[2]}/history"
        ) from None
    doc = await asyncio.to_thread(records.read, raw)
    for holder, key, whole in views.references(doc):
        holder[key] = await _payload(services, moment, folder, holder[key], whole)
    resp.set_header(COMMIT, moment.commit)
    return doc


async def _record(services: Services, noun: Noun, id: str, folder: str) -> str:
    """Return the path of its Record."""
    if noun.record is None:  # stored elsewhere
        return str((await views.document(services.state, noun.cls, id))["path"])
    return f"{folder}/{noun.record.format(id=id)}"


async def _folder(services: Services, noun: Noun, id: str, moment: Moment) -> str:
    """Return the session's folder, even if the session is deleted. Raises NotFound."""
    session_id = id
    if noun.cls is not Session:
        try:
            session_id = (await views.document(services.state, noun.cls, id))["session_id"]
        except NotFound:
            if noun.record is None:
                raise
            raise NotFound(
                f"There is no {noun.name} {id!r}. If its session was deleted: git log --all -- "
                f"'sessions/*/*/{noun.record.format(id=id)}'"
            ) from None
    try:
        return str((await views.document(services.state, Session, session_id))["path"])
    except SessionDeleted as deleted:
        folder = await services.past.folder(moment.commit, session_id)
        if folder is None:
            raise deleted
        return folder


async def _payload(services: Services, moment: Moment, folder: str, value: Doc, whole: str) -> Any:
    """Return a text that the Record holds only by reference."""
    try:
        raw = await services.past.read(moment.commit, spills.place_of(folder, Spilled(**value).sha256))
    except NotFound:
        if whole == "text":
            raise
        return value  # as in `views`
    return orjson.loads(raw) if whole == "json" else raw.decode()


async def commits(services: Services, session_id: str, given: Given) -> Mapping[str, Any]:
    """Return a page of the commits that changed a session, newest first. Raises NotFound, InvalidCursor."""
    limit = given.get("limit", paging.LIMIT)
    place = paging.place_of("h", given.get("cursor"))
    deleted = False
    try:
        path = (await views.document(services.state, Session, session_id))["path"]
    except SessionDeleted:
        deleted, path = True, await _grave(services.state, session_id)
    await services.state.caught_up()
    rows = await services.past.commits(None if deleted else session_id, path, place, limit + 1)
    cursor = paging.cursor_of("h", rows[limit]["place"]) if len(rows) > limit else None
    return media.page([{key: value for key, value in one.items() if key != "place"} for one in rows[:limit]], cursor)


async def _grave(state: State, session_id: str) -> str:
    """Return the former folder of a deleted session."""
    await state.caught_up()
    tombstone = await asyncio.to_thread(state.index.thing, "tombstone", session_id)
    return str((tombstone or state.deleted[session_id])["path"])


async def definition(services: Services, resp: Response, kind: Kind, id: str, rev: str) -> tuple[Definition, Doc]:
    """Return a definition as of a commit, and its state then. Raises Invalid, NotFound."""
    moment = await services.past.resolve(rev)
    try:
        raw = await services.past.read(moment.commit, kind.path(id))
    except NotFound:
        raise NotFound(
            f"There was no {kind.one} {id!r} at {rev} (commit {moment.commit[:12]}); for its history see "
            f"GET /v1/{kind.name}/{id}/history"
        ) from None
    parsed = await parsing.run(kind.read, raw, kind.path(id))
    errors = [problem.message for problem in parsed.problems if problem.severity == "error"]
    valid = parsed.value is not None and not errors
    resp.set_header(COMMIT, moment.commit)
    value = Definition(
        kind=kind.name,
        id=id,
        path=kind.path(id),
        value=parsed.value,
        data=parsed.data or {},
        raw=raw,
        digest=reading.digest(raw),
    )
    status: Doc = {
        "state": "ready" if valid else "invalid",
        "last_error": None if valid else errors[0] if errors else "It cannot be read.",
        "observed_digest": value.digest,
        "bindings": [],
    }
    return value, status
