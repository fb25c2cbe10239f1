"""A heap of the times at which a reactor has something to do."""

from __future__ import annotations

import heapq

Key = tuple[str, ...]


class Timers:
    """A heap of times by key; each key has one time. Costs O(log n) for each change."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, Key]] = []
        self._times: dict[Key, float] = {}

    def __len__(self) -> int:
        return len(self._times)

    def set(self, key: Key, time: float) -> None:
        """Set the time of a key, in place of an earlier one."""
        self._times[key] = time
        heapq.heappush(self._heap, (time, key))
        if len(self._heap) > 2 * len(self._times) + 64:
            self._heap = [(time, key) for key, time in self._times.items()]
            heapq.heapify(self._heap)

    def drop(self, key: Key) -> None:
        """Remove a key, if it is there."""
        self._times.pop(key, None)

    def first(self) -> float | None:
        """Return the earliest time."""
        while self._heap and self._times.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take(self, now: float) -> list[tuple[float, Key]]:
        """Remove and return what is due, earliest first."""
        due = []
        while (first := self.first()) is not None and first <= now:
            time, key = heapq.heappop(self._heap)
            del self._times[key]
            due.append((time, key))
        return due
