"""Read server-sent events: bytes in, events out, and where to go on after a cut. No I/O here."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from kheish.errors import Unreachable

#: seconds without a byte (the daemon pings every 15 s) after which a stream counts as cut
SILENCE = 45.0
_FIRST_DELAY = 0.05
_LONGEST_DELAY = 2.0


@dataclass(frozen=True, slots=True)
class Event:
    """One journal line, or one live frame (`n` is None). `raw` is the line as it was sent."""

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
        """True for frames that are shown once and never replayed (`model.delta`, `tool.output`)."""
        return self.n is None


@dataclass(slots=True)
class Parser:
    """Cuts a stream of bytes, wherever it was split, into `(id, event, data)` frames."""

    _rest: bytes = b""
    _id: str | None = None
    _event: str = ""
    _data: list[str] = field(default_factory=list)
    _begun: bool = False

    def feed(self, chunk: bytes) -> Iterator[tuple[str | None, str, str]]:
        """Yield the frames that `chunk` completes; the id is None for a frame that carries none."""
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
    """The event of one frame; None where its data is no JSON object (a frame of some later version)."""
    number, kind, raw = frame
    try:
        line = json.loads(raw)
    except ValueError:
        return None
    if not isinstance(line, dict):
        return None
    n = int(number) if number is not None and number.isdecimal() else None
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
    """Where a follower stands: which event it saw last, and how long it has been without a daemon.

    The loops that do the I/O (`sync.py`, `aio.py`) ask it what to request, give it bytes, and tell it of cuts.
    """

    def __init__(self, after: int | None, patience: float = 60.0) -> None:
        self.after = after
        self._patience = patience
        self._parser = Parser()
        self._delay = _FIRST_DELAY
        self._waited = 0.0
        self._opened = False

    def query(self) -> dict[str, str]:
        """`after`, so that the next stream begins where the last one was cut."""
        return {} if self.after is None else {"after": str(self.after)}

    def opened(self, newest: str | None) -> None:
        """A stream was opened; `newest` is its X-Kheish-Event, from where a live-only one can go on."""
        self._opened, self._parser = True, Parser()
        if self.after is None and newest is not None and newest.isdecimal():
            self.after = int(newest)

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """The events that `chunk` completes, none of them twice."""
        self._delay, self._waited = _FIRST_DELAY, 0.0
        for frame in self._parser.feed(chunk):
            event = event_of(frame)
            if event is None or (event.n is not None and self.after is not None and event.n <= self.after):
                continue
            if event.n is not None:
                self.after = event.n
            yield event

    def cut(self, why: Exception | None) -> float:
        """Seconds to wait before the next attempt. Raises Unreachable after `patience` seconds in vain.

        A first attempt that fails raises at once: nothing was begun that would be worth waiting for.
        """
        if why is not None and (not self._opened or self._waited >= self._patience):
            raise why if isinstance(why, Unreachable) else Unreachable(str(why)) from why
        if self._waited >= self._patience:
            raise Unreachable("The daemon closes the stream at once, again and again; see its log.")
        delay = self._delay * random.uniform(0.75, 1.25)  # nosec B311  # spreads reconnects; nobody gains by guessing
        self._waited += delay
        self._delay = min(self._delay * 2, _LONGEST_DELAY)
        return delay
