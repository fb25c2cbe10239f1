"""The keeper of assets: stores a received file, reads it again, and removes what nothing uses.

A file is on disk before the entry that names it, so a kill leaves a file without an entry, which the next start
removes, and never an entry without its file.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

from kheish.auth import redaction
from kheish.domain import events
from kheish.domain.assets import asset as assets
from kheish.domain.assets.asset import ASSETS, CONTENT, PREFIX, Asset
from kheish.domain.events import AssetImage, AssetOrigin, AssetPart
from kheish.errors import AssetReferenced, Damaged, InsufficientStorage, SecretInUpload
from kheish.runtime.assets import types, users
from kheish.state import pins
from kheish.state.state import State
from kheish.store import assets as store
from kheish.store.assets import Incoming

_CHUNK, _OVERLAP = 1 << 20, 32 * 1024  # bytes of a file that are searched at a time
_AT_ONCE = 4  # files that are decoded, and those that are read, whole in memory at the same time


#: the choice of those users of an asset that a caller may see
Seeing = Callable[[Sequence[Mapping[str, Any]]], Awaitable[Sequence[Mapping[str, Any]]]]


class Reports(Protocol):
    """The problems that are reported, and cleared again; `authoring.problems.Problems` is one, a layer above."""

    def add(self, code: str, path: str, message: str) -> None: ...

    def clear(self, code: str, path: str | None = None) -> None: ...


class Keeper:
    """The files of assets."""

    def __init__(self, state: State, reports: Reports) -> None:
        self.state = state
        self._reports = reports
        self._locks: dict[str, asyncio.Lock] = {}
        self._waiting: Counter[str] = Counter()
        self.receiving = asyncio.Semaphore(_AT_ONCE)
        self._reading = asyncio.Semaphore(_AT_ONCE)
        self._deleting: set[str] = state.derived.setdefault(Asset, set())

    @property
    def most(self) -> int:
        """The largest size of an asset in bytes."""
        return self.state.definitions.config.assets.max

    # --- storing ------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def receive(self, *, most: int | None = None) -> AsyncIterator[Incoming]:
        """Provide a private file to write to, of `most` bytes, or of an asset's. Raises InsufficientStorage."""
        if self.state.low_space:
            raise InsufficientStorage(self.state.low_space)
        incoming = await asyncio.to_thread(Incoming, self.state.root, most or self.most)
        try:
            yield incoming
        finally:
            await asyncio.to_thread(incoming.discard)

    async def store(
        self,
        incoming: Incoming,
        name: str | None,
        claimed: str | None,
        origin: AssetOrigin,
        *,
        by: str,
        holds: bool = False,
    ) -> tuple[Asset, bool]:
        """Store a received file, and return whether it is new. The same content is stored once, under its first name.

        `holds`: whether the actor is kept as a further holder of what others have stored, for whom it is new, then.

        Raises Invalid, AssetTypeMismatch, SecretInUpload, Unavailable.
        """
        name, claimed = types.clean_name(name), types.clean_claim(claimed)
        digest = await asyncio.to_thread(incoming.finish)
        if await asyncio.to_thread(_holds_secret, incoming.path, self.state.scrub):
            raise SecretInUpload(
                f"{name} holds a known secret, and would be committed with it. Remove the secret from the file; if the "
                "file was shared, rotate it."
            )
        media_type = await asyncio.to_thread(types.decide, incoming.head, incoming.path, name, claimed)
        asset_id = f"{PREFIX}{digest}"
        async with self._alone(asset_id):
            path = assets.folder_of(asset_id)
            await asyncio.to_thread(store.place, self.state.root, f"{path}/{CONTENT}", incoming, digest)
            self._reports.clear("asset_damaged", f"{path}/{CONTENT}")
            async with pins.owner(self.state, ASSETS, asset_id):
                is_new = assets.find(self.state, asset_id) is None
                if is_new:
                    stored = events.AssetStored(
                        asset_id=asset_id,
                        path=path,
                        name=name,
                        media_type=media_type,
                        bytes=incoming.bytes,
                        origin=origin,
                    )
                    self.state.append(stored.on(by=by))
                elif holds and not assets.has_stored(self.state.get(Asset, asset_id), by):
                    again = events.AssetStoredAgain(asset_id=asset_id, path=path, name=name, origin=origin)
                    self.state.append(again.on(by=by))
                    is_new = True
                asset = self.state.get(Asset, asset_id)
        await self.state.durable()
        return asset, is_new

    @asynccontextmanager
    async def _alone(self, asset_id: str) -> AsyncIterator[None]:
        """Keep others from storing or removing the same content meanwhile."""
        lock = self._locks.setdefault(asset_id, asyncio.Lock())
        self._waiting[asset_id] += 1
        try:
            async with lock:
                yield
        finally:
            self._waiting[asset_id] -= 1
            if not self._waiting[asset_id]:
                del self._waiting[asset_id], self._locks[asset_id]

    # --- reading ------------------------------------------------------------------------------------------------------

    async def content(self, asset: Asset) -> bytes:
        """Return the content, compared with its digest. Raises Damaged, which is a problem, too."""
        return await self._read(asset, CONTENT, asset.asset_id.removeprefix(PREFIX), asset.bytes)

    async def part(self, asset: Asset, part: AssetPart | AssetImage) -> bytes:
        """Return a derived file. Raises Damaged."""
        return await self._read(asset, part.name, part.sha256, part.bytes)

    async def _read(self, asset: Asset, name: str, digest: str, size: int) -> bytes:
        path, root = f"{asset.path}/{name}", self.state.root
        async with self._reading:
            is_intact = await asyncio.to_thread(store.is_intact, root, path, digest, size)
            try:
                content = await asyncio.to_thread(store.read, root, path, digest=digest, size=size)
            except Damaged as error:
                text = f"{error.detail} Upload the file once more, or restore it from a backup."
                self._reports.add("asset_damaged", path, text)
                raise
        if is_intact:
            self._reports.clear("asset_damaged", path)
        else:
            text = "The file was changed or removed. Readers get the content that git has; the file is restored soon."
            self._reports.add("asset_damaged", path, text)
        return content

    # --- removing -----------------------------------------------------------------------------------------------------

    async def delete(
        self, asset_id: str, *, by: str, reason: Literal["asked", "gc"] = "asked", sees: Seeing | None = None
    ) -> Asset:
        """Remove an asset. Raises NotFound, AssetReferenced (with `referenced_by`).

        `sees`: for a caller that sees some sessions only, the users that it may know; what others stored, too, stays.
        """
        async with self._alone(asset_id):
            asset = await assets.get(self.state, asset_id)
            self._deleting.add(asset_id)  # from now on no submission can name it
            try:
                await self._refuse_used(asset_id, sees)
                if sees is not None:
                    _refuse_held(self.state.get(Asset, asset_id), by)
                async with pins.owner(self.state, ASSETS, asset_id):
                    deleted = events.AssetDeleted(asset_id=asset_id, path=asset.path, name=asset.name, reason=reason)
                    self.state.append(deleted.on(by=by))
            finally:
                self._deleting.discard(asset_id)
        await self.state.durable()
        self._reports.clear("asset_damaged", f"{asset.path}/{CONTENT}")
        return asset

    async def _refuse_used(self, asset_id: str, sees: Seeing | None) -> None:
        uses = await users.first(self.state, asset_id, most=20)
        if not uses:
            return
        shown = uses if sees is None else await sees(uses)
        names = [users.named(one) for one in shown]
        named = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        others = (" and others" if names else "others") if len(shown) < len(uses) else ""
        raise AssetReferenced(f"The asset is used by {named}{others}, so that it stays.", referenced_by=names)

    async def unused(self, older_than: float) -> list[Asset]:
        """Return the assets that nothing uses, and that were stored longer than so many seconds ago."""
        before = self.state.clock() - older_than
        await self.state.durable()
        await self.state.caught_up()
        return await asyncio.to_thread(users.unused, self.state, before)


def _holds_secret(file: Path, scrub: Callable[[bytes], bytes]) -> bool:
    """Return whether a file holds a known secret; parts overlap by more than a secret has. Blocks on disk."""
    rest = b""
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            part = rest + chunk
            if redaction.scrub_file(part, scrub) != part:
                return True
            rest = part[-_OVERLAP:]
    return False


def _refuse_held(asset: Asset, by: str) -> None:
    if any(one != by for one in (asset.created_by, *(holder.created_by for holder in asset.holders))):
        raise AssetReferenced("Others stored the same content, so that it stays.", referenced_by=[])
