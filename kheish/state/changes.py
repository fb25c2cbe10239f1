"""What has changed in memory and is not everywhere yet: for the index, for Records, for whoever waits."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from kheish.domain.nouns import Noun
from kheish.state.encoding import Recorded


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

    def let_readers_go(self, error: Exception) -> None:
        """Who waits for the index hears this instead."""
        for _, future in self.readers:
            if not future.done():
                future.set_exception(error)
        self.readers.clear()
