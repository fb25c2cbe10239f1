"""Requests whose proof was refused: counted by connector, and audited without a flood. The first of a minute is audited
at once, and the number of the others when the minute is over."""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass

from kheish.auth import audit
from kheish.errors import StoreFailed
from kheish.state.state import State

_WITHIN = 60.0


@dataclass(slots=True)
class _Minute:
    began: float
    address: str
    more: int = 0


class Rejections:
    """The refused requests of all connectors since the daemon started."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._minutes: dict[str, _Minute] = {}
        self.counts: Counter[str] = Counter()

    def count(self, connector_id: str, address: str, why: str) -> None:
        """Count a refused request; its entry is not durable before the answer."""
        self.counts[connector_id] += 1
        self.flush()
        known = self._minutes.get(connector_id)
        if known is None:
            self._minutes[connector_id] = _Minute(self._state.clock(), address)
            self._audit(connector_id, address, why)
        else:
            known.more += 1
            known.address = address

    def flush(self, *, all: bool = False) -> None:
        """Audit the numbers of the minutes that are over, or of all."""
        now = self._state.clock()
        for connector_id, one in list(self._minutes.items()):
            if all or not 0 <= now - one.began < _WITHIN:
                del self._minutes[connector_id]
                if one.more:
                    self._audit(connector_id, one.address, f"{one.more} more refused within a minute")

    def _audit(self, connector_id: str, address: str, why: str) -> None:
        if self._state.failure is None:
            with contextlib.suppress(StoreFailed):
                self._state.append(audit.auth_failed(address, f"ingress/{connector_id}", why).on())
