"""Expires approvals and questions that have waited too long."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3

from kheish.daemon.reactors.base import Reactor
from kheish.domain import approvals, questions
from kheish.errors import Damaged, NotFound, Unavailable
from kheish.state import pins
from kheish.state.state import State


class Expiry(Reactor):
    """Expiry of approvals and questions; it reads the index, which includes sessions that are not loaded."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def tick(self, now: str) -> None:
        """Expire overdue items. During a rebuild of the index, skip: the next tick retries."""
        with contextlib.suppress(Unavailable, sqlite3.Error):
            async with contextlib.AsyncExitStack() as used:
                for noun, cls in (("approval", approvals.Approval), ("question", questions.Question)):
                    for id in await asyncio.to_thread(self._state.index.overdue, noun, now):
                        with contextlib.suppress(NotFound, Damaged):
                            await used.enter_async_context(pins.thing(self._state, cls, id))
                approvals.expire(self._state, now)
                questions.expire(self._state, now)
