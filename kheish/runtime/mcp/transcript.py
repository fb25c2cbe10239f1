"""The messages of a connection that belong to one call, in the order of the wire, for debug capture.

A call's own task opens its transcript. What that task sends is the call's, and so are the answers to it. Messages that
name no request (a notification, a question of the server) are the call's only if no other call is open.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

#: bytes of the messages that are held, more than an artifact keeps
MOST = 5 * 1024 * 1024
Direction = Literal["sent", "received"]


@dataclass(slots=True, eq=False)
class Transcript:
    """The messages as lines of JSON; `size` is that of all, also of those beyond the bound."""

    lines: list[bytes] = field(default_factory=list)
    size: int = 0
    is_open: bool = True

    def note(self, direction: Direction, message: Any) -> None:
        """Add a message, unless the call has ended."""
        if not self.is_open:
            return
        document = message.model_dump(by_alias=True, mode="json", exclude_unset=True)
        line = orjson.dumps({direction: document}, option=orjson.OPT_APPEND_NEWLINE)
        if self.size < MOST:
            self.lines.append(line[: MOST - self.size])
        self.size += len(line)


_CURRENT: ContextVar[Transcript | None] = ContextVar("kheish_mcp_transcript", default=None)


def current() -> Transcript | None:
    """Return the open transcript of this task; None without capture."""
    found = _CURRENT.get()
    return found if found is not None and found.is_open else None


@contextmanager
def opened() -> Iterator[Transcript]:
    """Open the transcript of this task. A connection that the call opens outlives it, and notes nothing more."""
    transcript = Transcript()
    token = _CURRENT.set(transcript)
    try:
        yield transcript
    finally:
        transcript.is_open = False
        _CURRENT.reset(token)
