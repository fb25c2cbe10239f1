"""Wake-ups of the worker: after each batch, at the end of a pause, and every second for delayed runs."""

from __future__ import annotations

from collections.abc import Sequence

from kheish.daemon.reactors.base import Reactor
from kheish.domain import events
from kheish.runtime.gates import Gates
from kheish.runtime.worker import Worker
from kheish.state.encoding import Recorded


class Runs(Reactor):
    """The last of the reactors, so that the worker sees the runs that the others submit.

    Open runs continue with the first entry: they do not wait until a long inbox is read.
    """

    reacts_to = None  # the worker looks after each batch

    def __init__(self, worker: Worker, gates: Gates) -> None:
        self._worker = worker
        self._gates = gates

    async def start(self) -> None:
        """Continue open runs."""
        self._worker.look()

    def heard(self, batch: Sequence[Recorded]) -> None:
        """Wake steps that a pause held back, and take runs that were submitted or resumed."""
        if any(isinstance(item.entry.event, events.DaemonResumed) for item in batch):
            self._gates.wake()
        self._worker.look()

    async def tick(self, now: str) -> None:
        """Retry the runs whose workspace was missing."""
        self._worker.retry()
