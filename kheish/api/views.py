"""Documents as callers get them: from memory or the index, with the full payloads that journals keep in files."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from kheish.api.http import media, paging
from kheish.api.http.paging import Given
from kheish.domain import runs
from kheish.domain.agents import usage
from kheish.domain.events import Spilled
from kheish.domain.nouns import BY_CLASS
from kheish.domain.runs import Run
from kheish.domain.sessions.session import Session
from kheish.errors import Damaged, NotFound
from kheish.state.state import State
from kheish.store.log.pages import Keep

Doc = dict[str, Any]
_REFERENCE = frozenset({"sha256", "bytes", "preview"})
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


async def document(state: State, cls: type, id: str) -> Doc:
    """Return the newest durable document of a thing, in full. Raises NotFound, StoreFailed, Damaged.

    It does not use `state.recall`, whose memory of a thing may be older than the index.
    """
    noun = BY_CLASS[cls]
    value = state.find(cls, id)
    change = state.unjournaled.get((cls, id))
    if value is None and change is not None:
        value = change.value
    if value is not None:
        doc = of(state, value)
        await state.durable()
    else:
        row = await asyncio.to_thread(state.index.thing, noun.name, id)
        if row is None and cls is Session:
            async with state.using(id):  # raises SessionDeleted if it was deleted
                pass
        if row is None:
            raise NotFound(f"There is no {noun.name} {id!r}.")
        doc = row
    return (await expand(state, [doc]))[0]


def of(state: State, value: Any) -> Doc:
    """Return a value in memory as a document; payloads may still be references."""
    doc = state.document(BY_CLASS[type(value)], value)
    if isinstance(value, Run):
        _place(state, doc)
    return doc


async def listed(state: State, cls: type, given: Given, keep: Keep | None = None) -> Mapping[str, Any]:
    """Return a page of things, newest first, with everything that was durable when the request came. `keep` is the
    condition on the documents that the caller may see.

    Raises InvalidCursor, Unavailable.
    """
    noun = BY_CLASS[cls]
    await state.caught_up()
    page = await asyncio.to_thread(
        state.index.things,
        noun.name,
        limit=given.get("limit", paging.LIMIT),
        cursor=given.get("cursor"),
        session=paging.session_of(given),
        statuses=given.get("status", ()),
        fields={field: given[field] for field in noun.filters if field in given},
        id_prefix=given.get("id_prefix"),
        keep=keep,
    )
    if cls is Run:
        for doc in page.items:
            _place(state, doc)
    return media.page(await expand(state, page.items), page.next_cursor)


def _place(state: State, doc: Doc) -> None:
    """Update what changes without an event of the run: its position in the queue, and the usage of its agents."""
    run = state.find(Run, doc["run_id"])
    if run is not None and run.children:
        doc["usage"] = {**doc["usage"], "subtree": usage.of_run(state, run)}
    session = state.find(Session, doc["session_id"])
    doc["queue_position"] = runs.queue_position(state, run) if run and session else None


async def expand(state: State, docs: list[Doc]) -> list[Doc]:
    """Return the documents with every payload in full, also those over 16 KiB. Raises Damaged."""
    if not any(True for doc in docs for _ in references(doc)):
        return docs
    session_ids = {doc["session_id"] for doc in docs}
    paths = {id: state.sessions[id].path for id in session_ids if id in state.sessions}
    return await asyncio.to_thread(_expand_all, state, docs, paths)


def _expand_all(state: State, docs: list[Doc], paths: dict[str, str]) -> list[Doc]:
    for doc in docs:
        places = list(references(doc))
        if places:
            id = doc["session_id"]
            if id not in paths:
                paths[id] = (state.index.thing("session", id) or {"path": f"sessions/{id}"})["path"]
            for holder, key, whole in places:
                holder[key] = _read(state, paths[id], holder[key], whole)
    return docs


def references(doc: Doc) -> Iterator[tuple[Any, Any, str]]:
    """Yield the places of references: the container, its key, and the kind of payload."""
    if _is_reference(doc.get("content")):
        yield doc, "content", "text"
    if _is_reference(doc.get("output")):
        yield doc, "output", "text"
    if _is_reference(doc.get("description")):
        yield doc, "description", "text"
    if _is_reference(doc.get("arguments")):
        yield doc, "arguments", "json"
    if _is_reference(doc.get("payload")):
        yield doc, "payload", "json" if doc.get("structured") else "text"
    for one in doc.get("outputs") or ():
        if _is_reference(one["content"]):
            yield one, "content", "text"
    yield from _of_flow(doc)
    settings = doc.get("settings")
    if settings and _is_reference(settings.get("phase_text")):
        yield settings, "phase_text", "text"
    request = doc.get("request")
    if request:
        for item in request["items"]:
            if _is_reference(item.get("text")):
                yield item, "text", "text"


def _of_flow(doc: Doc) -> Iterator[tuple[Any, Any, str]]:
    """Yield the payloads that a Flow's document repeats from its runs and calls."""
    for name, key in (("runs", "output"), ("refused", "reason"), ("evidence", "description")):
        for one in doc.get(name) or ():
            if isinstance(one, dict) and _is_reference(one.get(key)):
                yield one, key, "text"
    for phase in doc.get("phases") or ():
        for one in phase["evidence"]:
            if _is_reference(one["description"]):
                yield one, "description", "text"


def _is_reference(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == _REFERENCE
        and isinstance(value["sha256"], str)
        and _SHA256.match(value["sha256"]) is not None
    )


def _read(state: State, folder: str, value: Doc, whole: str) -> Any:
    try:
        raw = state.payloads.read(folder, Spilled(**value))
    except Damaged:
        if whole == "text":
            raise
        return value  # arguments in a journal of before 0.2 may only look like a reference
    return orjson.loads(raw) if whole == "json" else raw.decode()
