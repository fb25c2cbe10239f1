"""Uploads of observations: items in JSON, or the raw bytes of one."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Annotated, Any

from falcon.asgi import Request
from pydantic import Field, ValidationError, model_validator

from kheish import ids
from kheish.api.http import media
from kheish.api.http.bodies import Body, Key
from kheish.domain import keys
from kheish.domain.events import Idempotency, ObservationKind
from kheish.domain.observations import selection
from kheish.domain.observations.definition import SourceFile
from kheish.errors import Fault, Invalid, TooLarge
from kheish.runtime.assets import types
from kheish.runtime.observations.contents import Given
from kheish.runtime.observations.keeper import MOST, Keeper

_CHUNK = 256 * 1024
_BESIDE = 1024 * 1024  # bytes of a body beside its contents
_Label = Annotated[str, Field(min_length=1, max_length=200)]
_HEAD = 8192
#: an escape in JSON: both halves of a pair, a half alone, or any other
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.S
)
_ENDINGS = {".json": "json", ".html": "html", ".htm": "html", ".log": "log", ".txt": "text", ".md": "text"}


class ObservationItem(Body):
    """An observation to store."""

    kind: ObservationKind | None = None
    """Its kind; without it, the first of the source."""
    text: str | None = None
    """Its content as text."""
    content_base64: str | None = None
    """Its content in Base64, instead of `text`."""
    captured_at: Annotated[str, Field(max_length=40)] | None = None
    """The time of its capture, with an offset; without it, now."""
    stream: _Label | None = None
    """The stream that it is a part of, such as a file or a camera."""
    sequence: Annotated[int, Field(ge=0, le=2**53)] | None = None
    """Its number in the stream, as its sender counts."""
    group: _Label | None = None
    """A name that it shares with others."""
    metadata: dict[str, Any] = Field(default_factory=dict)
    """Data of the sender."""

    @model_validator(mode="after")
    def _one_of_both(self) -> ObservationItem:
        if (self.text is None) == (self.content_base64 is None):
            raise ValueError("send either text or content_base64")
        return self


class StoreObservations(Body):
    """Observations to store together. Any other media type is the raw content of one, described by the query."""

    items: Annotated[list[ObservationItem], Field(min_length=1, max_length=MOST)]
    idempotency_key: Key | None = None
    """The same key stores them once. It may also be sent as the header Idempotency-Key."""


async def read(req: Request, keeper: Keeper, source_id: str) -> tuple[list[Given], Idempotency | None]:
    """Return the observations of a request, and its key. Raises NotFound, TooLarge, Invalid with every fault."""
    file, state = keeper.file(source_id), keeper.state
    most, now = state.definitions.config.assets.max, ids.stamp(state.clock())
    scope = f"sources/{source_id}/observations"
    if media.media_type(req) == media.JSON:
        body = await asyncio.to_thread(_parse, await _received(req, most * 3 // 2 + _BESIDE))
        given = await asyncio.to_thread(_given, body.items, file, most, now)
        key = media.one_key(req, body.idempotency_key, "idempotency_key")
        if key is None:
            return given, None
        whole = await asyncio.to_thread(body.model_dump_json, exclude={"idempotency_key"}, exclude_none=True)
        return given, keys.of(scope, key, {"items": await keeper.fingerprint(source_id, whole.encode())})
    raw = await _received(req, most)
    one = _raw(raw, req.context.query, file, now)
    key = media.one_key(req, None, "idempotency_key")
    query = dict(req.context.query)
    return [one], keys.of(scope, key, {"content": await keeper.fingerprint(source_id, raw), "query": query})


async def _received(req: Request, most: int) -> bytes:
    if req.content_length is not None and req.content_length > most:
        raise TooLarge.of_body(req.content_length, most)
    parts, size = [], 0
    while chunk := await req.stream.read(_CHUNK):
        size += len(chunk)
        if size > most:
            raise TooLarge(f"The body has more than {most} bytes.")
        parts.append(bytes(chunk))
    return b"".join(parts)


def _parse(raw: bytes) -> StoreObservations:
    """Return the items of a JSON body. Half of a surrogate pair, which senders leave when they cut a text, is replaced
    by U+FFFD: a batch must not be lost for it. Raises Invalid with every fault."""
    try:
        try:
            is_shallow = media.plain_json(raw or b"{}")
        except ValueError:
            raw = _ESCAPE.sub(_whole, raw)
            is_shallow = media.plain_json(raw)
        if not is_shallow:
            raise Invalid(f"The body is nested more than {media.DEPTH} deep.")
        return StoreObservations.model_validate_json(raw or b"{}", strict=True)
    except ValidationError as error:
        faults = media.faults(error)
        raise Invalid("; ".join(f"{one.path}: {one.message}" for one in faults[:5]) + ".", errors=faults) from error
    except (ValueError, RecursionError) as error:
        text = 'send {"items": [{"text": …}]}, or raw bytes with another media type'
        raise Invalid(f"The body is not JSON: {error}; {text}.") from error


def _whole(escape: re.Match[bytes]) -> bytes:
    """Return an escape, with U+FFFD for half of a pair."""
    return rb"\ufffd" if escape["half"] else escape[0]


def _given(items: Sequence[ObservationItem], file: SourceFile, most: int, now: str) -> list[Given]:
    given, faults = [], list[Fault]()
    for number, item in enumerate(items):
        try:
            content: str | bytes = item.text if item.text is not None else _decoded(item.content_base64 or "")
            size = len(content.encode("utf-8", "replace") if isinstance(content, str) else content)
            if size > most:
                raise TooLarge(f"/items/{number} has {size} bytes; at most {most} (assets.max in kheish.yaml).")
            at = moment(item.captured_at, now)
        except ValueError as error:
            faults.append(Fault(f"/items/{number}", str(error)))
            continue
        given.append(
            Given(
                content=content,
                kind=item.kind or file.kinds[0],
                captured_at=at,
                stream=item.stream,
                sequence=item.sequence,
                group=item.group,
                metadata=item.metadata,
            )
        )
    if faults:
        raise Invalid("; ".join(f"{one.path}: {one.message}" for one in faults[:5]) + ".", errors=faults[:20])
    return given


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"content_base64 is not Base64: {error}") from error


def moment(text: str | None, now: str) -> str:
    """Return a given time in UTC, or now. Raises ValueError."""
    if text is None:
        return now
    try:
        return selection.utc(text)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"captured_at is no time such as 2026-11-29T12:00:00Z: {error}") from error


def _raw(raw: bytes, query: Any, file: SourceFile, now: str) -> Given:
    if not raw:
        raise Invalid("The body is empty; send the content, or JSON with items.")
    try:
        at = moment(query.get("captured_at"), now)
    except ValueError as error:
        raise Invalid(f"{error}.", errors=[Fault("?captured_at", "is no time")]) from error
    return Given(
        content=raw,
        kind=query.get("kind") or kind_of(raw, file),
        captured_at=at,
        stream=query.get("stream"),
        sequence=query.get("sequence"),
        group=query.get("group"),
        metadata={},
    )


def kind_of(raw: bytes, file: SourceFile, name: str = "") -> ObservationKind:
    """Return the kind of a raw content: what its first bytes or its name show if the source has it, else the source's
    first."""
    shown = (types.sniff(raw[:_HEAD]) or "").partition("/")[0] or _ENDINGS.get(PurePosixPath(name).suffix.lower())
    return next((kind for kind in file.kinds if kind == shown), file.kinds[0])
