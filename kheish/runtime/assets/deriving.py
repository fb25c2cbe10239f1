"""Derived text and images of assets: one conversion each, whose result is journaled, whatever it is."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from hashlib import sha256

from kheish.domain import events
from kheish.domain.assets import asset as assets
from kheish.domain.assets.asset import ASSETS, Asset
from kheish.domain.events import AssetImage, AssetPart
from kheish.errors import Damaged, KheishError, NotFound
from kheish.jobs.converting import convert, limits
from kheish.jobs.converting.convert import Conversion
from kheish.runtime.assets import types
from kheish.runtime.assets.keeper import Keeper
from kheish.runtime.assets.places import Places
from kheish.runtime.assets.transcribing import NO_ROUTE, NotTranscribed, Transcript
from kheish.state import pins
from kheish.store import assets as store

log = logging.getLogger(__name__)

_AT_ONCE, _EACH = 3, 2  # conversions: of all, and of what one token or source stored, so that others go ahead
_REMEMBERED = 16 * 1024 * 1024  # characters of texts that stay in memory, since a run reads them at each turn
TEXT = "text.txt"
_ENDINGS = {"image/png": "png", "image/jpeg": "jpg"}
_IMAGES = ("image", "preview")
Transcribe = Callable[[bytes, str, str], Awaitable[Transcript]]


class Deriver:
    """The conversions of assets. `is_confined()` returns whether bubblewrap works on this machine; `transcribe(content,
    type, digest)` returns the text of a recording."""

    def __init__(self, keeper: Keeper, is_confined: Callable[[], bool], transcribe: Transcribe | None = None) -> None:
        self._keeper = keeper
        self._is_confined = is_confined
        self._transcribe = transcribe
        self._converting = Places(_AT_ONCE, _EACH)
        self._listening = Places(_AT_ONCE, _EACH)  # a server takes its time, and no file waits for it
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._texts: OrderedDict[str, str] = OrderedDict()

    def begin(self, asset_id: str) -> asyncio.Task[None]:
        """Convert an asset that is not converted yet; returns the task, the same for all callers."""
        task = self._tasks.get(asset_id)
        if task is None:
            task = self._tasks[asset_id] = asyncio.create_task(self._derive(asset_id), name=f"derive {asset_id}")
            task.add_done_callback(lambda _: self._tasks.pop(asset_id, None))
        return task

    async def settled(self, asset: Asset, timeout: float) -> Asset:
        """Return the asset as it is when it is converted, or after so many seconds. Raises NotFound."""
        if asset.status == "pending":
            await asyncio.wait([self.begin(asset.asset_id)], timeout=timeout)
            return await assets.get(self._keeper.state, asset.asset_id)
        return asset

    async def text(self, asset: Asset) -> str | None:
        """Return the text of a converted asset, or None if it has none. Raises Damaged."""
        if asset.text is None:
            return None
        known = self._texts.get(asset.text.sha256)
        if known is None:
            raw = await self._keeper.part(asset, asset.text)
            known = await asyncio.to_thread(raw.decode, "utf-8", "replace")
            self._texts[asset.text.sha256] = known
            while sum(map(len, self._texts.values())) > _REMEMBERED and len(self._texts) > 1:
                self._texts.popitem(last=False)
        else:
            self._texts.move_to_end(asset.text.sha256)
        return known

    async def converted(self, content: bytes, media_type: str, owner: str) -> Conversion:
        """Convert a content that is stored nowhere, in memory; `owner` sent it."""
        async with self._places_for(media_type).place(owner):
            return await self._convert(content, media_type)

    def _places_for(self, media_type: str) -> Places:
        return self._listening if types.is_audio(media_type) else self._converting

    async def _convert(self, content: bytes, media_type: str) -> Conversion:
        """Return the conversion of a content that was verified."""
        if types.is_audio(media_type):
            return await self._transcribed(content, media_type)
        if (why := _refusal(media_type)) is not None:
            return Conversion(why=why)
        return await _convert(content, media_type, is_confined=self._is_confined())

    async def _transcribed(self, content: bytes, media_type: str) -> Conversion:
        if self._transcribe is None:
            return Conversion(why=NO_ROUTE)
        try:
            found = await self._transcribe(content, media_type, sha256(content).hexdigest())
        except NotTranscribed as error:
            return Conversion(why=str(error))
        raw = found.text.encode("utf-8", "replace")[: limits.TEXT_BYTES]
        text = raw.decode("utf-8", "ignore")
        why = "The text was longer, and is cut." if len(text) < len(found.text) else None
        return Conversion(
            converter=f"route:{found.route}", version=found.model, chars=len(text), why=why, text=text.encode()
        )

    async def close(self) -> None:
        """Stop the conversions; the next start begins them again."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _derive(self, asset_id: str) -> None:
        state = self._keeper.state
        try:
            given = await assets.get(state, asset_id)
            async with self._places_for(given.media_type).place(given.created_by), pins.owner(state, ASSETS, asset_id):
                asset = assets.find(state, asset_id)
                if asset is None or asset.status != "pending":
                    return
                event = await self._converted(asset)
                if assets.find(state, asset_id) == asset:
                    state.append(event.on())
                    await state.durable()
        except NotFound:
            return
        except KheishError as error:
            log.warning("%s could not be converted: %s", asset_id, error.detail)

    async def _converted(self, asset: Asset) -> events.AssetDerived:
        """Return the event of a conversion, with its files on disk."""
        try:
            content = await self._keeper.content(asset)
        except Damaged as error:
            return _failed(asset, error.detail)
        done = await self._convert(content, asset.media_type)
        try:
            text = await self._place(asset, TEXT, done.text) if done.text is not None else None
            images = [
                await self._place_image(asset, name, image)
                for name, image in zip(_IMAGES, done.images, strict=False)
            ]  # fmt: skip
        except OSError as error:
            return _failed(asset, f"The result could not be written: {error.strerror}.")
        image, preview = (*images, None, None)[:2]
        return events.AssetDerived(
            asset_id=asset.asset_id,
            path=asset.path,
            converter=done.converter,
            version=done.version,
            chars=done.chars,
            why=done.why,
            text=text,
            image=image,
            preview=preview,
        )

    async def _place(self, asset: Asset, name: str, content: bytes) -> AssetPart:
        await asyncio.to_thread(store.place_part, self._keeper.state.root, f"{asset.path}/{name}", content)
        return AssetPart(name=name, sha256=sha256(content).hexdigest(), bytes=len(content))

    async def _place_image(self, asset: Asset, name: str, image: convert.Image) -> AssetImage:
        part = await self._place(asset, f"{name}.{_ENDINGS[image.media_type]}", image.content)
        return AssetImage(
            name=part.name,
            sha256=part.sha256,
            bytes=part.bytes,
            media_type=image.media_type,
            width=image.width,
            height=image.height,
        )


def _failed(asset: Asset, why: str) -> events.AssetDerived:
    return events.AssetDerived(asset_id=asset.asset_id, path=asset.path, why=why)


def _refusal(media_type: str) -> str | None:
    """Return why a type is not converted, or None."""
    if types.is_text(media_type) or media_type in types.DOCUMENTS or media_type.startswith("image/"):
        return None
    return f"No text is derived from files of the type {media_type}."


async def _convert(content: bytes, media_type: str, *, is_confined: bool) -> Conversion:
    """Convert the content that was verified, from a file in memory that only the child reads."""
    file = await asyncio.to_thread(_in_memory, content)
    try:
        return await convert.convert(file, media_type, is_confined=is_confined)
    except OSError as error:
        return Conversion(why=f"The converter could not be started: {error.strerror}.")
    finally:
        os.close(file)


def _in_memory(content: bytes) -> int:
    file = os.memfd_create("kheish-asset")
    view = memoryview(content)
    while view:
        view = view[os.write(file, view) :]
    os.lseek(file, 0, os.SEEK_SET)
    return file
