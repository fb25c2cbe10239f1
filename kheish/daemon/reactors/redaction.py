"""Keeps redaction in step with routes: a route may name an environment variable that holds a secret."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kheish.daemon.reactors.base import Reactor
from kheish.domain import events
from kheish.state.encoding import Recorded


class Redaction(Reactor):
    """Calls `learn()` when a route has changed."""

    reacts_to = frozenset((events.DefinitionChanged,))

    def __init__(self, learn: Callable[[], None]) -> None:
        self._learn = learn

    def heard(self, batch: Sequence[Recorded]) -> None:
        """Register the secrets of changed routes before a run can use them."""
        for item in batch:
            match item.entry.event:
                case events.DefinitionChanged(definition="routes"):
                    self._learn()
