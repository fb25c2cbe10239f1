"""An asset: a stored file with a card, and what was derived from it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal

from kheish.domain import events
from kheish.domain.events import AssetImage, AssetOrigin, AssetPart, Entry, Event, Item, changed, frozen
from kheish.domain.events.assets import ASSETS as ASSETS
from kheish.domain.shown import View
from kheish.errors import NotFound
from kheish.state import pins
from kheish.state.event import adapter
from kheish.state.noun import Noun, always

if TYPE_CHECKING:
    from kheish.state.state import State

PREFIX = "sha256:"
CONTENT, CARD = "content", "card.yaml"
_ID = re.compile(r"sha256:[0-9a-f]{64}")


@frozen
class Derived(View):
    """The text that was derived from an asset."""

    shown_as = "DerivedText"
    converter: str
    version: str
    chars: int
    why: str | None = None
    """The reason why it is less than the whole text."""


@frozen
class AssetHolder(View):
    """A further token that stored the same content, under a name of its own."""

    shown_as = "AssetHolder"
    created_by: str
    created_at: str
    name: str
    origin: AssetOrigin


@frozen
class Asset(View):
    """A stored file."""

    shown_as = "AssetCard"
    asset_id: str
    """`sha256:` and the digest of its content."""
    name: str
    media_type: str
    """The type that its content shows; the claimed one where the content shows none."""
    bytes: int
    origin: AssetOrigin
    created_at: str
    created_by: str
    status: Literal["pending", "ready", "deleted"]
    """`pending` until its text was derived, or could not be."""
    derived: Derived | None = None
    why: str | None = None
    """The reason why there is no text."""
    image: AssetImage | None = None
    """The copy of an image that models get."""
    preview: AssetImage | None = None
    text: AssetPart | None = None
    holders: tuple[AssetHolder, ...] = ()
    """Further tokens that stored the same content."""
    path: str = ""
    """Its folder in the state root."""
    made: int = 0
    n: int = 0


FOLDED = (events.AssetStored, events.AssetStoredAgain, events.AssetDerived, events.AssetDeleted)


def fold(table: dict[str, Asset], entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    match entry.event:
        case events.AssetStored() as event:
            table[event.asset_id] = Asset(
                asset_id=event.asset_id,
                name=event.name,
                media_type=event.media_type,
                bytes=event.bytes,
                origin=event.origin,
                created_at=entry.at,
                created_by=entry.actor,
                status="pending",
                path=event.path,
                made=entry.n,
                n=entry.n,
            )
            return (event.asset_id,)
        case events.AssetStoredAgain(asset_id=id) as event if id in table and is_stored(table[id]):
            if not has_stored(table[id], entry.actor):
                table[id] = _held(table[id], event, entry)
            return (id,)
        case events.AssetDerived(asset_id=id) as event if id in table and table[id].status == "pending":
            table[id] = _derived(table[id], event, entry.n)
            return (id,)
        case events.AssetDeleted(asset_id=id) if id in table:
            table[id] = changed(table[id], status="deleted", n=entry.n)
            return (id,)
    return ()


def _held(old: Asset, event: events.AssetStoredAgain, entry: Entry) -> Asset:
    holder = AssetHolder(created_by=entry.actor, created_at=entry.at, name=event.name, origin=event.origin)
    return changed(old, holders=(*old.holders, holder), n=entry.n)


def _derived(old: Asset, event: events.AssetDerived, n: int) -> Asset:
    has_text = event.text is not None
    derived = Derived(
        converter=event.converter or "", version=event.version or "", chars=event.chars, why=event.why
    )  # fmt: skip
    return changed(
        old,
        status="ready",
        derived=derived if has_text else None,
        why=None if has_text else event.why,
        text=event.text,
        image=event.image,
        preview=event.preview,
        n=n,
    )


def read(document: dict[str, Any]) -> Asset:
    """Return the asset that a document of the index describes."""
    asset: Asset = adapter(Asset).validate_python(document)
    return asset


def is_stored(asset: Asset) -> bool:
    """Return whether the asset exists, so that it has a card."""
    return asset.status != "deleted"


def has_stored(asset: Asset, actor: str) -> bool:
    """Return whether an actor stored the asset, first or later."""
    return actor == asset.created_by or any(one.created_by == actor for one in asset.holders)


NOUN = Noun(
    name="asset",
    cls=Asset,
    folded=frozenset(FOLDED),
    fold=lambda tables, entry: fold(tables[Asset], entry),
    keep=always,  # an owner is one asset
    view=lambda asset: asset,
    filed=lambda asset: f"{asset.path}/{CARD}",
    recorded=is_stored,
    filters=("media_type",),
    read=read,
)


# --- places -----------------------------------------------------------------------------------------------------------


def folder_of(asset_id: str) -> str:
    """Return the folder of an asset, relative to the state root."""
    digest = asset_id.removeprefix(PREFIX)
    return f"assets/{digest[:2]}/{digest}"


def content_of(asset: Asset | events.AssetStored) -> str:
    """Return the path of the asset's content, relative to the state root."""
    return f"{asset.path}/{CONTENT}"


def files_of(event: Event) -> Iterator[str]:
    """Yield the files in the state root that an event names; they were written before it."""
    match event:
        case events.AssetStored():
            yield content_of(event)
        case events.AssetDerived(path=path):
            yield from (f"{path}/{one.name}" for one in (event.text, event.image, event.preview) if one is not None)


# --- looking up -------------------------------------------------------------------------------------------------------


def is_id(text: str) -> bool:
    """Return whether a text has the form of an asset's id."""
    return _ID.fullmatch(text) is not None


def find(state: State, asset_id: str) -> Asset | None:
    """Return a stored asset whose owner is loaded, unless it is being deleted."""
    asset = state.find(Asset, asset_id)
    is_gone = asset is None or not is_stored(asset) or asset_id in state.derived.get(Asset, ())
    return None if is_gone else asset


async def get(state: State, asset_id: str) -> Asset:
    """Return a stored asset. Raises NotFound, Unavailable."""
    if is_id(asset_id):
        with suppress(NotFound):
            async with pins.owner(state, ASSETS, asset_id):
                if (asset := find(state, asset_id)) is not None:
                    return asset
    raise missing(asset_id)


@asynccontextmanager
async def using(state: State, items: Iterable[Item]) -> AsyncIterator[None]:
    """Keep the assets loaded that items name, so that their submission can be judged. Raises Unavailable."""
    async with using_ids(state, [item.asset_id for item in items if item.asset_id]):
        yield


@asynccontextmanager
async def using_ids(state: State, asset_ids: Iterable[str]) -> AsyncIterator[None]:
    """Keep assets loaded by their ids; other texts are passed over. Raises Unavailable."""
    async with AsyncExitStack() as used:
        for asset_id in dict.fromkeys(filter(is_id, asset_ids)):
            await used.enter_async_context(pins.owner(state, ASSETS, asset_id))
        yield


def missing(asset_id: str) -> NotFound:
    """Return the error for an id without a stored asset."""
    form = "" if is_id(asset_id) else "; an id is sha256: and 64 hexadecimal digits"
    return NotFound(f"There is no asset {asset_id[:200]!r}{form}.")
