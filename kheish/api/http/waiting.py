"""Long polls: waits for an event of a run or a session, over one shared listener, and their common end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from kheish.store.bus import Bus, Frame

#: the object of a wait: its kind and its id
Of = tuple[Literal["run", "session"], str]
Wakes = Callable[[Frame], bool]


@dataclass(slots=True)
class Closing:
    """The signal that the daemon stops, which ends streams and long polls."""

    begun: bool = False
    _callbacks: dict[int, Callable[[], None]] = field(default_factory=dict)
    _next: int = 0

    def begin(self) -> None:
        """Notify all listeners, once."""
        self.begun = True
        for callback in list(self._callbacks.values()):
            callback()

    def then(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Register `callback`; returns the function that removes it."""
        key, self._next = self._next, self._next + 1
        self._callbacks[key] = callback

        def forget() -> None:
            self._callbacks.pop(key, None)

        return forget


class Waits:
    """The open long polls, by the object of their wait."""

    def __init__(self, bus: Bus, closing: Closing) -> None:
        self._bus = bus
        self._closing = closing
        self._waiting: dict[Of, dict[asyncio.Future[None], Wakes]] = {}
        self._stop: Callable[[], None] | None = None

    async def until(self, of: Of, wakes: Wakes, timeout: float) -> None:
        """Wait for an event of the run or session that `wakes`, for `timeout` seconds, or for the daemon's stop.

        The caller has checked that the awaited event has not happened yet, and has awaited nothing since.
        """
        if self._closing.begun:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(of, {})[future] = wakes
        if self._stop is None:
            self._stop = self._bus.listen(self._look)
        forget = self._closing.then(lambda: _wake(future))
        try:
            await asyncio.wait((future,), timeout=timeout)
        finally:
            forget()
            self._leave(of, future)

    def _look(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            for of in _subjects(frame):
                for future, wakes in self._waiting.get(of, {}).items():
                    if not future.done() and wakes(frame):
                        _wake(future)

    def _leave(self, of: Of, future: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(of, {})
        waiting.pop(future, None)
        if not waiting:
            self._waiting.pop(of, None)
        if not self._waiting and self._stop is not None:
            self._stop()
            self._stop = None


def _subjects(frame: Frame) -> Iterable[Of]:
    if frame.run is not None:
        yield "run", frame.run
    if frame.session is not None:
        yield "session", frame.session


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
