"""The assets that a caller may see: those that it stored, and those that sessions use which it may see."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kheish.api.http import filtering, paging
from kheish.auth.tokens import Principal
from kheish.domain.assets import asset as assets
from kheish.domain.assets.asset import Asset
from kheish.domain.events import Item
from kheish.errors import Fault, Invalid, NotFound
from kheish.runtime.assets import users
from kheish.state.state import State

Use = Mapping[str, Any]


async def get(state: State, caller: Principal, asset_id: str) -> Asset:
    """Return an asset that the caller may see. Raises NotFound, Unavailable."""
    asset = await assets.get(state, asset_id)
    if caller.limits and not assets.has_stored(asset, caller.name):
        uses = await users.first(state, asset_id, most=paging.MOST)
        if not await permitted(state, caller, uses):
            raise assets.missing(asset_id)
    return asset


def name_for(caller: Principal, asset: Asset) -> str:
    """Return the name of an asset as a caller sees it (`own`)."""
    own_names = (one.name for one in asset.holders if caller.limits and one.created_by == caller.name)
    return next(own_names, asset.name)


async def check(state: State, caller: Principal, items: Sequence[Item]) -> None:
    """Check that the caller may see the assets of a task. Raises Invalid, as for assets that do not exist."""
    named = {number: item.asset_id or "" for number, item in enumerate(items) if item.type == "asset"}
    await _check(state, caller, named, "/items/{number}/asset_id")


async def check_ids(state: State, caller: Principal, asset_ids: Sequence[str], where: str) -> None:
    """Check that the caller may see assets; `where` is the place of each in the request. Raises Invalid."""
    await _check(state, caller, dict(enumerate(asset_ids)), where)


async def _check(state: State, caller: Principal, named: Mapping[int, str], where: str) -> None:
    if not caller.limits:
        return
    faults, seen = [], dict[str, bool]()
    for number, asset_id in named.items():
        if asset_id not in seen:
            try:
                seen[asset_id] = await get(state, caller, asset_id) is not None
            except NotFound:
                seen[asset_id] = False
        if not seen[asset_id]:
            faults.append(Fault(where.format(number=number), f"there is no asset {asset_id!r}"))
    if faults:
        raise Invalid("; ".join(f"{one.path}: {one.message}" for one in faults) + ".", errors=faults)


async def permitted(state: State, caller: Principal, uses: Iterable[Use]) -> list[Use]:
    """Return the uses in sessions that the caller may see."""
    return [
        use
        for use in uses
        if not caller.limits
        or (use["session_id"] is not None and await filtering.may_see(state, caller, use["session_id"]))
    ]


async def own(state: State, caller: Principal, doc: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of an asset that a caller with filters sees otherwise: the name and the origin under which it
    stored the same content itself, and no origin in a session that it may not see."""
    for holder in doc.get("holders") or ():  # a document of an earlier version has none
        if holder["created_by"] == caller.name:
            return dict(holder)
    session_id = doc["origin"]["session_id"]
    if session_id is None or await filtering.may_see(state, caller, session_id):
        return {}
    return {"origin": {name: doc["origin"][name] if name == "kind" else None for name in doc["origin"]}}
