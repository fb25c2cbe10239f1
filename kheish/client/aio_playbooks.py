"""Playbooks by the asynchronous client, as `playbooks.py` has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kheish.client.aio import AsyncDefinitions, AsyncKheish
from kheish.client.calls import (
    version_blame,
    version_diff,
    version_get,
    version_list,
    version_publish,
    version_release,
    version_text,
)
from kheish.client.playbooks import KIND
from kheish.client.shapes import Evidence, Json, Page, Version


class AsyncPlaybooks(AsyncDefinitions):
    """As `Playbooks`."""

    def __init__(self, client: AsyncKheish) -> None:
        super().__init__(client, KIND)

    async def versions(self, name: str, **query: object) -> Page[Version]:
        """One page, newest first; `state` filters."""
        return await self._send(version_list(name, query))

    async def version(self, name: str, version: str, *, at: str | None = None) -> Version:
        return await self._send(version_get(name, version, at))

    async def version_text(self, name: str, version: str) -> str:
        """The manifest of a version, byte for byte."""
        return (await self._send(version_text(name, version))).text

    async def publish(self, name: str, version: str, *, notes: str | None = None) -> Version:
        """Make the draft a version. Raises InvalidDefinition, VersionExists, DraftNotCommitted."""
        return await self._send(version_publish(name, version, notes))

    async def release(
        self, name: str, version: str, state: str, *, evidence: Sequence[Evidence] = (), **more: Any
    ) -> Version:
        """Move a version to another state; `more`: percent, reason, cancel_flows. Raises ReleaseStateConflict."""
        return await self._send(version_release(name, version, state, evidence, more))

    async def diff(self, name: str, before: str | None = None, after: str | None = None) -> Json:
        """What changed, by field and as text; without versions, from the newest to the draft."""
        return await self._send(version_diff(name, before, after))

    async def blame(self, name: str, version: str | None = None) -> Page[Json]:
        return await self._send(version_blame(name, version))
