"""Announcements: the daemon's proposals in channels that say `announce`, about the work of their members' sessions.

A kill may come between an end and its announcement. The next start looks at the ends just before the last entry of the
killed daemon. The id of a proposal follows from its end, so that none is made twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any

import orjson

from kheish import ids
from kheish.domain import events
from kheish.domain.agents.agent import Agent
from kheish.domain.channels import proposing, rooms
from kheish.domain.channels.channel import CHANNELS, key_of
from kheish.domain.channels.proposal import Proposal
from kheish.domain.channels.proposing import DAEMON, Wish
from kheish.domain.events import Entry, changed
from kheish.domain.schedules.fire import Fire, fire_id
from kheish.domain.tasks.task import Task
from kheish.errors import Conflict, Invalid, NotFound, TooMany
from kheish.state import pins
from kheish.state.encoding import Recorded
from kheish.state.state import State

log = logging.getLogger(__name__)

EVENTS = (events.TaskEnded, events.FireSettled, events.ChildSettled)
#: entries, and seconds, before the last one of an earlier daemon, within which an end may not be announced yet
_ENTRIES, _SECONDS = 1000, 10.0
Work = Coroutine[Any, Any, None]


class Announcing:
    """The channels that announce, by the sessions of their members."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._wanted: dict[str, list[tuple[str, frozenset[str]]]] = {}

    def learn(self) -> None:
        """Read which channels announce what, and about whom."""
        self._wanted = {}
        for id, file in rooms.files(self._state):
            for member in file.agents if file.announce else ():
                self._wanted.setdefault(member.session or "", []).append((id, frozenset(file.announce)))

    def heard(self, batch: Sequence[Recorded]) -> Iterator[Work]:
        """Yield the work of the announcements that a batch leads to."""
        if not self._wanted:
            return
        for item in batch:
            if isinstance(item.entry.event, EVENTS):
                yield self._announce(item.entry)

    async def take_up(self) -> None:
        """Announce what an earlier daemon did not come to."""
        if self._wanted:
            for entry in await asyncio.to_thread(_last_ends, self._state):
                await self._announce(entry, is_late=True)

    async def _announce(self, entry: Entry, *, is_late: bool = False) -> None:
        what, session_id, wish = await self._about(entry)
        for channel_id, wanted in self._wanted.get(session_id or "", ()):
            if what in wanted and wish is not None:
                own = changed(wish, proposal_id=_id_of(channel_id, entry.n))
                if not (is_late and await self._is_announced(channel_id, own, entry.n)):
                    await self._propose(channel_id, own)

    async def _is_announced(self, channel_id: str, wish: Wish, n: int) -> bool:
        """Return whether an end has a proposal of its own, or joined the open one with its key."""
        if await self._state.recall(Proposal, key_of(channel_id, wish.proposal_id or "")) is not None:
            return True
        async with pins.owner(self._state, CHANNELS, channel_id):
            known = self._state.table(Proposal, f"{CHANNELS}/{channel_id}").values()
            return any(one.dedupe_key == wish.dedupe_key and one.n > n for one in known)

    async def _about(self, entry: Entry) -> tuple[str, str | None, Wish | None]:
        """Return what an entry is about: the name in `announce`, the session, and the proposal."""
        state, event = self._state, entry.event
        match event:
            case events.TaskEnded(task_id=id, status="completed") if entry.session in self._wanted:
                task = await state.recall(Task, id)
                text = f"The task {(task or {}).get('title') or id} is completed."
                return "task_completed", entry.session, _wish(f"task:{id}", text)
            case events.ChildSettled(agent_id=id, status=status) if entry.session in self._wanted:
                child = await state.recall(Agent, id)
                text = f"The agent {(child or {}).get('name') or id} has ended: {status}."
                return "agent_result", entry.session, _wish(f"agent:{id}", text, event.tainted_by)
            case events.FireSettled(schedule_id=id, planned=planned, state=end, reason=reason):
                fire = await state.recall(Fire, fire_id(id, planned)) or {}
                text = f"The schedule {id} has {'run' if end == 'settled' else end}{f': {reason}' if reason else ''}."
                return "schedule_result", fire.get("session_id"), _wish(f"schedule:{id}", text)
        return "", None, None

    async def _propose(self, channel_id: str, wish: Wish) -> None:
        state = self._state
        try:
            async with pins.owner(state, CHANNELS, channel_id):
                if drafts := proposing.propose(state, channel_id, wish)[1]:
                    state.append(*drafts)
        except (NotFound, Conflict, Invalid, TooMany) as error:
            log.info("channel %s: %s is not announced: %s", channel_id, wish.dedupe_key, error.detail)


def _id_of(channel_id: str, n: int) -> str:
    return f"prop_{hashlib.sha256(f'{channel_id} {n}'.encode()).hexdigest()[:26]}"


def _last_ends(state: State) -> list[Entry]:
    """Return the ends just before the last entry of the daemon before this one. Blocks on the index."""
    rows = [orjson.loads(line) for _, _, line in state.index.events(state.index.newest() - _ENTRIES, limit=_ENTRIES)]
    started = max((at for at, row in enumerate(rows) if row["kind"] == events.DaemonStarted.kind), default=0)
    since = ids.seconds_of(rows[started - 1]["at"]) - _SECONDS if started else 0.0
    kinds = {one.kind for one in EVENTS}
    return [events.decode(row) for row in rows[:started] if row["kind"] in kinds and ids.seconds_of(row["at"]) >= since]


def _wish(key: str, text: str, tainted_by: str | None = None) -> Wish:
    short = text[: proposing.TEXT_CHARACTERS]
    return Wish(kind="event", dedupe_key=key[: proposing.KEY_CHARACTERS], text=short, by=DAEMON, tainted_by=tainted_by)
