"""Bytes of an answer into JSON documents: server-sent events, JSON lines, or one whole document, however they are
split.

The header `content-type` is ignored: several servers stream as text/plain, or send a whole answer to a stream request.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

from kheish.runtime.drivers import bounds, lenient
from kheish.runtime.drivers.base import ModelError

_BOM = b"\xef\xbb\xbf"
_SHOWN = 80
DONE = object()  # the server's end of the stream


class Form(Enum):
    """The format of the bytes, detected from their beginning."""

    UNKNOWN = "unknown"
    EVENTS = "events"
    WHOLE = "whole"


class Documents:
    """A parser of a body's pieces into complete documents, and `DONE`."""

    def __init__(self) -> None:
        self.form = Form.UNKNOWN
        self.head = b""  # the first bytes, for the error message of an unknown format
        self._line: list[bytes] = []  # an incomplete line, in pieces
        self._size = 0  # of that line
        self._data: list[bytes] = []
        self._total = 0  # of the event's data
        self._count = 0  # documents
        self._name = b""
        self._ended_in_return = False

    @property
    def is_whole(self) -> bool:
        """Return whether the body is one document, which ends with the body."""
        return self.form is Form.WHOLE

    def feed(self, piece: bytes) -> Iterator[Any]:
        """Process bytes; the result must be exhausted. Raises ModelError for invalid JSON, and over a bound."""
        if self.form is Form.UNKNOWN:
            piece = self._begin(piece)
        if self.form is Form.EVENTS:
            return self._events(piece)
        if self.form is Form.WHOLE:
            self._keep(piece, bounds.WHOLE)
        return iter(())

    def end(self) -> Iterator[Any]:
        """Process the end of the body. Raises ModelError for invalid JSON, and for a web page."""
        if self.head.startswith(b"<"):
            raise ModelError("bad_request", "the server answered with a web page, not in the chat format", status=200)
        if self.form is Form.WHOLE:
            yield from _documents(b"".join(self._line))
        elif self.form is Form.EVENTS:
            yield from self._events(b"\n\n")  # a last event without its empty line
            if not self._count and not self.head.startswith((b"data", b"event", b"id", b"retry", b":")):
                raise _no_json(self.head)

    def _begin(self, piece: bytes) -> bytes:
        self.head += piece
        rest = self.head.removeprefix(_BOM).lstrip()
        if not rest or _BOM.startswith(self.head):
            if len(self.head) > bounds.LINE:
                raise ModelError("oversized", "the answer begins with nothing but blanks")
            return b""
        self.form = Form.WHOLE if rest[:1] in (b"{", b"[", b"<", b'"') else Form.EVENTS
        self.head = rest[:200]
        return rest

    def _keep(self, piece: bytes, bound: int) -> None:
        self._size += len(piece)
        if self._size > bound:
            raise ModelError("oversized", f"a part of the answer is longer than {bound:,} bytes")
        self._line.append(piece)

    def _events(self, piece: bytes) -> Iterator[Any]:
        if self._ended_in_return:
            piece, self._ended_in_return = piece.removeprefix(b"\n"), not piece
        if b"\r" in piece:
            self._ended_in_return = piece.endswith(b"\r")
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = piece.split(b"\n")
        for line in lines:
            if self._line:
                self._keep(line, bounds.LINE)
                line, self._line = b"".join(self._line), []
            self._size = 0
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
                self._total += len(line)
                if self._total > bounds.LINE:
                    raise ModelError("oversized", f"an event of the answer is longer than {bounds.LINE:,} bytes")
            elif line:
                if line.startswith(b"event:"):
                    self._name = line[6:].strip()[:100]
            elif self._data:
                yield from self._event()
        if rest:
            self._keep(rest, bounds.LINE)

    def _event(self) -> list[Any]:
        """Return the documents of the event that has just ended: one, as a rule."""
        data, name, self._data, self._name, self._total = b"\n".join(self._data), self._name, [], b"", 0
        documents = _documents(data)
        self._count += len(documents)
        if name != b"error":
            return documents
        return [one if one is DONE or _has_error(one) else {"error": one} for one in documents]


def _has_error(document: Any) -> bool:
    return isinstance(document, dict) and bool(document.get("error"))


def _documents(data: bytes) -> list[Any]:
    """Return the documents of an event: one, except for servers that omit the empty line between two."""
    stripped = data.strip()
    if not stripped:
        return []
    if stripped.startswith(b"[DONE]"):
        return [DONE]
    try:
        return [lenient.loads(stripped)]
    except ValueError as error:
        parts = stripped.split(b"\n")
        if len(parts) == 1:
            raise _no_json(stripped) from error
        return [document for part in parts for document in _documents(part)]


def _no_json(data: bytes) -> ModelError:
    return ModelError("transport", f"the provider sent no JSON: {data[:_SHOWN].decode('utf-8', 'replace')!r}")
