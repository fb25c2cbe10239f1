"""Lanes: the deliveries that wait for one target, in the order in which they may begin."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from kheish.domain.deliveries.rules import Circuit, Waiting

#: leftover rows after which the heaps are made again
_LEFTOVERS = 64


@dataclass(slots=True)
class Lane:
    """The deliveries of one target. Of `by_order` and `by_time`, rows that `waiting` lacks are leftovers."""

    key: str
    output: str
    waiting: dict[str, Waiting] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)
    circuit: Circuit = field(default_factory=Circuit)
    last_sent: float = 0.0
    closed_until: float = 0.0  # while a command is not trusted
    by_order: list[tuple[int, str]] = field(default_factory=list)
    by_time: list[tuple[float, int, str]] = field(default_factory=list)

    def add(self, one: Waiting) -> None:
        """Add a delivery, or move it to another time."""
        self.waiting[one.delivery_id] = one
        if len(self.by_time) > 2 * len(self.waiting) + _LEFTOVERS:
            self.by_order = [(one.made, id) for id, one in self.waiting.items()]
            self.by_time = [(one.at, one.made, id) for id, one in self.waiting.items()]
            heapq.heapify(self.by_order)
            heapq.heapify(self.by_time)
            return
        heapq.heappush(self.by_order, (one.made, one.delivery_id))
        heapq.heappush(self.by_time, (one.at, one.made, one.delivery_id))

    def remove(self, delivery_id: str) -> None:
        """Remove a delivery, if it waits here."""
        self.waiting.pop(delivery_id, None)

    def take(self, now: float, *, is_strict: bool) -> Waiting | None:
        """Remove and return the delivery that may begin now, or None."""
        one = self._head(is_strict=is_strict)
        if one is None or one.at > now:
            return None
        del self.waiting[one.delivery_id]
        return one

    def next_at(self, now: float, *, is_strict: bool) -> float | None:
        """Return the time at which the lane is to be looked at again; None if nothing waits, or if the end of an
        attempt has to come first."""
        one = self._head(is_strict=is_strict)
        if one is None or (self.running and (is_strict or self.circuit.is_probing)):
            return None
        return max(one.at, self.circuit.until, self.closed_until, now)

    def is_empty(self, now: float) -> bool:
        """Return whether it has nothing to do, and nothing to remember."""
        return not (self.waiting or self.running or self.circuit.failures or self.circuit.until > now)

    def _head(self, *, is_strict: bool) -> Waiting | None:
        if is_strict:
            while self.by_order:
                made, id = self.by_order[0]
                one = self.waiting.get(id)
                if one is not None and one.made == made:
                    return one
                heapq.heappop(self.by_order)
            return None
        while self.by_time:
            at, _, id = self.by_time[0]
            one = self.waiting.get(id)
            if one is not None and one.at == at:
                return one
            heapq.heappop(self.by_time)
        return None
