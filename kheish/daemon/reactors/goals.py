"""Progress of goals: after each batch of entries, the next step of the goals that they concern.

It finds its work in the index (goals that are active or at their budget) and in entries, so that it is the same after
a restart as live. It starts after the mailboxes and before the worker, so that messages go first.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

from kheish import ids
from kheish.daemon import pausing
from kheish.daemon.reactors.base import Reactor
from kheish.daemon.spawning import spawn
from kheish.domain import events
from kheish.domain.goals import advance
from kheish.errors import Damaged, InsufficientStorage, NotFound, StoreFailed, Unavailable
from kheish.state.encoding import Recorded
from kheish.state.state import State

log = logging.getLogger(__name__)

#: events that may lead to the next step of a goal
HEARD = (
    events.GoalSet,
    events.GoalUpdated,
    events.GoalResumed,
    events.GoalDeclared,
    events.GoalDelayed,
    events.QuestionAnswered,
    events.RunWaiting,
    events.RunCompleted,
    events.RunFailed,
    events.RunCancelled,
    events.RunInterrupted,
)
_AGAIN = 1.0  # seconds until the next attempt without space


class Goals(Reactor):
    """`damaged(path, reason)` is called for a session that cannot be read: its goal does not continue."""

    reacts_to = frozenset((events.DaemonResumed, *HEARD))

    def __init__(self, state: State, *, damaged: Callable[[str, str], None]) -> None:
        self._state = state
        self._damaged = damaged
        self._later: dict[str, float] = {}  # by session: the time of the next look

    async def start(self) -> None:
        """Continue the goals that an earlier daemon left, or pause them where the settings say so."""
        if self._state.definitions.config.goals.on_restart == "pause":
            await pausing.pause_goals(self._state, "restart")
        await self._take_up_all()

    async def _take_up_all(self) -> None:
        with contextlib.suppress(Unavailable):  # what is not in the index by then is heard of
            await self._state.caught_up(timeout=60)
        statuses = ("active", "budget_limited")
        for session_id in await asyncio.to_thread(self._state.index.sessions_with, "goal", statuses):
            await self._take_up(session_id)

    def heard(self, batch: Sequence[Recorded]) -> None:
        """Advance the goals of the batch's sessions."""
        if any(isinstance(item.entry.event, events.DaemonResumed) for item in batch):
            spawn(self._take_up_all())
        for session_id in {item.entry.session: None for item in batch if isinstance(item.entry.event, HEARD)}:
            if session_id is None:
                continue
            if session_id in self._state.sessions:
                self._advance(session_id)
            else:
                self._later[session_id] = self._state.clock()  # it was evicted meanwhile: the tick loads it

    async def tick(self, now: str) -> None:
        """Take the steps that are due."""
        seconds = ids.seconds_of(now)
        for session_id in [id for id, at in self._later.items() if at <= seconds]:
            del self._later[session_id]
            await self._take_up(session_id)

    async def _take_up(self, session_id: str) -> None:
        try:
            async with self._state.using(session_id):
                self._advance(session_id)
        except Damaged as error:
            self._damaged(session_id, error.detail)
        except NotFound as error:
            log.info("the goal of %s: %s", session_id, error.detail)

    def _advance(self, session_id: str) -> None:
        if None in self._state.paused:
            return  # `_take_up_all` continues when all is resumed
        now = self._state.clock()
        try:
            due = advance.advance(self._state, session_id, now)
        except InsufficientStorage:
            due = now + _AGAIN
        except StoreFailed:
            return  # the daemon ends; the next one continues
        if due is None:
            self._later.pop(session_id, None)
        else:
            self._later[session_id] = due
