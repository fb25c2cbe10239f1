"""Changes in memory that the index, the Records and waiting readers do not have yet."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kheish.state.encoding import Recorded
from kheish.state.noun import Noun


@dataclass(frozen=True, slots=True)
class Change:
    """The newest value of a thing, as of entry `n`; `value` is None when the thing is gone.

    `session` is its owner: a session, or an owner in a stream (`releases/triage`). `path` is the session's folder.
    """

    n: int
    noun: Noun
    id: str
    session: str
    path: str
    value: Any


@dataclass(slots=True)
class Waiting:
    """Appended entries and changes that are not durable yet, oldest first."""

    entries: deque[Recorded] = field(default_factory=deque)
    changes: deque[Change] = field(default_factory=deque)
    barriers: deque[tuple[int, asyncio.Future[None]]] = field(default_factory=deque)
    readers: list[tuple[int, asyncio.Future[None]]] = field(default_factory=list)
    measure: Callable[[float], None] | None = None  # gets the seconds of each wait at a barrier
    hurry: Callable[[], None] = lambda: None  # called for each reader that waits: the index gathers entries otherwise

    async def barrier(self, n: int) -> None:
        """Wait until entry `n` is on disk. Raises StoreFailed."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.barriers.append((n, future))
        began = time.perf_counter()
        await future
        if self.measure is not None:
            self.measure(time.perf_counter() - began)

    def until_indexed(self, n: int) -> asyncio.Future[None]:
        """Return a future that is done when the index has entry `n`, which is on disk."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.readers.append((n, future))
        self.hurry()
        return future

    def release(self, last: int) -> tuple[list[Recorded], list[Change]]:
        """Open the barriers up to entry `last`, which is durable. Return the entries that listeners may now see, and
        the newest change of each thing."""
        entries: list[Recorded] = []
        changes: dict[tuple[type, str], Change] = {}
        while self.entries and self.entries[0].entry.n <= last:
            entries.append(self.entries.popleft())
        while self.changes and self.changes[0].n <= last:
            change = self.changes.popleft()
            changes[change.noun.cls, change.id] = change
        while self.barriers and self.barriers[0][0] <= last:
            future = self.barriers.popleft()[1]
            if not future.done():
                future.set_result(None)
        return entries, list(changes.values())

    def let_readers_in(self, last: int) -> None:
        """Wake the readers that waited for entries up to `last`, which the index now has."""
        for _, future in [reader for reader in self.readers if reader[0] <= last]:
            if not future.done():
                future.set_result(None)
        self.readers = [reader for reader in self.readers if reader[0] > last]

    def let_readers_go(self, error: Exception) -> None:
        """Raise `error` in every reader that waits for the index."""
        for _, future in self.readers:
            if not future.done():
                future.set_exception(error)
        self.readers.clear()
