"""The memory of a fork: copies of its origin's files. Their origin is in the ledger already, by their content."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from kheish.domain.memory import names
from kheish.domain.memory.names import Place
from kheish.errors import KheishError
from kheish.runtime.memory import catalog as listing
from kheish.runtime.memory.keeper import Keeper


async def copy(keeper: Keeper, origin: str, target: str, files: Mapping[str, bytes] | None, *, by: str) -> None:
    """Copy files (None: the present ones of the origin) into the place of a session that is about to be created.

    A file that an earlier try has copied stays. Raises Unavailable, InsufficientStorage.
    """
    place = Place("session", target)
    await keeper.catalog.loaded.wait()
    if files is None:
        there = Place("session", origin)
        contents = {name: await keeper.content(there.path(name)) for name in keeper.catalog.of(there)}
        files = {name: one.raw for name, one in contents.items() if one.raw is not None}
    valid = {name: raw for name, raw in files.items() if names.is_name(name)}
    known = await asyncio.to_thread(listing.origins, keeper.state, [listing.digest(raw) for raw in valid.values()])
    for name, raw in valid.items():
        try:
            note = await keeper.check(place, name, raw)
        except KheishError:
            continue  # it was invalid there, too
        await keeper.copy(listing.with_origin(note, known.get(note.digest)), raw, by=by)
