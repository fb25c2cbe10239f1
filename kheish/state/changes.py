"""What has changed in memory and is not everywhere yet: for the index, for Records, for whoever waits."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from kheish.state.encoding import Recorded
from kheish.state.noun import Noun


@dataclass(frozen=True, slots=True)
class Change:
    """The newest value of a thing, as of entry `n`; `value` None: it is gone.

    `session` is whose it is: a session, or what owns it in a stream (`releases/triage`). `path`: the session's folder.
    """

    n: int
    noun: Noun
    id: str
    session: str
    path: str
    value: Any


@dataclass(slots=True)
class Waiting:
    """What was appended and is not durable yet, oldest first."""

    entries: deque[Recorded] = field(default_factory=deque)
    changes: deque[Change] = field(default_factory=deque)
    barriers: deque[tuple[int, asyncio.Future[None]]] = field(default_factory=deque)
    readers: list[tuple[int, asyncio.Future[None]]] = field(default_factory=list)

    def release(self, last: int) -> tuple[list[Recorded], list[Change]]:
        """Open the barriers up to entry `last`, which is durable; return what listeners may see now: the entries, and
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
        """The index has everything up to `last`: wake the readers that waited for it."""
        for _, future in [reader for reader in self.readers if reader[0] <= last]:
            if not future.done():
                future.set_result(None)
        self.readers = [reader for reader in self.readers if reader[0] > last]

    def let_readers_go(self, error: Exception) -> None:
        """Who waits for the index hears this instead."""
        for _, future in self.readers:
            if not future.done():
                future.set_exception(error)
        self.readers.clear()
