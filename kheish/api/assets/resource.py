"""Assets by HTTP: store, list, get, raw content, text, users, delete, collect."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal
from urllib.parse import quote

from falcon.asgi import Request, Response
from pydantic import Field

from kheish import ids
from kheish.api import views
from kheish.api.assets import seeing, uploads
from kheish.api.assets.uploads import StoreAsset
from kheish.api.http import filtering, media, paging
from kheish.api.http.answer import Answer
from kheish.api.http.bodies import Body
from kheish.api.http.operation import bind, delete, get, post
from kheish.api.http.paging import Given
from kheish.api.services import Services
from kheish.auth.tokens import Principal
from kheish.domain.assets.asset import Asset, Derived
from kheish.domain.events import AssetImage, AssetOrigin
from kheish.errors import AssetReferenced, Forbidden, Invalid, NotFound
from kheish.ids import LONGEST
from kheish.runtime.assets import users

_SHOWN = 20  # users that an asset shows; `…/references` has all
_UPLOAD_WAIT, _READ_WAIT = 10.0, 120.0  # seconds for a conversion
_TEXTS = "text/plain; charset=utf-8"
_HIDDEN = ("text", "path", "made", "holders")
_STORED = ("pending", "ready")
LIST = (
    *paging.PAGE,
    *paging.SESSION,
    paging.PREFIX,
    paging.text("media_type", "Only assets of this type."),
)


class AssetUse(Answer):
    """A user of an asset."""

    kind: Literal["run", "message", "evidence", "tool_call", "fork", "channel", "channel_message", "observation"]
    id: str
    """The id of the run, message or evidence; of a call, `RUN/CALL`; of a channel, its name."""
    session_id: str | None
    run_id: str | None
    at: str | None


class AssetView(Answer):
    """A stored file."""

    asset_id: str
    """`sha256:` and the digest of its content."""
    name: str
    media_type: str
    """The type that its content shows; the claimed one where the content shows none."""
    bytes: int
    origin: AssetOrigin
    created_at: str
    created_by: str
    status: Literal["pending", "ready"]
    """`pending` until its text was derived, or could not be."""
    derived: Derived | None
    """The text that was derived from it."""
    why: str | None
    """The reason why there is no text."""
    image: AssetImage | None
    """The copy of an image that models get."""
    preview: AssetImage | None
    references: list[AssetUse]
    """Its newest users."""
    n: int


class CollectAssets(Body):
    """A collection of assets that nothing uses."""

    dry_run: bool = True
    """Whether to list them only."""
    older_than: Annotated[float, Field(ge=0, le=LONGEST)] | Annotated[str, Field(max_length=20)] = "1d"
    """Assets that were stored later stay: seconds, or a duration such as `1d`."""


class CollectedAsset(Answer):
    """An asset that nothing uses."""

    asset_id: str
    name: str
    bytes: int
    created_at: str


class AssetCollection(Answer):
    """The assets that nothing uses."""

    dry_run: bool
    items: list[CollectedAsset]
    bytes: int
    """Their size together."""


class Assets:
    """The resource of `/v1/assets` and the paths below it."""

    def __init__(self, services: Services) -> None:
        self._state = services.state
        self._keeper = services.assets.keeper
        self._deriver = services.assets.deriver

    async def create_asset(self, req: Request, resp: Response) -> None:
        """Store a file (201), or find it by its content (200)."""
        asset, is_new = await uploads.receive(self._keeper, req)
        n = asset.made
        asset = await self._deriver.settled(asset, _UPLOAD_WAIT)
        resp.set_header("Location", f"/v1/assets/{asset.asset_id}")
        media.send(resp, await self._shown(asset, req.context.caller), status=201 if is_new else 200, n=n)

    async def list_assets(self, req: Request, resp: Response) -> None:
        """Answer with a page of assets, newest first; with `?session=`, of those that a session uses."""
        given, caller = req.context.query, req.context.caller
        session_id = paging.session_of(given)
        if session_id is None and caller.limits:
            raise Forbidden(f"This token sees {caller.limits} only; add ?session=ID.")
        await self._state.caught_up()
        if session_id is not None:
            if caller.limits:
                await filtering.see(self._state, caller, session_id)
            return media.send(resp, await self._of_session(session_id, given, caller))
        page = await asyncio.to_thread(
            self._state.index.things,
            "asset",
            limit=given.get("limit", paging.LIMIT),
            cursor=given.get("cursor"),
            statuses=_STORED,
            fields={"media_type": given["media_type"]} if "media_type" in given else {},
            id_prefix=given.get("id_prefix"),
        )
        return media.send(resp, media.page(await self._all(page.items, caller), page.next_cursor))

    async def _of_session(self, session_id: str, given: Given, caller: Principal) -> Mapping[str, Any]:
        page = await asyncio.to_thread(
            self._state.index.things,
            "asset_reference",
            limit=given.get("limit", paging.LIMIT),
            cursor=given.get("cursor"),
            session=session_id,
        )
        wanted = dict.fromkeys(doc["asset_id"] for doc in page.items)
        docs = await asyncio.to_thread(lambda: [self._state.index.thing("asset", id) for id in wanted])
        kept = [
            doc
            for doc in docs
            if doc is not None
            and doc["status"] in _STORED
            and given.get("media_type") in (None, doc["media_type"])
            and doc["asset_id"].startswith(given.get("id_prefix") or "")
        ]
        return media.page(await self._all(kept, caller), page.next_cursor)

    async def get_asset(self, req: Request, resp: Response, asset_id: str) -> None:
        """Answer with one asset."""
        media.send(resp, await self._shown(await self._get(req, asset_id), req.context.caller))

    async def get_asset_raw(self, req: Request, resp: Response, asset_id: str) -> None:
        """Answer with the content, as a file to save: no browser shows it."""
        asset = await self._get(req, asset_id)
        name = seeing.name_for(req.context.caller, asset)
        resp.data = await self._keeper.content(asset)
        resp.content_type = asset.media_type
        resp.set_header("Content-Disposition", f"attachment; filename*=UTF-8''{quote(name, safe='')}")
        resp.set_header("Content-Security-Policy", "default-src 'none'; sandbox")
        resp.set_header("Cache-Control", "private, no-store")
        resp.set_header("ETag", f'"{asset.asset_id}"')

    async def get_asset_content(self, req: Request, resp: Response, asset_id: str) -> None:
        """Answer with the derived text."""
        asset = await self._deriver.settled(await self._get(req, asset_id), _READ_WAIT)
        text = await self._deriver.text(asset)
        if text is None:
            name = seeing.name_for(req.context.caller, asset)
            why = asset.why or "it is still being converted; retry in a moment"
            raise NotFound(f"The asset {name} has no text: {why.rstrip('.')}.")
        resp.data = await asyncio.to_thread(text.encode)
        resp.content_type = _TEXTS
        resp.set_header("Content-Security-Policy", "default-src 'none'; sandbox")

    async def asset_references(self, req: Request, resp: Response, asset_id: str) -> None:
        """Answer with a page of the users of an asset, newest first; channels that pin it come first."""
        asset, given = await self._get(req, asset_id), req.context.query
        await self._state.caught_up()
        page = await asyncio.to_thread(
            self._state.index.things,
            "asset_reference",
            limit=given.get("limit", paging.LIMIT),
            cursor=given.get("cursor"),
            fields={"asset_id": asset.asset_id},
        )
        pinned: list[Mapping[str, Any]] = []
        if not given.get("cursor"):
            pinned = users.pinned(self._state, asset.asset_id)
            pinned += await asyncio.to_thread(users.observed, self._state, asset.asset_id)
        uses = await self._permitted([*pinned, *page.items], req.context.caller)
        media.send(resp, media.page(uses, page.next_cursor))

    async def delete_asset(self, req: Request, resp: Response, asset_id: str) -> None:
        """Remove an asset (204). Raises AssetReferenced."""
        await self._get(req, asset_id)
        caller: Principal = req.context.caller
        sees = partial(seeing.permitted, self._state, caller) if caller.limits else None
        await self._keeper.delete(asset_id, by=caller.name, sees=sees)
        resp.status = 204
        resp.set_header(media.EVENT, str(self._state.n))

    async def collect_assets(self, req: Request, resp: Response) -> None:
        """Remove what nothing uses, or list it."""
        body = await media.read(req, CollectAssets)
        if req.context.caller.limits:
            raise Forbidden(f"This token sees {req.context.caller.limits} only; a collection covers all assets.")
        unused = await self._keeper.unused(_seconds(body.older_than))
        if not body.dry_run:
            unused = [one for one in unused if await self._collected(one, by=req.context.principal)]
        items = [
            {"asset_id": one.asset_id, "name": one.name, "bytes": one.bytes, "created_at": one.created_at}
            for one in unused
        ]
        media.send(resp, {"dry_run": body.dry_run, "items": items, "bytes": sum(one.bytes for one in unused)})

    async def _collected(self, asset: Asset, *, by: str) -> bool:
        try:
            await self._keeper.delete(asset.asset_id, by=by, reason="gc")
        except (AssetReferenced, NotFound):  # it was used, or removed, meanwhile
            return False
        return True

    # --- shared -------------------------------------------------------------------------------------------------------

    async def _get(self, req: Request, asset_id: str) -> Asset:
        """Return an asset that the caller may see. Raises NotFound."""
        asset = await seeing.get(self._state, req.context.caller, asset_id)
        await self._state.durable()
        return asset

    async def _permitted(self, uses: Iterable[Mapping[str, Any]], caller: Principal) -> list[dict[str, Any]]:
        """Return the uses in sessions that the caller may see."""
        names = ("kind", "id", "session_id", "run_id")
        return [
            {**{name: use[name] for name in names}, "at": use.get("at")}
            for use in await seeing.permitted(self._state, caller, uses)
        ]

    async def _shown(self, asset: Asset, caller: Principal) -> dict[str, Any]:
        return (await self._all([self._document(asset)], caller))[0]

    def _document(self, asset: Asset) -> dict[str, Any]:
        return views.of(self._state, asset)

    async def _all(self, docs: Sequence[Mapping[str, Any]], caller: Principal) -> list[dict[str, Any]]:
        """Return assets with their newest users."""
        await self._state.caught_up()
        found = await asyncio.to_thread(lambda: [self._uses(doc["asset_id"]) for doc in docs])
        shown = []
        for doc, uses in zip(docs, found, strict=True):
            permitted = await self._permitted([*users.pinned(self._state, doc["asset_id"]), *uses], caller)
            fields = {name: value for name, value in doc.items() if name not in (*_HIDDEN, "n")}
            own = await seeing.own(self._state, caller, doc) if caller.limits else {}
            shown.append({**fields, **own, "references": permitted[:_SHOWN], "n": doc["n"]})
        return shown

    def _uses(self, asset_id: str) -> Sequence[Mapping[str, Any]]:
        fields = {"asset_id": asset_id}
        found = users.observed(self._state, asset_id)
        return [*found, *self._state.index.things("asset_reference", limit=_SHOWN, fields=fields).items]


def _seconds(given: float | str) -> float:
    if isinstance(given, str):
        try:
            return ids.duration(given)
        except ValueError as error:
            raise Invalid(f"older_than: {error}.") from error
    return given


ALL = "/v1/assets"
ONE = "/v1/assets/{asset_id}"
OPERATIONS = bind(
    Assets,
    post(ALL, Assets.create_asset, "Store a file (201), or find it by its content (200).", StoreAsset, AssetView,
         good=(200, 201), problems=(409,), tie="none"),
    get(ALL, Assets.list_assets, "List assets, newest first.", AssetView, *LIST, page=True, tie="none"),
    post(f"{ALL}/gc", Assets.collect_assets, "Remove the assets that nothing uses; a dry run unless told.",
         CollectAssets, AssetCollection, tie="none"),
    get(ONE, Assets.get_asset, "Get one asset.", AssetView, problems=(404,), tie="none"),
    delete(ONE, Assets.delete_asset, "Remove an asset that nothing uses.", problems=(404, 409), tie="none"),
    get(f"{ONE}/raw", Assets.get_asset_raw, "Get the content of an asset, to save it.", None,
        media="application/octet-stream", or_media="*/*", problems=(404,), tie="none"),
    get(f"{ONE}/text", Assets.get_asset_content, "Get the text that was derived from an asset.", None,
        media="text/plain", problems=(404,), tie="none"),
    get(f"{ONE}/references", Assets.asset_references, "List the users of an asset, newest first.", AssetUse,
        *paging.PAGE, page=True, problems=(404,), tie="none"),
)  # fmt: skip
