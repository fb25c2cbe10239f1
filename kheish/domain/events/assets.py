"""Events of assets: entries of the stream `assets`, each about one stored file."""

from __future__ import annotations

from typing import Literal

from kheish.domain.shown import View
from kheish.state.event import Event, frozen

ASSETS = "assets"


@frozen
class AssetOrigin(View):
    """The origin of an asset; of a tool's, its call."""

    shown_as = "AssetOrigin"
    kind: Literal["upload", "tool", "connector", "observation"]
    session_id: str | None = None
    run_id: str | None = None
    call_id: str | None = None
    path: str | None = None
    """The file in the workspace."""


@frozen
class AssetPart(View):
    """A file that was derived from an asset, beside it."""

    shown_as = "AssetPart"
    name: str
    sha256: str
    bytes: int


@frozen
class AssetImage(View):
    """An image that was derived from an asset: upright, without metadata."""

    shown_as = "AssetImage"
    name: str
    sha256: str
    bytes: int
    media_type: str
    width: int
    height: int


@frozen
class AssetStored(Event):
    """A file whose content is on disk, in the folder `path` of the state root."""

    kind = "asset.stored"
    stream = ASSETS
    owned_by = "asset_id"
    headline = "asset stored: {name}"
    asset_id: str
    path: str
    name: str
    media_type: str
    bytes: int
    origin: AssetOrigin


@frozen
class AssetStoredAgain(Event):
    """The upload of the same content by a token that sees some sessions only: from now on it sees the asset, as its
    own."""

    kind = "asset.stored_again"
    stream = ASSETS
    owned_by = "asset_id"
    asset_id: str
    path: str
    name: str
    origin: AssetOrigin


@frozen
class AssetDerived(Event):
    """The only conversion of an asset. `why` says why there is no text, or less than all of it."""

    kind = "asset.derived"
    stream = ASSETS
    owned_by = "asset_id"
    asset_id: str
    path: str
    converter: str | None = None
    version: str | None = None
    chars: int = 0
    why: str | None = None
    text: AssetPart | None = None
    image: AssetImage | None = None
    preview: AssetImage | None = None


@frozen
class AssetDeleted(Event):
    """The removal of an asset's folder from the tree; git's history keeps it."""

    kind = "asset.deleted"
    stream = ASSETS
    owned_by = "asset_id"
    headline = "asset deleted: {name}"
    asset_id: str
    path: str
    name: str
    reason: Literal["asked", "gc"] = "asked"
