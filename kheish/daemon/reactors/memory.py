"""Reads memory files at the start, and drops those of deleted sessions."""

from __future__ import annotations

from collections.abc import Sequence

from kheish.authoring.memory import MemoryFiles
from kheish.daemon.reactors.base import Reactor
from kheish.daemon.spawning import spawn
from kheish.domain import events
from kheish.domain.memory.names import Place
from kheish.state.encoding import Recorded


class Memory(Reactor):
    """The reading of memory files, in the background: runs wait for it before their next prompt."""

    reacts_to = frozenset((events.SessionDeleted,))

    def __init__(self, files: MemoryFiles) -> None:
        self._files = files

    async def start(self) -> None:
        """Begin to read the files."""
        spawn(self._files.start())

    def heard(self, batch: Sequence[Recorded]) -> None:
        """Forget the files of deleted sessions: the next commit removes them."""
        for item in batch:
            if isinstance(item.entry.event, events.SessionDeleted):
                self._files.forget(Place("session", item.entry.event.session_id))
