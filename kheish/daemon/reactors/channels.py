"""Turns of channels: after each batch of entries, the next steps of the channels that they concern.

It finds open turns in the index at the start (threads with open turns, leases whose run has ended), and in entries
later, so that it is the same after a restart as live. It prepares before runs continue: their ends would be missed.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from kheish.authoring.problems import Problems
from kheish.daemon.channels import announcing
from kheish.daemon.channels.announcing import Announcing
from kheish.daemon.channels.arbiter import Arbiter
from kheish.daemon.reactors.base import Reactor, in_stream
from kheish.daemon.reactors.timers import Timers
from kheish.domain import events, runs
from kheish.domain.channels import rooms, thread as threads
from kheish.domain.channels.channel import CHANNELS, LOOP_GUARD
from kheish.domain.events import CHANNEL_TURN, Entry
from kheish.domain.projects.definition import ProjectChannel
from kheish.errors import Damaged, KheishError, StoreFailed
from kheish.state.encoding import Recorded
from kheish.state.state import State

log = logging.getLogger(__name__)

_PAGE = 200
_AGAIN = 5.0  # seconds after an unforeseen failure
_SOON = 2.0  # times within this get a timer; the tick finds later ones
_AT_ONCE = 512  # channels that act at a time
#: the last event of a run → the status in its name
_ENDS = (events.RunCompleted, events.RunFailed, events.RunCancelled, events.RunInterrupted)
_GUARDED = "agents posted as much as they may in an hour; kheish channels resume {id}"

#: channel, turn and session of a lease
Lease = tuple[str, str, str]


class Channels(Reactor):
    """The leases by run, and the times at which channels are due."""

    reacts_to = in_stream(CHANNELS) | {
        events.DefinitionChanged,
        events.SessionCreated,
        events.SessionDeleted,
        events.DaemonResumed,
        *_ENDS,
        *announcing.EVENTS,
    }

    def __init__(self, state: State, problems: Problems) -> None:
        self._state = state
        self._problems = problems
        self._arbiter = Arbiter(state, problems)
        self._announcing = Announcing(state)
        self._leases: dict[str, Lease] = {}
        self._timers = Timers()
        self._timer: asyncio.TimerHandle | None = None
        self._driving: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()  # channels with entries since their steps began
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._work: set[asyncio.Task[None]] = set()
        self._is_ready = False

    # --- starting -----------------------------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Find the leases, before runs continue."""
        for doc in await self._all("channel_turn", ("granted",)):
            self._leases[doc["run_id"]] = (doc["channel"], doc["turn_id"], doc["session_id"])

    async def start(self) -> None:
        """End the turns whose run has ended, cancel runs whose turn has ended, and continue all open turns."""
        self._is_ready = True
        for run_id, lease in list(self._leases.items()):
            await self._settle_ended(run_id, lease)
        for doc in await self._all("run", sorted(runs.LIVE), kind=CHANNEL_TURN):
            await self._guard("", self._stop_stale(doc))
        for doc in await self._all("channel", ("paused",)):
            self._report(doc["channel_id"], doc["pause_reason"])
        await self._take_up_all()
        self._announcing.learn()
        self._spawn(self._guard("", self._announcing.take_up()))

    async def _settle_ended(self, run_id: str, lease: Lease) -> None:
        doc = await asyncio.to_thread(self._state.index.thing, "run", run_id)
        if doc is None:
            await self._guard(lease[0], self._arbiter.settle(*lease[:2], "deleted", "its session was deleted"))
        elif doc["status"] in runs.FINAL:
            reason = (doc["error"] or {}).get("message")
            await self._guard(lease[0], self._arbiter.settle(*lease[:2], str(doc["status"]), reason))

    async def _stop_stale(self, doc: dict[str, Any]) -> None:
        """Cancel a run whose turn has ended: the daemon was killed between the two. A retried run is a person's."""
        if doc["retry_of"] is not None:
            return
        given = doc["request"]["metadata"]
        channel_id, turn_id = str(given.get("channel")), str(given.get("turn_id"))
        if doc["run_id"] not in self._leases and not await self._arbiter.is_granted(channel_id, turn_id):
            await self._arbiter.stop(channel_id, doc["session_id"], doc["run_id"], "its turn has ended")

    async def _take_up_all(self) -> None:
        owners = await asyncio.to_thread(self._state.index.sessions_with, "channel_thread", (threads.ACTIVE,))
        for owner in owners:
            self._look(owner.removeprefix(f"{CHANNELS}/"))
        for doc in await self._all("channel_proposal", ("open",)):
            if doc["expires_at"] is not None:
                self._look(doc["channel"])

    async def _all(self, noun: str, statuses: Sequence[str], **fields: str) -> list[dict[str, Any]]:
        docs: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            page = await asyncio.to_thread(
                self._state.index.things, noun, limit=_PAGE, cursor=cursor, statuses=statuses, fields=fields
            )
            docs += page.items
            cursor = page.next_cursor
            if cursor is None:
                return docs

    # --- reacting -----------------------------------------------------------------------------------------------------

    def heard(self, batch: Sequence[Recorded]) -> None:
        """Look at the channels of the batch, and end the turns whose run has ended."""
        channels: dict[str, None] = {}
        for item in batch:
            entry = item.entry
            if entry.event.stream == CHANNELS:
                event: Any = entry.event
                channels[event.channel_id] = None
                self._note(event)
            elif isinstance(entry.event, _ENDS):
                self._end(entry)
            else:
                self._react(entry)
        for channel_id in channels:
            self._look(channel_id)
        if self._is_ready:
            for work in self._announcing.heard(batch):
                self._spawn(self._guard("", work))

    def _note(self, event: Any) -> None:
        match event:
            case events.TurnGranted(run_id=run_id, channel_id=id, turn_id=turn_id, session_id=session_id):
                self._leases[run_id] = (id, turn_id, session_id)
            case events.TurnEnded(turn_id=turn_id):
                run_id = next((run for run, lease in self._leases.items() if lease[1] == turn_id), "")
                self._leases.pop(run_id, None)
            case events.ChannelPaused(channel_id=id, reason=reason):
                self._report(id, reason)
            case events.ChannelResumed(channel_id=id):
                self._report(id, None)

    def _end(self, entry: Entry) -> None:
        lease = self._leases.get(entry.run or "")
        if lease is None:
            return
        event: Any = entry.event
        status = event.kind.removeprefix("run.")
        reason = event.error.message if isinstance(event, events.RunFailed) else getattr(event, "reason", None)
        self._spawn(self._guard(lease[0], self._arbiter.settle(*lease[:2], status, reason)))

    def _react(self, entry: Entry) -> None:
        match entry.event:
            case events.DefinitionChanged(definition="channels", id=id):
                self._announcing.learn()
                self._look(id)
            case events.DefinitionChanged(definition="projects"):  # its members may be members of channels
                self._announcing.learn()
                mirrored = {link.channel for link in self._links(entry.event.id) if link.mirror}
                for id in {*mirrored, *(lease[0] for lease in self._leases.values())}:
                    self._look(id)
            case events.SessionCreated() if self._arbiter.returned(entry.session or ""):
                for id, file in rooms.files(self._state):
                    if file.of_session(entry.session or "") is not None:
                        self._look(id)
            case events.SessionDeleted(session_id=session_id):
                for lease in [one for one in self._leases.values() if one[2] == session_id]:
                    work = self._arbiter.settle(*lease[:2], "deleted", "its session was deleted")
                    self._spawn(self._guard(lease[0], work))
            case events.DaemonResumed() if self._is_ready:
                self._spawn(self._guard("", self._take_up_all()))

    def _links(self, project: str) -> Sequence[ProjectChannel]:
        """Return the channels that a project links."""
        found = self._state.definitions.by_kind["projects"].get(project)
        return found.value.channels if found is not None else ()

    def _report(self, channel_id: str, reason: str | None) -> None:
        path = f"channels/{channel_id}.yaml"
        if reason == LOOP_GUARD:
            self._problems.add(LOOP_GUARD, path, _GUARDED.format(id=channel_id))
        else:
            self._problems.clear(LOOP_GUARD, path)

    # --- driving ------------------------------------------------------------------------------------------------------

    async def tick(self, now: str) -> None:
        """Look at the channels that are due."""
        self._run_due()

    def _run_due(self) -> None:
        if not self._is_ready:
            return
        for _, key in self._timers.take(self._state.clock()):
            self._look(key[0])
        self._wind()

    def _wind(self) -> None:
        """Set a timer for what is due soon, which is more exact than the tick."""
        first = self._timers.first()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if first is not None and (left := first - self._state.clock()) < _SOON:
            self._timer = asyncio.get_running_loop().call_later(max(left, 0.0) + 0.001, self._run_due)

    def _look(self, channel_id: str) -> None:
        """Take the steps of a channel; one that acts looks again afterwards."""
        if not self._is_ready:
            return
        if channel_id in self._driving:
            self._again.add(channel_id)
            return
        task = self._driving[channel_id] = asyncio.create_task(self._drive(channel_id), name=f"channel {channel_id}")
        task.add_done_callback(lambda _: self._driven(channel_id))

    def _driven(self, channel_id: str) -> None:
        del self._driving[channel_id]
        if channel_id in self._again:
            self._again.discard(channel_id)
            self._look(channel_id)

    async def _drive(self, channel_id: str) -> None:
        async with self._turn:
            self._again.discard(channel_id)

            async def step() -> None:
                due = await self._arbiter.drive(channel_id)
                if due is None:
                    self._timers.drop((channel_id,))
                else:
                    self._timers.set((channel_id,), due)
                self._wind()

            await self._guard(channel_id, step(), failed=lambda: self._retry(channel_id))

    def _retry(self, channel_id: str) -> None:
        self._timers.set((channel_id,), self._state.clock() + _AGAIN)

    async def _guard(self, channel_id: str, work: Awaitable[None], failed: Callable[[], None] = lambda: None) -> None:
        """Await work on one channel; its foreseen errors leave the others alone."""
        try:
            await work
        except StoreFailed:
            return  # the daemon ends; the next one finds the same
        except Damaged as error:
            self._problems.damaged(f"journals/{CHANNELS}/{channel_id}", error.detail)
        except (KheishError, OSError, sqlite3.Error) as error:
            log.warning("channel %s: %s", channel_id, error)
            failed()

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def close(self) -> None:
        """Stop, and wait for the steps in progress."""
        self._is_ready = False
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.gather(*self._driving.values(), *self._work, return_exceptions=True)
