"""Takes up files that were filled in or dropped: `pending/` and `inbox/`."""

from __future__ import annotations

from kheish.authoring.inbox.inbox import Inbox
from kheish.authoring.pending import Answers
from kheish.daemon.reactors.base import Reactor


class Files(Reactor):
    """Finds at the start what was written while no daemon ran; the watcher reports what comes later."""

    def __init__(self, answers: Answers, inbox: Inbox) -> None:
        self._answers = answers
        self._inbox = inbox

    async def start(self) -> None:
        """Take answers and dropped files of before."""
        await self._answers.start()
        await self._inbox.start()

    async def tick(self, now: str) -> None:
        """Look for dropped files that the watcher did not report."""
        await self._inbox.look()
