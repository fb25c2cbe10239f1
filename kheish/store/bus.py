"""The bus: sends durable entries to listeners, in order. It never waits for a listener."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

RECENT = 4096


@dataclass(frozen=True, slots=True)
class Frame:
    """A journal line on its way to listeners. Live-only frames (deltas) have `n` 0 and are in no journal."""

    n: int
    kind: str
    session: str | None
    run: str | None
    line: bytes


Listener = Callable[[Sequence[Frame]], None]


class Bus:
    """The registry of listeners: plain functions that are called on the event loop with each batch."""

    def __init__(self) -> None:
        self._listeners: dict[int, Listener] = {}
        self._next = 0
        self.recent: deque[Frame] = deque(maxlen=RECENT)  # durable frames, to bridge from the index to live

    @property
    def is_heard(self) -> bool:
        """Return whether there are listeners: without them frames need not be encoded."""
        return bool(self._listeners)

    def publish(self, frames: Sequence[Frame]) -> None:
        """Send a batch to all listeners."""
        self.recent.extend(frame for frame in frames if frame.n)
        for listener in list(self._listeners.values()):
            listener(frames)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Add a listener; return the function that removes it."""
        key, self._next = self._next, self._next + 1
        self._listeners[key] = listener

        def stop() -> None:
            self._listeners.pop(key, None)

        return stop

    async def wait(self, matches: Callable[[Frame], bool], timeout: float) -> bool:
        """Wait for a matching frame; return False after `timeout` seconds without one."""
        match: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def look(frames: Sequence[Frame]) -> None:
            if not match.done() and any(matches(frame) for frame in frames):
                match.set_result(None)

        stop = self.listen(look)
        try:
            await asyncio.wait_for(match, timeout)
        except TimeoutError:
            return False
        finally:
            stop()
        return True
