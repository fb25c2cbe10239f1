"""Hold: while a user's git process works in the state root, commits and edits wait; later the daemon catches up.

The git worker (before each commit), the scribe (before each write) and each adoption of a person's files ask
`store.git.hold` at that moment. This module combines them for status, for problems, and for the end of the hold.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from kheish.authoring import memory
from kheish.authoring.problems import Problems
from kheish.authoring.sources import is_source
from kheish.daemon.git import Git
from kheish.daemon.next_cut import NextCut
from kheish.daemon.status import Facts
from kheish.store.edits.watcher import Watcher

log = logging.getLogger(__name__)

#: seconds after which a hold is a problem that people should know of
LONG = 600.0
#: seconds between two checks of the root: normally, and during a hold
EVERY, OFTEN = 1.0, 0.25

Take = Callable[[frozenset[str]], Awaitable[None]]


class Holding:
    """`take(paths)` takes up a person's files. `clock` is in seconds."""

    def __init__(
        self,
        facts: Facts,
        problems: Problems,
        next_cut: NextCut,
        git: Git,
        watcher: Watcher,
        take: Take,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._facts = facts
        self._problems = problems
        self._next_cut = next_cut
        self._git = git
        self._watcher = watcher
        self._take = take
        self._clock = clock
        self._since: float | None = None
        self._later: set[str] = set()
        self._turn = asyncio.Lock()

    @property
    def every(self) -> float:
        """Seconds until the next look."""
        return OFTEN if self._since is not None or self._later else EVERY

    async def changed(self, paths: frozenset[str]) -> None:
        """Adopt changed files of a user now, or all together after the hold."""
        self._later |= paths
        if (reason := await self._git.held()) is not None:
            self.held(reason)
        elif self._since is None:
            await self._take_up()

    def held(self, reason: str) -> None:
        """Begin a hold: another git process was detected."""
        if self._since is None:
            self._since = self._clock()
            log.info("held: %s", reason)
        self._facts.held = reason
        waited = self._clock() - self._since
        if waited >= LONG:
            minutes = int(waited // 60)
            self._problems.add(
                "git_hold",
                "",
                f"Nothing has been committed for {minutes} minutes, because another git process works here. {reason}",
                severity="warning",
            )

    async def over(self) -> None:
        """Catch up: no other git is at work (any more)."""
        if self._since is not None:
            log.info("the hold is over after %.1f s", self._clock() - self._since)
            self._since, self._facts.held = None, None
            self._problems.clear("git_hold")
            await self._watcher.rescan()
            self._next_cut.mend()
        if self._later:
            await self._take_up()

    async def _take_up(self) -> None:
        async with self._turn:
            paths, self._later = frozenset(self._later), set()
            if paths:
                await self._take(paths)

    def looked(self, found: dict[str, Any]) -> list[str]:
        """Handle what the git worker saw while no other git was at work. Returns the daemon's files it put back."""
        if found.get("moved") or found.get("aside"):
            self._next_cut.mend(found.get("aside", ()))
        # A commit from a stale index removes an edit from the branch, and touches no file: nothing else would notice.
        self._later |= {path for path in found.get("theirs", ()) if is_source(path) or memory.concerns(path)}
        if found.get("mended"):
            log.warning("git had lost objects of the last commit; restored: %s", ", ".join(found["mended"][:10]))
        if found.get("lost"):
            names = ", ".join(found["lost"][:5])
            self._problems.add(
                "objects_lost", "", f"git has lost objects of the last commit for {names}; fetch it from a backup."
            )
        elif "lost" in found:
            self._problems.clear("objects_lost")
        return list(found.get("put_back", ()))
