"""A child that is kept busy for ever is ended, and its next life knows: objects may be damaged.

libgit2 (1.9 at least) never comes back from a loose object that is cut off: it asks zlib for more, again and again. No
Python runs meanwhile, so the system counts the processor's time and ends the process, after a note of where it was.
"""

from __future__ import annotations

import faulthandler
import signal
from pathlib import Path

from kheish.store import lock

#: seconds of the processor for one request: more than any takes, over the largest of roots
LIMIT = 120.0


class Watch:
    """One child's. `said` is where its life before was stuck; empty where it was not."""

    def __init__(self, root: Path, name: str) -> None:
        note = lock.private(root) / f"stuck.{name}"
        self.said = note.read_text(errors="replace") if note.exists() else ""
        self._note = note.open("wb")
        faulthandler.register(signal.SIGPROF, file=self._note, all_threads=False, chain=True)
        self.wind()

    def wind(self) -> None:
        """The time begins anew."""
        signal.setitimer(signal.ITIMER_PROF, LIMIT)
