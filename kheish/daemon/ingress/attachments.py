"""Attachments of messages: fetched from the platform, and stored as assets that the run is given. What cannot be
fetched is named in the run's input, so that nothing is lost unseen."""

from __future__ import annotations

import asyncio
from typing import Any

from kheish.daemon.ingress.credentials import Credentials
from kheish.domain.connectors import receipt as receipts
from kheish.domain.connectors.arrival import Arrival
from kheish.domain.connectors.definition import AUDIENCE, ConnectorFile
from kheish.domain.events import AssetOrigin, Item
from kheish.errors import AssetTypeMismatch, Invalid, PlatformRefused, TooLarge
from kheish.runtime.assets.service import Assets
from kheish.state.state import State
from kheish.texts import is_blank

#: errors of one file, after which the message is taken in without it
_LEFT_OUT = (AssetTypeMismatch, Invalid, PlatformRefused, TooLarge)


class Attachments:
    """The attachments of all connectors."""

    def __init__(self, state: State, assets: Assets | None, credentials: Credentials) -> None:
        self._state = state
        self._assets = assets
        self._credentials = credentials

    async def items(self, connector_id: str, file: ConnectorFile, arrival: Arrival) -> tuple[Item, ...]:
        """Return the items of a run: the text, and an asset for each attachment. Raises PlatformUnavailable,
        PlatformUnclear, and InsufficientStorage: then the message is taken in later."""
        text = () if is_blank(arrival.content) else (Item(text=arrival.content),)
        if not arrival.files or file.target.input is None or self._assets is None:
            return text or (Item(text="(A message without text.)"),)
        if await receipts.find(self._state, connector_id, arrival.keys) is not None:
            return text  # a duplicate: its attachments are there
        items, missing = list(text), list[str]()
        for one in arrival.files:
            try:
                items.append(Item(type="asset", asset_id=await self._store(connector_id, file, one)))
            except _LEFT_OUT as error:
                missing.append(f"(The attachment {one.get('name') or 'without a name'} is missing: {error.detail})")
        return (*items, *([Item(text="\n".join(missing))] if missing else []))

    async def _store(self, connector_id: str, file: ConnectorFile, one: dict[str, Any]) -> str:
        assert self._assets is not None
        keeper, name = self._assets.keeper, f"{AUDIENCE}{connector_id}"
        content, shown = await self._fetch(connector_id, file, one, keeper.most)
        async with keeper.receive() as incoming:
            await asyncio.to_thread(incoming.write, content)
            origin = AssetOrigin(kind="connector")
            asset, _ = await keeper.store(incoming, shown, one.get("media"), origin, by=name)
        return asset.asset_id

    async def _fetch(
        self, connector_id: str, file: ConnectorFile, one: dict[str, Any], most: int
    ) -> tuple[bytes, str | None]:
        if file.kind == "slack":
            client = self._credentials.slack(connector_id, file)
            return await client.download(one["url"], limit=most), one.get("name")
        bot = self._credentials.telegram(connector_id, file)
        found = await bot.call("getFile", {"file_id": one["file_id"]})
        path = found.get("file_path") if isinstance(found, dict) else None
        if not isinstance(path, str):
            raise PlatformRefused("Telegram has no such file.", reason="too_large")
        return await bot.download(path, limit=most), one.get("name") or path.rpartition("/")[2]
