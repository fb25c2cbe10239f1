"""Uploads: a file in a multipart form, streamed to a private file, or inline in a JSON body."""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import Annotated

import orjson
from falcon.asgi import Request
from falcon.asgi.multipart import BodyPart
from pydantic import Field, ValidationError

from kheish.api.http import media
from kheish.api.http.bodies import Body
from kheish.auth.tokens import Principal
from kheish.domain.assets.asset import Asset
from kheish.domain.events import AssetOrigin
from kheish.errors import Fault, Invalid, UnsupportedMedia
from kheish.runtime.assets.keeper import Keeper
from kheish.store.assets import Incoming, too_large

MULTIPART = "multipart/form-data"
_CHUNK = 256 * 1024
#: bytes of a body beside its file: a name, a type, the boundaries of a form
_BESIDE = 64 * 1024
_FIELD_BYTES = 1024
_ORIGIN = AssetOrigin(kind="upload")


class StoreAsset(Body):
    """A file to store, inline. A form (`multipart/form-data`) with the part `file` is the other way."""

    name: Annotated[str, Field(min_length=1, max_length=1000)]
    """Its name; of a path, the last part."""
    media_type: Annotated[str, Field(max_length=255)] | None = None
    """The type that it should have; without it, its content and its name decide."""
    content_base64: str
    """The content in Base64."""


async def receive(keeper: Keeper, req: Request) -> tuple[Asset, bool]:
    """Store the file of a request, and return whether it is new; for a caller with filters, whether it is new to it.

    Raises TooLarge, UnsupportedMedia, Invalid, AssetTypeMismatch, InsufficientStorage.
    """
    if media.media_type(req) == MULTIPART:
        return await _form(keeper, req)
    # A body comes as slowly as its sender likes, so it waits on disk; the room is for bodies that are there.
    async with keeper.receive(most=_inline_limit(keeper.most)) as body:
        await _spool(req, body, keeper.most)
        async with keeper.receiving, keeper.receive() as incoming:
            given = await asyncio.to_thread(_parse, body)
            await asyncio.to_thread(_decode, given.content_base64, incoming)
            name, claimed = given.name, given.media_type
            del given
            return await _store(keeper, req, incoming, name, claimed)


async def _store(
    keeper: Keeper, req: Request, incoming: Incoming, name: str | None, claimed: str | None
) -> tuple[Asset, bool]:
    caller: Principal = req.context.caller
    return await keeper.store(incoming, name, claimed, _ORIGIN, by=caller.name, holds=bool(caller.limits))


async def _form(keeper: Keeper, req: Request) -> tuple[Asset, bool]:
    length = req.content_length
    if length is not None and length > keeper.most + _BESIDE:
        raise too_large(length, keeper.most)
    name = media_type = claimed = None
    has_file = False
    async with keeper.receive() as incoming:
        async for part in await req.get_media():
            part_name, filename, content_type = _described(part)
            if part_name == "file" and not has_file:
                has_file, name, claimed = True, name or filename, content_type
                while chunk := await part.stream.read(_CHUNK):
                    await asyncio.to_thread(incoming.write, chunk)
            elif part_name in ("name", "media_type"):
                text = await part.stream.read(_FIELD_BYTES)
                value = bytes(text).decode("utf-8", "replace")
                name, media_type = (value, media_type) if part_name == "name" else (name, value)
            else:
                raise Invalid(f"The form has the part {part_name!r}; it has one file, and name and media_type.")
        if not has_file:
            raise Invalid("The form has no part file.", errors=[Fault("/file", "is missing")])
        # A form's own type is a default of programs that know none, so only a named one is a claim.
        return await _store(keeper, req, incoming, name, media_type or _meant(claimed))


def _described(part: BodyPart) -> tuple[str | None, str | None, str]:
    """Return the name, file name and type of a part. Raises Invalid if they are not UTF-8."""
    try:
        return part.name, part.filename, part.content_type
    except (UnicodeError, LookupError, ValueError) as error:
        text = "A part of the form has a header that is not UTF-8; send such a name as the part name, in UTF-8."
        raise Invalid(text) from error


def _meant(content_type: str | None) -> str | None:
    plain = (content_type or "").partition(";")[0].strip().lower()
    return None if plain in ("", "application/octet-stream", "text/plain") else plain


def _inline_limit(most: int) -> int:
    """Return the most bytes of a JSON body: Base64 has a third more than the file, and its lines may end with CRLF."""
    return most * 3 // 2 + _BESIDE


async def _spool(req: Request, body: Incoming, most: int) -> None:
    """Write a JSON body to a private file. Raises TooLarge, UnsupportedMedia."""
    if req.content_length is not None and req.content_length > body.most:
        raise too_large(req.content_length * 3 // 4, most)
    if media.media_type(req) != media.JSON:
        shown = media.media_type(req) or "no media type"
        raise UnsupportedMedia(f"The body is sent as {shown}; send {MULTIPART} (curl: -F file=@NAME) or {media.JSON}.")
    while chunk := await req.stream.read(_CHUNK):
        if body.bytes + len(chunk) > body.most:
            raise too_large(None, most)
        await asyncio.to_thread(body.write, chunk)
    await asyncio.to_thread(body.flush)


def _parse(body: Incoming) -> StoreAsset:
    try:
        members = orjson.loads(body.path.read_bytes())
        if not isinstance(members, dict):
            raise Invalid("The body is no object; send name and content_base64.")
        return StoreAsset.model_validate(members, strict=True)
    except ValidationError as error:
        faults = media.faults(error)
        raise Invalid("; ".join(f"{one.path}: {one.message}" for one in faults) + ".", errors=faults) from error
    except ValueError as error:
        raise Invalid(f"The body is not JSON: {error}.") from error


def _decode(text: str, incoming: Incoming) -> None:
    """Write the content of a body; it is decoded in parts that end between two groups of four characters."""
    plain = "".join(text.split())
    step = _CHUNK * 4
    try:
        for at in range(0, len(plain), step):
            incoming.write(base64.b64decode(plain[at : at + step], validate=True))
    except (binascii.Error, ValueError) as error:
        message = f"is not Base64: {error}"
        raise Invalid(f"content_base64 {message}.", errors=[Fault("/content_base64", message)]) from error
