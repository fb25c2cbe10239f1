"""Users of assets: runs, messages, evidence, calls and observations, from the index; channels that pin one, from their
files."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from kheish import ids
from kheish.domain.assets import asset as assets
from kheish.domain.assets.asset import Asset
from kheish.domain.channels import attachment as attachments
from kheish.state.state import State

_PAGE = 200
_FEW = 20
_STORED = ("pending", "ready")


async def first(state: State, asset_id: str, most: int) -> list[Mapping[str, Any]]:
    """Return the newest users of an asset, with all that was appended before. Raises Unavailable."""
    await state.durable()
    await state.caught_up()
    page = await asyncio.to_thread(state.index.things, "asset_reference", limit=most, fields={"asset_id": asset_id})
    seen = await asyncio.to_thread(observed, state, asset_id)
    # The index may still have those of a session that was deleted a moment ago.
    return [*pinned(state, asset_id), *seen, *(one for one in page.items if one["session_id"] not in state.deleted)][
        :most
    ]


def pinned(state: State, asset_id: str) -> list[Mapping[str, Any]]:
    """Return the channels whose files pin an asset."""
    channels = state.definitions.by_kind.get("channels", {})
    return [
        {"kind": "channel", "id": id, "session_id": None, "run_id": None, "asset_id": asset_id}
        for id, channel in channels.items()
        if asset_id in getattr(channel.value, "assets", ())
    ]


def observed(state: State, asset_id: str) -> list[Mapping[str, Any]]:
    """Return the newest messages of channels and observations that use an asset. Blocks on disk."""
    found = state.index.things("observation", limit=_FEW, fields={"asset_id": asset_id}).items
    purged = {id: (state.index.thing("source", id) or {}).get("purged", 0) for id in {one["source"] for one in found}}
    return [
        *_attached(state, asset_id),
        *(
            {
                "kind": "observation",
                "id": one["observation_id"],
                "session_id": None,
                "run_id": None,
                "asset_id": asset_id,
                "at": one["received_at"],
            }
            for one in found
            if one["number"] > purged[one["source"]]
        ),
    ]


def _attached(state: State, asset_id: str) -> list[Mapping[str, Any]]:
    """Return the newest messages of channels that have an asset attached, unless they are removed. Blocks on disk."""
    found = state.index.things("channel_attachment", limit=_FEW, fields={"asset_id": asset_id}).items
    there = [attachments.read(doc) for doc in found]
    posts = {one.message: state.index.thing("post", one.message) for one in there}
    return [
        {
            "kind": "channel_message",
            "id": f"{one.channel}/{one.message_id}",
            "session_id": None,
            "run_id": None,
            "asset_id": asset_id,
            "at": one.at,
        }
        for one in there
        if (post := posts[one.message]) is not None and post["removed_at"] is None
    ]


def named(use: Mapping[str, Any]) -> str:
    """Return a user of an asset as a message names it."""
    where = f" of the session {use['session_id']}" if use.get("session_id") else ""
    kind = str(use["kind"]).replace("_", " ")
    return f"the {kind} {use['id']}{where}"


def unused(state: State, before: float) -> list[Asset]:
    """Return the assets without users that were stored before a time. Blocks on disk."""
    found: list[Asset] = []
    cursor: str | None = None
    while True:
        page = state.index.things("asset", limit=_PAGE, cursor=cursor, statuses=_STORED)
        for doc in page.items:
            fields = {"asset_id": doc["asset_id"]}
            is_old = ids.seconds_of(doc["created_at"]) <= before
            is_used = state.index.count("asset_reference", at_most=1, fields=fields)
            if is_old and not is_used and not observed(state, doc["asset_id"]):
                found.append(assets.read(doc))
        cursor = page.next_cursor
        if cursor is None:
            return [one for one in found if not pinned(state, one.asset_id)]
