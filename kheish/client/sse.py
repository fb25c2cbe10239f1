"""Server-sent events: bytes in, events out, and the position at which to continue after a cut. No I/O here."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from kheish.errors import Unreachable
from kheish.texts import is_number

#: seconds without a byte (the daemon pings every 15 s) after which a stream counts as cut
SILENCE = 45.0
_FIRST_DELAY = 0.05
_LONGEST_DELAY = 2.0


@dataclass(frozen=True, slots=True)
class Event:
    """A journal line, or a live frame (`n` is None). `raw` is the line as it was sent."""

    kind: str
    n: int | None
    session: str | None
    run: str | None
    at: str | None
    actor: str | None
    data: dict[str, Any]
    raw: str

    @property
    def live(self) -> bool:
        """Return whether the frame is shown once and never replayed (`model.delta`, `tool.output`)."""
        return self.n is None


@dataclass(slots=True)
class Parser:
    """A parser of a stream of bytes, however it was split, into `(id, event, data)` frames."""

    _rest: bytes = b""
    _id: str | None = None
    _event: str = ""
    _data: list[str] = field(default_factory=list)
    _begun: bool = False

    def feed(self, chunk: bytes) -> Iterator[tuple[str | None, str, str]]:
        """Yield the frames that `chunk` completes; the id is None for a frame without one."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            text = line.removesuffix(b"\r").decode(errors="replace")
            if not self._begun:
                text = text.removeprefix("\ufeff")
                self._begun = True
            if text:
                self._take(text)
            elif self._data:
                yield self._id, self._event or "message", "\n".join(self._data)
                self._clear()
            else:
                self._clear()

    def _take(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value

    def _clear(self) -> None:
        # Kheish frames without an id are live: the last id must not stick to them as the SSE standard would have it.
        self._id, self._event = None, ""
        self._data = []


def event_of(frame: tuple[str | None, str, str]) -> Event | None:
    """Return the event of a frame; None for data that is not a JSON object (a frame of a later version)."""
    number, kind, raw = frame
    try:
        line = json.loads(raw)
    except ValueError:
        return None
    if not isinstance(line, dict):
        return None
    n = int(number) if number is not None and is_number(number) else None
    data = line if n is None else line.get("data")
    return Event(
        kind=str(line.get("kind") or kind),
        n=n,
        session=line.get("session"),
        run=line.get("run"),
        at=line.get("at"),
        actor=line.get("actor"),
        data=data if isinstance(data, dict) else {},
        raw=raw,
    )


class Following:
    """The position of a follower: the last event received, and the time without a daemon.

    The loops that do the I/O (`connection.py`, `aio_connection.py`) get their requests from it, pass it bytes, and
    report cuts to it.
    """

    def __init__(self, after: int | None, patience: float = 60.0) -> None:
        self.after = after
        self._patience = patience
        self._parser = Parser()
        self._delay = _FIRST_DELAY
        self._waited = 0.0
        self._opened = False

    def query(self) -> dict[str, str]:
        """Return `after`, so that the next stream continues after the last event received."""
        return {} if self.after is None else {"after": str(self.after)}

    def opened(self, newest: str | None) -> None:
        """Record that a stream was opened; `newest` is its X-Kheish-Event, the position for a live-only stream."""
        self._opened, self._parser = True, Parser()
        if self.after is None and newest is not None and is_number(newest):
            self.after = int(newest)

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Yield the events that `chunk` completes, without repetitions."""
        self._delay, self._waited = _FIRST_DELAY, 0.0
        for frame in self._parser.feed(chunk):
            event = event_of(frame)
            if event is None or (event.n is not None and self.after is not None and event.n <= self.after):
                continue
            if event.n is not None:
                self.after = event.n
            yield event

    def cut(self, why: Exception | None) -> float:
        """Return the seconds to wait before the next attempt. Raises Unreachable after `patience` seconds without
        success.

        If the first attempt fails, it raises at once: there is no earlier stream to continue.
        """
        if why is not None and (not self._opened or self._waited >= self._patience):
            raise why if isinstance(why, Unreachable) else Unreachable(str(why)) from why
        if self._waited >= self._patience:
            raise Unreachable("The daemon repeatedly closes the stream at once; see its log.")
        delay = self._delay * random.uniform(0.75, 1.25)  # nosec B311  # spreads reconnects; not security-relevant
        self._waited += delay
        self._delay = min(self._delay * 2, _LONGEST_DELAY)
        return delay
