"""The arbiter of channels: takes the steps that `arbitrate` decides, and ends turns whose run has ended.

The reactor calls it. Each method takes the channel into memory, reads what it needs, and decides at the end, without an
await between the decision and its entries.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from kheish.authoring.problems import Problems
from kheish.domain.agents import ending
from kheish.domain.assets import asset as assets
from kheish.domain.channels import arbitrate, away, framing, naming, proposing, rooms, speaking
from kheish.domain.channels.arbitrate import Close, Expire, Grant, Leave, Pause, Renew, Room, Wait
from kheish.domain.channels.channel import CHANNELS, key_of
from kheish.domain.channels.framing import Seen
from kheish.domain.channels.thread import Thread
from kheish.domain.channels.turn import Turn
from kheish.domain.runs import Run
from kheish.errors import Damaged, InsufficientStorage, KheishError, NotFound, RunStateConflict, StoreFailed
from kheish.state import pins
from kheish.state.state import State

log = logging.getLogger(__name__)

#: steps of a channel after each other, before others get their turn
STEPS = 100
#: seconds until a member that could not run is tried again
AWAY = 60.0
#: the code of the problem about members that cannot run
PROBLEM = "channel_member"
_HANDED_OVER = "its lease was over, and another agent waited"
_REMOVED = "the channel was removed"


class Arbiter:
    """The operations of the reactor on turns."""

    def __init__(self, state: State, problems: Problems) -> None:
        self._state = state
        self._problems = problems
        self._away = away.of(state)

    def returned(self, session_id: str) -> bool:
        """Forget that a session could not run; return whether it was so."""
        return self._away.forget(session_id)

    async def drive(self, channel_id: str) -> float | None:
        """Take the steps that are due in a channel; return the time of the next, if one is known.

        Raises Damaged, InsufficientStorage, StoreFailed, Unavailable.
        """
        state = self._state
        async with rooms.changing(state, channel_id):
            for _ in range(STEPS):
                if None in state.paused or state.failure is not None:
                    return None
                try:
                    room = speaking.room(state, channel_id)
                except NotFound:
                    await self._abandon(channel_id)
                    return None
                drafts, expiry = proposing.expired(state, channel_id, room.now)
                if drafts:
                    state.append(*drafts)
                step = arbitrate.next_step(room)
                if step is None or isinstance(step, Wait):
                    self._report(room)
                    times = (expiry, step.until if step is not None else None, self._retry_at(room))
                    return min((one for one in times if one is not None), default=None)
                await self._take(room, step)
        return state.clock()

    async def _take(self, room: Room, step: Renew | Expire | Leave | Close | Pause | Grant) -> None:
        match step:
            case Leave(turn=turn):
                self._state.append(speaking.left(turn))
                await self.stop(turn.channel_id, turn.session_id or "", turn.run_id or "", speaking.NO_MEMBER)
            case Renew():
                self._state.append(speaking.renewed(step))
            case Close():
                self._state.append(speaking.closed(step))
            case Pause():
                self._state.append(speaking.guarded(room.channel.channel_id))
            case Expire(turn=turn):
                await self._expire(turn, _HANDED_OVER)
            case Grant():
                await self._grant(room, step)

    # --- grants -------------------------------------------------------------------------------------------------------

    async def _grant(self, room: Room, step: Grant) -> None:
        """Start the turn of a member, if the decision is the same once all is read. A member whose run cannot start is
        away for a while."""
        state, channel_id = self._state, room.channel.channel_id
        session_id = room.file.by_id[step.place.member].session or ""
        try:
            async with state.using(session_id):
                thread = state.get(Thread, key_of(channel_id, step.place.thread))
                seen = await self._seen(thread, step.place.member, session_id)
                names = await naming.member_names(state, room.file)
                async with assets.using_ids(state, framing.attached(seen)):
                    again = speaking.room(state, channel_id)
                    decided = arbitrate.next_step(again)
                    is_same = isinstance(decided, Grant) and decided.place.turn_id == step.place.turn_id
                    if is_same and state.get(Thread, key_of(channel_id, step.place.thread)) == thread:
                        speaking.start(state, again, decided, names, seen)  # type: ignore[arg-type]  # it is a Grant
        except (StoreFailed, InsufficientStorage):
            raise
        except KheishError as error:
            log.warning("channel %s: the turn of %s cannot start: %s", channel_id, step.place.member, error.detail)
            self._away.note(session_id, state.clock() + AWAY, error.detail)

    async def _seen(self, thread: Thread, member: str, session_id: str) -> Seen:
        """Return the messages that the turn of a member shows: those that its session was not shown in a turn that
        completed, and older ones that were changed since."""
        state = self._state
        await state.caught_up()
        limit = 4 * framing.MESSAGES  # some are the member's own, or removed
        pages = [
            await asyncio.to_thread(
                state.index.things,
                "post",
                limit=limit,
                fields={member_of: thread.base.thread_id, "channel": thread.channel_id},
            )
            for member_of in ("thread", "changed_in")
        ]
        docs = {doc["made"]: doc for page in pages for doc in page.items}
        newest_first = [docs[made] for made in sorted(docs, reverse=True)]
        return framing.select(newest_first, after=thread.base.shown.get(session_id, 0), member=member)

    def _retry_at(self, room: Room) -> float | None:
        """Return the time at which a member is tried again that is away, and has a place in the queue."""
        waiting = {one.member for one in arbitrate.queue(room) if one.away is not None} if room.away else set()
        times = [self._away.retry_at(one.session or "") for one in room.file.agents if one.member in waiting]
        return min((one for one in times if one is not None), default=None)

    def _report(self, room: Room) -> None:
        """Report the members that cannot run, as a problem of the file."""
        path = f"channels/{room.channel.channel_id}.yaml"
        if room.away:
            text = "; ".join(f"{member} cannot run: {reason.rstrip('.')}" for member, reason in room.away.items())
            self._problems.add(PROBLEM, path, f"{text}.", severity="warning")
        else:
            self._problems.clear(PROBLEM, path)

    # --- ends ---------------------------------------------------------------------------------------------------------

    async def settle(self, channel_id: str, turn_id: str, status: str, reason: str | None) -> None:
        """End a turn whose run has ended, with its message; a turn that has ended stays as it is."""
        state = self._state
        async with rooms.changing(state, channel_id):
            names = await self._names(channel_id)
            turn = state.find(Turn, turn_id)
            if turn is not None and turn.ended_at is None:
                state.append(*speaking.settle(state, turn, status, reason, names))

    async def _names(self, channel_id: str) -> Mapping[str, str]:
        file = rooms.find_file(self._state, channel_id)
        return await naming.member_names(self._state, file) if file is not None else {}

    async def _expire(self, turn: Turn, reason: str) -> None:
        """End a lease that is over, and then its run. What the agent has posted in it appears."""
        state, names = self._state, await self._names(turn.channel_id)
        now = state.find(Turn, turn.turn_id)
        if now is None or now.ended_at is not None:
            return
        if now.reply is not None:
            state.append(*speaking.settle(state, now, "completed", None, names))
        else:
            state.append(speaking.ended(now, "expired", reason))
        await self.stop(turn.channel_id, turn.session_id or "", turn.run_id or "", reason)

    async def stop(self, channel_id: str, session_id: str, run_id: str, reason: str) -> None:
        """Cancel the run of a turn that has ended; one that has ended stays as it is."""
        state = self._state
        try:
            async with state.using(session_id):
                run = state.find(Run, run_id)
                if run is not None and not run.is_final:
                    ending.stop_run(state, run_id, by=speaking.actor(channel_id), reason=reason)
        except (NotFound, Damaged, RunStateConflict) as error:
            log.info("the run %s of a turn in %s: %s", run_id, channel_id, error.detail)

    async def _abandon(self, channel_id: str) -> None:
        """End all turns of a channel that was removed."""
        state = self._state
        part = state.owners[f"{CHANNELS}/{channel_id}"]
        for turn in list(part.tables[Turn].values()):
            await self._expire(turn, _REMOVED)
        for thread in list(part.tables[Thread].values()):
            if thread.floor is not None:
                state.append(speaking.closed(Close(thread=thread, reason=_REMOVED)))
        self._problems.clear(PROBLEM, f"channels/{channel_id}.yaml")

    async def is_granted(self, channel_id: str, turn_id: str) -> bool:
        """Return whether a turn has a lease."""
        async with pins.owner(self._state, CHANNELS, channel_id):
            turn = self._state.find(Turn, turn_id)
            return turn is not None and turn.ended_at is None
