"""The tool `store_asset`, and the reading of an asset's text by `read_file`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from functools import partial

from pydantic import Field

from kheish.beneath import Door, files, pool
from kheish.domain.assets import asset as assets
from kheish.domain.assets.reference import STORE
from kheish.domain.channels import rooms
from kheish.domain.events import AssetOrigin
from kheish.domain.permissions import rules as permission_rules
from kheish.domain.sessions.session import Session
from kheish.errors import KheishError, NotFound
from kheish.runtime.assets.attaching import scrubbed
from kheish.runtime.assets.service import Assets
from kheish.runtime.tools import skills as skill_tools, workspace
from kheish.runtime.tools.base import Arguments, Context, Effect, Replay, Result, Tool, ToolError
from kheish.store.assets import Incoming, too_large

#: the beginning of the path of an asset
PREFIX = "asset:"
_CHUNK = 256 * 1024
_WAIT = 60.0  # seconds for a conversion


class StoreAsset(Arguments):
    path: str = Field(description="The file, relative to the workspace.")
    name: str | None = Field(None, min_length=1, max_length=255, description="Another name for it.")
    media_type: str | None = Field(None, max_length=255, description="The type that it should have: text/markdown.")


async def _store(arguments: StoreAsset, context: Context) -> Result:
    service = _service(context)
    session, file = context.state.get(Session, context.session_id), context.state.definitions.permissions
    scopes = permission_rules.scopes(file, session.settings["permission_rules"])
    check = partial(skill_tools.check_denied, scopes, context.workspace)
    origin = AssetOrigin(
        kind="tool",
        session_id=context.session_id,
        run_id=context.run_id,
        call_id=context.call_id,
        path=arguments.path,
    )
    name = arguments.name or arguments.path
    by = f"agent:{context.agent_id}"
    try:
        async with service.keeper.receive() as incoming:
            await workspace.work(context, _copy, context.door, arguments.path, incoming, check)
            asset, is_new = await service.keeper.store(incoming, name, arguments.media_type, origin, by=by)
    except KheishError as error:
        raise ToolError(error.detail) from error
    how = "Stored" if is_new else "It is stored already"
    content = f"{how}: {asset.asset_id}, {asset.name}, {asset.media_type}, {asset.bytes} bytes."
    return Result(content=content, detail={"asset_id": asset.asset_id, "path": arguments.path, "new": is_new})


def _copy(door: Door, path: str, incoming: Incoming, check: Callable[[int, str], None]) -> None:
    with files.open_file(door, path) as (file, place):
        check(file.fileno(), place)  # a file that may not be read may not be stored
        size = os.fstat(file.fileno()).st_size
        if size > incoming.most:
            raise too_large(size, incoming.most)
        while chunk := file.read(_CHUNK):
            pool.check()
            incoming.write(chunk)


async def check_seen(asset_ids: Sequence[str], context: Context) -> None:
    """Check that the agent may see assets: those that its session refers to, that it stored itself, or that a channel
    of its session pins. Raises ToolError, as for assets that do not exist; Unavailable."""
    state = context.state
    await state.durable()
    await state.caught_up()
    for asset_id in dict.fromkeys(asset_ids):
        if not await _is_seen(asset_id, context):
            raise ToolError(
                f"There is no asset {asset_id[:200]!r} in this session. A person attaches one to a task; store_asset "
                "keeps a file of the workspace."
            )


async def _is_seen(asset_id: str, context: Context) -> bool:
    state = context.state
    fields = {"asset_id": asset_id}
    page = await asyncio.to_thread(
        state.index.things, "asset_reference", limit=1, session=context.session_id, fields=fields
    )
    if page.items:
        return True
    channels = (rooms.find_file(state, one) for one in rooms.channels_of(state, context.session_id))
    if any(asset_id in one.assets for one in channels if one is not None):
        return True
    try:
        return assets.has_stored(await assets.get(state, asset_id), f"agent:{context.agent_id}")
    except NotFound:
        return False


async def text_of(path: str, context: Context) -> bytes:
    """Return the text of the asset that a path `asset:<id>` names. Raises ToolError."""
    service, asset_id = _service(context), path.removeprefix(PREFIX)
    await check_seen([asset_id], context)
    try:
        asset = await service.deriver.settled(await assets.get(context.state, asset_id), _WAIT)
        text = await service.deriver.text(asset)
    except KheishError as error:
        raise ToolError(f"{error.detail} A path of the workspace that begins like this is ./{path}.") from error
    if text is None:
        why = asset.why or "it is still being converted"
        raise ToolError(f"The asset {asset.name} ({asset.media_type}) has no text: {why}")
    clean = await asyncio.to_thread(scrubbed, context.state, text)
    return await asyncio.to_thread(clean.encode)


def _service(context: Context) -> Assets:
    if context.assets is None:
        raise ToolError("There are no assets here.")
    return context.assets


TOOLS = (
    Tool(
        name=STORE,
        description=(
            "Keep a file of the workspace as an asset: a copy in the state root, which stays when the file changes. "
            "Returns its id, which people, evidence and later runs refer to."
        ),
        arguments=StoreAsset,
        effect=Effect.COORDINATION,
        replay=Replay.SAFE,
        run=_store,
    ),
)
