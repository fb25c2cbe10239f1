"""The lines of a journal as the events that they were."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from kheish.client import requests
from kheish.client.sse import Event
from kheish.protocols.access import Access

_PAGE = 200


async def read(
    access: Access, session_id: str, *, run: str | None = None, kind: str | Sequence[str] | None = None, after: int = 0
) -> AsyncIterator[Event]:
    """Yield the events of a session, or of one of its runs, after `after`, up to the newest. Raises the KheishError of
    a request."""
    while True:
        call = requests.session_journal(session_id, run=run, kind=kind, after=after, limit=_PAGE)
        page: Any = await access.send(call)
        for line in page["items"]:
            after = line["n"]
            yield _event(line)
        if page["next_cursor"] is None:
            return


def _event(line: Any) -> Event:
    return Event(
        kind=line["kind"], n=line["n"], session=line.get("session"), run=line.get("run"), at=line.get("at"),
        actor=line.get("actor"), data=line["data"], raw="",
    )  # fmt: skip
