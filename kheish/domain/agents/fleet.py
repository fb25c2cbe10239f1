"""The live children of a daemon, counted in memory for quotas. The counts are rebuilt from the index at the start."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from kheish import ids

if TYPE_CHECKING:
    from kheish.state.state import State

MINUTE = 60.0


class Fleet:
    """The live children by id, each with its session, its parent's session and its root."""

    def __init__(self) -> None:
        self.live: dict[str, tuple[str, str, str]] = {}
        self.per_root: Counter[str] = Counter()
        self._spawned: deque[float] = deque()

    def add(self, agent_id: str, session_id: str, parent_session: str, root: str) -> None:
        """Count a live child; a counted child stays as it is."""
        if agent_id not in self.live:
            self.live[agent_id] = (session_id, parent_session, root)
            self.per_root[root] += 1

    def note_spawn(self, at: float) -> None:
        """Count a spawn at a time in seconds since 1970."""
        self._spawned.append(at)

    def remove(self, agent_id: str) -> None:
        """Stop counting a child that has settled."""
        place = self.live.pop(agent_id, None)
        if place is not None:
            self.per_root[place[2]] -= 1
            if not self.per_root[place[2]]:
                del self.per_root[place[2]]

    def in_a_minute(self, now: float) -> int:
        """Return the number of spawns in the last minute."""
        while self._spawned and self._spawned[0] <= now - MINUTE:
            self._spawned.popleft()
        return len(self._spawned)

    def learn(self, doc: dict[str, Any], now: float) -> None:
        """Count the spawn of a child that an earlier daemon recorded, by its document."""
        at = ids.seconds_of(doc["spawned_at"])
        if doc["parent"] is not None and at > now - MINUTE:
            self._spawned.appendleft(at)


def of(state: State) -> Fleet:
    """Return the fleet of a daemon."""
    fleet = state.derived.get(Fleet)
    if fleet is None:
        fleet = state.derived[Fleet] = Fleet()
    assert isinstance(fleet, Fleet)
    return fleet
