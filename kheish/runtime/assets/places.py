"""Places for conversions: uploaders take turns, and none of them can hold all places."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Places:
    """`size` places, of which one owner holds at most `each`; waiting owners get them in turn."""

    def __init__(self, size: int, each: int) -> None:
        self._free = size
        self._each = each
        self._held: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def place(self, owner: str) -> AsyncIterator[None]:
        """Wait for a place, and hold it."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, deque()).append(turn)
        self._give()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it was given in the same moment
                self._take_back(owner)
            raise
        try:
            yield
        finally:
            self._take_back(owner)

    def _take_back(self, owner: str) -> None:
        self._free += 1
        self._held[owner] -= 1
        if not self._held[owner]:
            del self._held[owner]
        self._give()

    def _give(self) -> None:
        while self._free:
            owner = next((one for one in self._waiting if self._held[one] < self._each), None)
            if owner is None:
                return
            turns = self._waiting[owner]
            turn = turns.popleft()
            if turns:
                self._waiting.move_to_end(owner)
            else:
                del self._waiting[owner]
            if turn.cancelled():
                continue
            self._free -= 1
            self._held[owner] += 1
            turn.set_result(None)
