"""A page of a session's journal: its parameters, and the lines, verbatim, oldest first."""

from __future__ import annotations

import asyncio
from typing import Any

from kheish.api.http import paging
from kheish.api.http.answer import Answer
from kheish.api.http.paging import Given, Param
from kheish.api.services import Services
from kheish.store.log import backwards

PARAMS = (
    *paging.PAGE,
    Param(name="after", kind="count", about="Entries after this event number."),
    Param(name="before", kind="count", about="The last entries before this event number (not with `after`)."),
    Param(name="run", about="Only entries of this run."),
    Param(name="kind", many=True, about="Only entries of this kind."),
)


class Event(Answer):
    """A journal line, verbatim."""

    v: int
    n: int
    seq: int
    at: str
    kind: str
    actor: str
    data: dict[str, Any]


async def read(services: Services, session_id: str, given: Given) -> bytes:
    """Return the page as JSON. With `before`, it has no cursor: its first entry is where the page before it ends."""
    limit = given.get("limit", paging.LIMIT)
    place = paging.number_of("n", given.get("cursor"))
    after = given.get("after", 0) if place is None else place
    before: int | None = given.get("before") if place is None and "after" not in given else None
    index, run, kinds = services.state.index, given.get("run"), given.get("kind", ())
    if before is not None:
        rows = await asyncio.to_thread(backwards.events, index, session_id, before, limit=limit, run=run, kinds=kinds)
    else:
        rows = await asyncio.to_thread(index.events, after, limit=limit + 1, session=session_id, run=run, kinds=kinds)
    cursor = f'"{paging.cursor_of("n", rows[limit - 1][0])}"' if len(rows) > limit else "null"
    lines = ",".join(line for _, _, line in rows[:limit])
    return f'{{"items":[{lines}],"next_cursor":{cursor}}}'.encode()
