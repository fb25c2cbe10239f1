"""Full-text search: in the conversation of a session, and for sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson

from kheish.api.http import media, paging
from kheish.api.http.answer import Answer
from kheish.api.http.paging import Given
from kheish.domain import history
from kheish.errors import Invalid
from kheish.state.state import State
from kheish.store.log import texts
from kheish.store.log.pages import Keep

QUERY = 'words, `"a phrase"`, or a prefix, `deplo*`'
#: entries that one search for sessions reads: a session with many matches must not hide the others forever
_MOST = 10_000


class Found(Answer):
    """A matching entry."""

    n: int
    seq: int
    at: str
    kind: str
    actor: str
    session_id: str
    run_id: str | None
    snippet: str


async def entries(state: State, session: Mapping[str, Any], words: str, given: Given) -> Mapping[str, Any]:
    """Return a page of matching entries of a session (and of those that it was forked from), newest first.

    Raises Invalid, InvalidCursor.
    """
    await state.caught_up()
    limit = given.get("limit", paging.LIMIT)
    below = paging.number_of("s", given.get("cursor"))
    rows = await asyncio.to_thread(_find_in_session, state, session, words, limit + 1, below)
    more = len(rows) > limit
    cursor = paging.cursor_of("s", rows[limit - 1]["n"]) if more else None
    return media.page(rows[:limit], cursor)


def _find_in_session(
    state: State, session: Mapping[str, Any], words: str, limit: int, below: int | None
) -> list[dict[str, Any]]:
    return _find(state, words, limit, below, history.lineage(state, session))


def _find(
    state: State, words: str, limit: int, below: int | None, places: list[tuple[str, int | None]]
) -> list[dict[str, Any]]:
    try:
        rows = state.index.search(words, limit=limit, below=below, places=places)
    except ValueError as error:
        raise Invalid(f"{words!r} is not a valid query: {error}; write {QUERY}.") from error
    terms = texts.terms(words)
    return [_hit(row, terms) for row in rows]


def _hit(row: tuple[int, str, str | None, str, str], wanted: list[str]) -> dict[str, Any]:
    n, session, run, line, text = row
    entry = orjson.loads(line)
    return {
        "n": n,
        "seq": entry["seq"],
        "at": entry["at"],
        "kind": entry["kind"],
        "actor": entry["actor"],
        "session_id": session,
        "run_id": run,
        "snippet": texts.snippet(text, wanted),
    }


async def sessions(state: State, words: str, given: Given, keep: Keep | None) -> Mapping[str, Any]:
    """Return a page of sessions with a matching entry, the last match first. Each has that entry as `match`. `keep` is
    the condition on the sessions that the caller may see.

    Raises Invalid, InvalidCursor.
    """
    await state.caught_up()
    below = paging.number_of("q", given.get("cursor"))
    rows, cursor = await asyncio.to_thread(_sessions, state, words, given, below, keep)
    return media.page(rows, paging.cursor_of("q", cursor) if cursor is not None else None)


def _sessions(
    state: State, words: str, given: Given, below: int | None, keep: Keep | None
) -> tuple[list[dict[str, Any]], int | None]:
    limit, first = given.get("limit", paging.LIMIT), below
    rows: dict[str, dict[str, Any]] = {}
    looked = 0
    while looked < _MOST:
        hits = _find(state, words, paging.MOST, below, [])
        for hit in hits:
            id, below = hit["session_id"], hit["n"]
            if id in rows or not _is_newest(state, words, hit, first):
                continue
            doc = state.index.thing("session", id)
            if doc is not None and _fits(doc, given) and (keep is None or keep(doc)):
                rows[id] = {**doc, "match": hit}
                if len(rows) == limit:
                    return list(rows.values()), below
        looked += len(hits)
        if len(hits) < paging.MOST:
            return list(rows.values()), None
    return list(rows.values()), below


def _is_newest(state: State, words: str, hit: Mapping[str, Any], first: int | None) -> bool:
    """Return whether this is the session's newest match.

    The newest match decides its place; older matches repeat a session of an earlier page.
    """
    if first is None:
        return True
    newest = state.index.search(words, limit=1, places=[(hit["session_id"], None)])
    return bool(newest) and newest[0][0] == hit["n"]


def _fits(doc: Mapping[str, Any], given: Given) -> bool:
    session = paging.session_of(given)
    if session is not None and doc["session_id"] != session:
        return False
    if (statuses := given.get("status")) and doc["status"] not in statuses:
        return False
    if not doc["session_id"].startswith(given.get("id_prefix", "")):
        return False
    return all(doc.get(name) == given[name] for name in ("route", "permission_mode", "project") if name in given)
