"""Purging: the contents that exceed the retention of a source leave the tree; a source that must forget loses their
keys."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from kheish.domain import events
from kheish.domain.assets import asset as assets
from kheish.domain.assets.asset import ASSETS
from kheish.domain.events import ObservationFile
from kheish.domain.observations import observation as observations, retention, source as sources
from kheish.domain.observations.definition import SourceRetention
from kheish.domain.observations.observation import Batch, Observation
from kheish.domain.observations.retention import Due
from kheish.domain.observations.source import OBSERVATIONS, Source
from kheish.errors import AssetReferenced, KheishError, NotFound
from kheish.runtime.observations.keeper import MOST, Keeper
from kheish.state import pins
from kheish.state.state import State
from kheish.store import observations as store

BATCHES = 100  # batches of a purge; the next purge continues


@dataclass(slots=True)
class Plan:
    """A purge: what is due, the files that go as a whole, the one that is cut, and the assets."""

    due: Due
    files: list[ObservationFile] = field(default_factory=list)
    cut: ObservationFile | None = None
    assets: list[str] = field(default_factory=list)


async def purge(keeper: Keeper, source_id: str, limits: SourceRetention) -> int:
    """Remove what exceeds the retention of a source, or a part of it; return the number of observations. Raises
    Damaged, Unavailable, OSError."""
    state = keeper.state
    async with pins.owner(state, OBSERVATIONS, source_id):
        source = sources.find(state, source_id)
        await state.caught_up()
        plan = await asyncio.to_thread(_plan, state, source, limits)
        if plan is None:
            return 0
        rest = await _cut(keeper, source, plan)
        gone = [file.path for file in (*plan.files, *([plan.cut] if plan.cut is not None else []))]
        event = events.ObservationsPurged(
            source=source_id,
            upto=plan.due.upto,
            count=plan.due.count,
            bytes=plan.due.bytes,
            reason=plan.due.reason,
            files=tuple(gone),
            rest=rest,
        )
        state.append(event.on())
    await state.durable()
    keeper.forget(gone)
    await asyncio.to_thread(store.forget, state.root, gone)
    await state.caught_up()
    for asset_id in dict.fromkeys(plan.assets):
        await _drop_asset(keeper, asset_id)
    return plan.due.count


async def _cut(keeper: Keeper, source: Source, plan: Plan) -> ObservationFile | None:
    """Write the rest of a batch of which a part is purged, and return its file."""
    old = plan.cut
    if old is None:
        kept = source.rest
        return kept if kept is not None and kept.first + kept.count - 1 > plan.due.upto else None
    done = plan.due.upto + 1 - old.first
    lines = (await keeper.lines(old))[done:]
    folder, _, name = old.path.rpartition("/")
    stem = name.partition(".")[0]
    suffix = store.ENCRYPTED if name.endswith(store.ENCRYPTED) else store.PLAIN
    path = f"{folder}/{stem}.{plan.due.upto + 1}{suffix}"
    digest, size = await asyncio.to_thread(
        store.place, keeper.state.root, path, b"".join(line + b"\n" for line in lines)
    )
    return ObservationFile(
        batch_id=old.batch_id, path=path, sha256=digest, bytes=size, first=plan.due.upto + 1, count=len(lines)
    )


def _plan(state: State, source: Source, limits: SourceRetention) -> Plan | None:
    """Return what is to be purged now; None: nothing. Blocks on disk."""
    batches = list(_oldest(state, source))
    rows = [one for _, members in batches for one in members]
    due = retention.due(limits, source, rows, state.clock())
    if due is None:
        return None
    plan = Plan(due)
    for file, members in batches:
        if members[0].number > due.upto:
            break
        plan.assets += [one.asset_id for one in members if one.asset_id is not None and one.number <= due.upto]
        if file.first + file.count - 1 <= due.upto:
            plan.files.append(file)
        else:
            plan.cut = file
    return plan


def _oldest(state: State, source: Source) -> Iterator[tuple[ObservationFile, list[Observation]]]:
    """Yield the oldest batches that have contents, with their observations that do."""
    number = source.purged + 1
    for _ in range(BATCHES):
        place = {"place": observations.place(source.source, number)}
        found = state.index.things("observation", limit=1, fields=place).items
        if not found:
            return
        batch_id = found[0]["batch_id"]
        page = state.index.things("observation", limit=MOST, fields={"batch_id": batch_id})
        members = [observations.read(doc) for doc in reversed(page.items) if doc["number"] >= number]
        if source.rest is not None and source.rest.batch_id == batch_id:
            file = source.rest
        else:
            doc = state.index.thing("observation_batch", batch_id)
            if doc is None:
                return
            file = observations.read_batch(doc).file
        yield file, members
        number = file.first + file.count


async def _drop_asset(keeper: Keeper, asset_id: str) -> None:
    """Remove the asset of a purged observation, unless something else uses it, or a user stored it, too."""
    with suppress(AssetReferenced, NotFound):
        async with pins.owner(keeper.state, ASSETS, asset_id):
            asset = assets.find(keeper.state, asset_id)
        if asset is not None and asset.origin.kind == "observation" and not asset.holders:
            await keeper.assets.keeper.delete(asset_id, by="daemon", reason="gc")


async def drop_old_keys(keeper: Keeper, named: Mapping[str, Sequence[str]]) -> None:
    """Delete the keys that a killed daemon left: of purged contents, and of files that no entry names. `named` are the
    files that had keys before anything was received."""
    state = keeper.state
    await state.caught_up(timeout=60)
    for source_id, names in named.items():
        try:
            source = await keeper.source(source_id)
        except KheishError:
            continue
        for name in names:
            doc = await asyncio.to_thread(state.index.thing, "observation_batch", name.partition(".")[0])
            if not _is_needed(name, observations.read_batch(doc) if doc is not None else None, source):
                await asyncio.to_thread(store.drop_key, state.root, source_id, name)


def _is_needed(name: str, batch: Batch | None, source: Source) -> bool:
    """Return whether the file of a key has contents that are kept."""
    if batch is None:
        return False
    if source.rest is not None and source.rest.batch_id == batch.batch_id:
        return name == source.rest.path.rpartition("/")[2]
    return batch.file.first > source.purged and name == batch.file.path.rpartition("/")[2]
