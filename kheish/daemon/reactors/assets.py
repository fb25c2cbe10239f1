"""Conversion of assets: begun when one is stored, and at the start for those that an earlier daemon left."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from kheish.daemon.reactors.base import Reactor
from kheish.domain import events
from kheish.errors import Unavailable
from kheish.runtime.assets.service import Assets as Service
from kheish.state.encoding import Recorded
from kheish.state.state import State
from kheish.store import assets as store

_PAGE = 200


class Assets(Reactor):
    """Begins conversions; each ends with an entry, so that none is begun twice."""

    reacts_to = frozenset((events.AssetStored,))

    def __init__(self, state: State, service: Service) -> None:
        self._state = state
        self._service = service

    async def prepare(self) -> None:
        """Remove files that were being received when an earlier daemon ended."""
        await asyncio.to_thread(store.clear, self._state.root)

    async def start(self) -> None:
        """Begin the conversions that are open."""
        with contextlib.suppress(Unavailable):  # those that are not in the index by then are heard of
            await self._state.caught_up(timeout=60)
        cursor: str | None = None
        while True:
            index = self._state.index
            page = await asyncio.to_thread(index.things, "asset", limit=_PAGE, cursor=cursor, statuses=("pending",))
            for doc in page.items:
                self._service.deriver.begin(doc["asset_id"])
            cursor = page.next_cursor
            if cursor is None:
                return

    def heard(self, batch: Sequence[Recorded]) -> None:
        """Begin the conversion of what was stored."""
        for item in batch:
            if isinstance(item.entry.event, events.AssetStored):
                self._service.deriver.begin(item.entry.event.asset_id)

    async def close(self) -> None:
        """Stop the conversions."""
        await self._service.deriver.close()
