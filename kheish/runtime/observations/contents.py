"""Contents of observations: judged by their kind, written as lines of a file, and read back from it."""

from __future__ import annotations

import base64
from typing import Any

import orjson

from kheish.domain.events import ObservationKind, frozen
from kheish.domain.observations.definition import TEXTS
from kheish.errors import AssetTypeMismatch, Fault, Invalid
from kheish.runtime.assets import types
from kheish.state import encoding
from kheish.state.state import State

HTML = "text/html"
#: containers of audio that the sniffer takes for video
_AUDIO_TOO = frozenset({"video/webm", "video/mp4", "application/ogg"})
_HEAD = 8192


@frozen
class Given:
    """An observation as its sender gave it."""

    content: str | bytes
    kind: ObservationKind
    captured_at: str
    stream: str | None = None
    sequence: int | None = None
    group: str | None = None
    metadata: dict[str, Any]


@frozen
class Content:
    """The content of an observation: its text, or its bytes with their type. `metadata` is that of a source which
    must forget."""

    text: str | None = None
    raw: bytes | None = None
    media_type: str | None = None
    metadata: dict[str, Any] | None = None

    @property
    def bytes(self) -> int:
        """The size of the content."""
        return len(self.text.encode()) if self.text is not None else len(self.raw or b"")


def judged(state: State, given: Given, number: int) -> Content:
    """Return the content of an observation, without known secrets if it is text. Takes time for large ones.

    Raises Invalid, AssetTypeMismatch.
    """
    where = f"/items/{number}"
    if given.kind in TEXTS:
        text = _clean(state, _text(given.content, where))
        if given.kind == "json":
            _check_json(text, where)
        return Content(text=text, media_type=HTML if given.kind == "html" else None)
    raw = given.content.encode() if isinstance(given.content, str) else given.content
    shown = types.sniff(raw[:_HEAD]) or types.BINARY
    fits = shown.startswith(f"{given.kind}/") or (given.kind == "audio" and shown in _AUDIO_TOO)
    if not fits:
        raise AssetTypeMismatch(
            f"The content of item {number} is {shown}, and no {given.kind}; name its kind.",
            errors=[Fault(f"{where}/kind", f"is {given.kind}, but the content is {shown}")],
            media_type=shown,
        )
    if encoding.holds_secret(raw.decode("latin-1"), state.scrub):
        raise Invalid("The content holds a known secret.", errors=[Fault(where, "holds a known secret")])
    return Content(raw=raw, media_type=shown)


def _text(content: str | bytes, where: str) -> str:
    if isinstance(content, bytes):
        try:
            content = content.decode()
        except UnicodeDecodeError as error:
            raise Invalid(f"{where} is not UTF-8 text: {error}.", errors=[Fault(where, "is not UTF-8")]) from error
    if "\0" in content:
        raise Invalid(f"{where} has a NUL character.", errors=[Fault(where, "has a NUL character")])
    if not content:
        raise Invalid(f"{where} is empty.", errors=[Fault(where, "is empty")])
    return content


def _clean(state: State, text: str) -> str:
    raw = orjson.dumps(text)
    clean = encoding.scrubbed(raw, state.scrub)
    return text if clean is raw else str(orjson.loads(clean))


def _check_json(text: str, where: str) -> None:
    try:
        orjson.loads(text)
    except ValueError as error:
        raise Invalid(f"{where} is not JSON: {error}.", errors=[Fault(where, f"is not JSON: {error}")]) from error


def line_of(content: Content | None) -> bytes:
    """Return the line of a content in its file; None: the content is an asset."""
    if content is None:
        return b"{}\n"
    members: dict[str, Any] = {}
    if content.text is not None:
        members["text"] = content.text
    if content.raw is not None:
        members["base64"] = base64.b64encode(content.raw).decode()
    if content.media_type is not None:
        members["media_type"] = content.media_type
    if content.metadata is not None:
        members["metadata"] = content.metadata
    return orjson.dumps(members) + b"\n"


def read_line(line: bytes) -> Content:
    """Return the content in a line. Raises ValueError."""
    members = orjson.loads(line)
    raw = members.get("base64")
    return Content(
        text=members.get("text"),
        raw=base64.b64decode(raw) if raw is not None else None,
        media_type=members.get("media_type"),
        metadata=members.get("metadata"),
    )
