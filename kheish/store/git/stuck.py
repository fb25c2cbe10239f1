"""A watchdog that ends a child process stuck in an endless loop. The next process then checks for damaged objects.

libgit2 (1.9 at least) never returns from a truncated loose object: it keeps calling zlib for more. No Python runs
meanwhile. So the system counts the processor's time and ends the process, after a note of its position.
"""

from __future__ import annotations

import faulthandler
import signal
from pathlib import Path

from kheish.store import lock

#: seconds of the processor for one request: more than any takes on the largest root
LIMIT = 120.0


class Watch:
    """The watchdog of a child process. `said` is where its predecessor was stuck; empty if it was not."""

    def __init__(self, root: Path, name: str) -> None:
        note = lock.private(root) / f"stuck.{name}"
        self.said = note.read_text(errors="replace") if note.exists() else ""
        self._note = note.open("wb")
        faulthandler.register(signal.SIGPROF, file=self._note, all_threads=False, chain=True)
        self.wind()

    def wind(self) -> None:
        """Restart the timer."""
        signal.setitimer(signal.ITIMER_PROF, LIMIT)
