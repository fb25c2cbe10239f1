"""Selecting: the observations that a selection names, in the order of their capture."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from kheish import ids
from kheish.domain.events import Item
from kheish.domain.observations import observation as observations
from kheish.domain.observations.observation import Observation
from kheish.domain.observations.selection import MOST, Selection, utc
from kheish.domain.observations.source import OBSERVATIONS
from kheish.errors import NoObservations
from kheish.runtime.observations.keeper import Keeper
from kheish.state.state import State

SCANNED = 200_000  # observations that a span of time is searched in
_PAGE = 500
TASK = "Read the attached observations, and report what matters in them."


async def select(keeper: Keeper, selection: Selection) -> list[Observation]:
    """Return the observations, the oldest first; at most `MOST`, the newest that match. Raises NotFound."""
    if selection.ids is not None:
        found = await keeper.find(list(dict.fromkeys(selection.ids)))
        known = {one.observation_id for one in found}
        for id in selection.ids:
            if id not in known:
                raise observations.missing(id)
        return found
    if selection.source is not None:
        keeper.file(selection.source)  # raises NotFound
    await keeper.state.durable()
    await keeper.state.caught_up()
    found = await asyncio.to_thread(_matching, keeper.state, selection)
    return sorted(found, key=lambda one: (observations.moment_of(one), one.made))


async def items(keeper: Keeper, selection: Selection, *, fail_when_empty: bool) -> tuple[tuple[Item, ...], list[str]]:
    """Return the parts of a request with the observations of a selection, and their ids; images are a part each. A
    sentence stands for an empty selection.

    Raises NotFound, NoObservations.
    """
    found = await select(keeper, selection)
    if not found:
        if fail_when_empty:
            raise NoObservations("No observation matches the selection, and fail_when_empty is set.")
        return (Item(text="(No observation matches the selection.)"),), []
    plain = tuple(one.observation_id for one in found if one.kind != "image")
    images = tuple(one.observation_id for one in found if one.kind == "image")
    parts = [Item(type="observations", observation_ids=plain)] if plain else []
    parts += [Item(type="observations", observation_ids=(one,)) for one in images]
    return tuple(parts), [one.observation_id for one in found]


def _matching(state: State, selection: Selection) -> list[Observation]:
    """Return the newest observations that match. Blocks on disk."""
    now = state.clock()
    since, until = _at(selection.since, now), _at(selection.until, now)
    most = min(selection.latest or MOST, MOST)
    found: list[Observation] = []
    for number, one in enumerate(_newest(state, selection)):
        if len(found) >= most or number >= SCANNED or (since is not None and one.received_at < since):
            break
        at = observations.moment_of(one)
        if (since is None or at >= since) and (until is None or at < until):
            found.append(one)
    return found


def _newest(state: State, selection: Selection) -> Iterator[Observation]:
    """Yield the observations of a source, a stream or a group, the newest first."""
    fields = {name: value for name in ("stream", "group") if (value := getattr(selection, name)) is not None}
    owner = f"{OBSERVATIONS}/{selection.source}" if selection.source is not None else None
    cursor: str | None = None
    while True:
        page = state.index.things(
            "observation", limit=_PAGE, cursor=cursor, session=owner if not fields else None, fields=fields
        )
        for doc in page.items:
            if selection.source in (None, doc["source"]):
                yield observations.read(doc)
        cursor = page.next_cursor
        if cursor is None:
            return


def _at(text: str | None, now: float) -> str | None:
    """Return a moment as a time in UTC; a duration counts back from now."""
    if text is None:
        return None
    try:
        return ids.stamp(now - ids.duration(text))
    except ValueError:
        return utc(text)
