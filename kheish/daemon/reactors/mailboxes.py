"""Delivery of messages: submits the run that an idle recipient needs, expires messages, and sends notices of dead
letters.

It finds open work in the index at the start (sessions with pending messages, dead letters whose sender has no notice),
and in entries later. Its cost depends on the mailboxes with work, not on messages or sessions.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Callable, Sequence

from kheish import ids
from kheish.daemon.reactors.base import Reactor
from kheish.domain import events
from kheish.domain.mailboxes import delivery, letters, recipients
from kheish.domain.mailboxes.message import UNTOLD, Message, mailbox
from kheish.errors import Damaged, InsufficientStorage, NotFound, StoreFailed, Unavailable
from kheish.state import pins
from kheish.state.encoding import Recorded
from kheish.state.state import State

log = logging.getLogger(__name__)

_PAGE = 200
#: events after which a session may need a run for its messages
HEARD = (
    events.MessagePosted,
    events.MessageAttempted,
    events.RunWaiting,
    events.RunCompleted,
    events.RunFailed,
    events.RunCancelled,
    events.RunInterrupted,
)
#: events that may make dead letters
KILLS = (events.MessageDied, events.MessageAttempted, events.SessionEnded, events.RunCancelled, events.RunFailed)


class Mailboxes(Reactor):
    """`damaged(path, reason)` is called for a session that cannot be read: its messages stay."""

    reacts_to = frozenset((*HEARD, *KILLS))

    def __init__(self, state: State, *, damaged: Callable[[str, str], None]) -> None:
        self._state = state
        self._damaged = damaged
        self._later: dict[str, float] = {}  # by session: when to retry a claim
        self._may_expire = True  # whether a pending message may have an end
        self._has_untold = True  # whether a dead letter may lack its notice

    async def start(self) -> None:
        """Continue with the messages that an earlier daemon left."""
        waiting = await asyncio.to_thread(self._state.index.sessions_with, "message", ("pending",))
        for session_id in waiting:
            await self._take_up(session_id)

    def heard(self, batch: Sequence[Recorded]) -> None:
        """Claim the messages of the batch's sessions."""
        sessions: dict[str, None] = {}
        for item in batch:
            event, session_id = item.entry.event, item.entry.session
            if session_id is None:
                continue
            if isinstance(event, HEARD):
                sessions[session_id] = None
            self._has_untold |= isinstance(event, KILLS)
            self._may_expire |= isinstance(event, events.MessagePosted) and event.expires_at is not None
        for session_id in sessions:
            if session_id in self._state.sessions:
                self._claim(session_id)

    async def tick(self, now: str) -> None:
        """Retry claims that are due, expire messages, send notices. While the index is rebuilt, the next tick does."""
        seconds = ids.seconds_of(now)
        for session_id in [id for id, at in self._later.items() if at <= seconds]:
            del self._later[session_id]
            await self._take_up(session_id)
        with contextlib.suppress(Unavailable, sqlite3.Error):
            if self._may_expire:
                await self._expire(now)
            if self._has_untold:
                await self._tell()

    # --- claims -------------------------------------------------------------------------------------------------------

    async def _take_up(self, session_id: str) -> None:
        try:
            async with self._state.using(session_id):
                self._claim(session_id)
        except Damaged as error:
            self._damaged(session_id, error.detail)
        except NotFound as error:
            log.info("messages of %s: %s", session_id, error.detail)

    def _claim(self, session_id: str) -> None:
        now = self._state.clock()
        try:
            delivery.claim(self._state, session_id, now)
        except StoreFailed:
            return
        except InsufficientStorage:
            self._later[session_id] = now + 1.0
            return
        box = mailbox(self._state, session_id)
        if box is not None and box.pending and box.retry_at is not None:
            self._later[session_id] = box.retry_at

    # --- dead letters -------------------------------------------------------------------------------------------------

    async def _expire(self, now: str) -> None:
        keys = await asyncio.to_thread(self._state.index.overdue, "message", now)
        for key in keys:
            with contextlib.suppress(NotFound, Damaged):
                async with pins.thing(self._state, Message, key):
                    letters.expire(self._state, key, now)
        if not keys:
            far, is_left = ids.stamp(ids.seconds_of("9999-01-01T00:00:00Z")), True
            self._may_expire = False  # before the wait, in which another such message may be heard
            try:
                await self._state.caught_up()
                is_left = bool(await asyncio.to_thread(self._state.index.overdue, "message", far))
            finally:
                self._may_expire |= is_left

    async def _tell(self) -> None:
        """Post a notice to each sender of a dead letter that has none."""
        self._has_untold, is_left = False, True
        try:
            await self._state.caught_up()
            page = await asyncio.to_thread(self._state.index.things, "message", limit=_PAGE, statuses=(UNTOLD,))
            for doc in page.items:
                key = f"{doc['session_id']}/{doc['message_id']}"
                await recipients.tell_sender(self._state, doc["session_id"], key, doc["from_session"])
            is_left = page.next_cursor is not None
        finally:
            self._has_untold |= is_left
