"""The engine of deliveries: it begins the attempts that are due, per target in order, and never more than it may.

Everything that it holds follows from the journals, so that a kill at any point loses nothing. A delivery is known here
only after its entry is durable. Its cost depends on the deliveries that are open.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
from collections import deque
from collections.abc import Callable

from kheish.domain.deliveries import rules
from kheish.domain.deliveries.rules import Waiting
from kheish.domain.outputs import targets
from kheish.errors import Damaged, KheishError, NotFound, StoreFailed, Unavailable
from kheish.runtime.outputs import kinds
from kheish.runtime.outputs.attempts import Attempts, Ended
from kheish.runtime.outputs.lanes import Lane
from kheish.state.state import State

log = logging.getLogger(__name__)

#: attempts at once in the whole daemon
AT_ONCE = 32
#: seconds that a stop waits for attempts in progress
PATIENCE = 5.0
_RETRY = 1.0


class Engine:
    """The lanes of all targets. `closed(name, reason)` reports an output whose command is not trusted;
    `damaged(session_id, reason)` a session that cannot be read."""

    def __init__(
        self,
        state: State,
        attempts: Attempts,
        *,
        closed: Callable[[str, str], None],
        damaged: Callable[[str, str], None],
    ) -> None:
        self._state = state
        self._attempts = attempts
        self._closed = closed
        self._damaged = damaged
        self._lanes: dict[str, Lane] = {}
        self._places: dict[str, str] = {}  # by delivery: its lane
        self._timers: list[tuple[float, str]] = []
        self._full: deque[str] = deque()  # lanes that wait for a place among the attempts at once
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_open = False

    def open(self) -> None:
        """Begin attempts; from then on, too, for what is added."""
        self._is_open = True
        for key in list(self._lanes):
            self._pump(key)

    def add(self, target: targets.Target, one: Waiting) -> None:
        """Add a delivery that is open; a known one stays where it is."""
        if one.delivery_id in self._places:
            return
        key = targets.key_of(target)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key, str(target.get("output")))
        self._places[one.delivery_id] = key
        lane.add(one)
        self._pump(key)

    def remove(self, delivery_id: str) -> None:
        """Remove a delivery that has ended by other hands."""
        key = self._places.pop(delivery_id, None)
        if key is not None and key in self._lanes:
            self._lanes[key].remove(delivery_id)
            self._pump(key)

    def forget_session(self, session_id: str) -> None:
        """Remove the deliveries of a session that was deleted."""
        for lane in list(self._lanes.values()):
            for id in [id for id, one in lane.waiting.items() if one.session_id == session_id]:
                self.remove(id)

    def wake(self, output: str | None = None) -> None:
        """Look at lanes again, after a change of their output, or of trust in it."""
        for key, lane in list(self._lanes.items()):
            if output is None or lane.output == output:
                lane.closed_until = 0.0
                self._pump(key)

    def tick(self, now: float) -> None:
        """Begin what is due."""
        while self._timers and self._timers[0][0] <= now:
            self._pump(heapq.heappop(self._timers)[1])

    async def close(self) -> None:
        """Begin nothing more, wait a little for attempts in progress, and end the others: their end is unknown."""
        self._is_open = False
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=PATIENCE)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- beginning ----------------------------------------------------------------------------------------------------

    def _pump(self, key: str) -> None:
        """Begin the attempts of a lane that may begin now, and set its timer."""
        lane = self._lanes.get(key)
        if lane is None or not self._is_open or self._state.failure is not None:
            return
        now = self._state.clock()
        if None in self._state.paused:
            self._set_timer(now + _RETRY, key)
            return
        sink = targets.find(self._state.definitions, lane.output)
        is_strict = sink.is_strict if sink is not None else False
        at_once = kinds.AT_ONCE.get(sink.kind if sink is not None else "", 4)
        room = rules.room(lane.circuit, now, len(lane.running), is_strict=is_strict, at_once=at_once)
        while room > 0 and now >= lane.closed_until:
            if len(self._tasks) >= AT_ONCE:
                self._full.append(key)
                return
            one = lane.take(now, is_strict=is_strict)
            if one is None:
                break
            room -= 1
            lane.running.add(one.delivery_id)
            task = asyncio.get_running_loop().create_task(self._attempt(lane, one))
            self._tasks.add(task)
            task.add_done_callback(self._done)
        at = lane.next_at(now, is_strict=is_strict)
        if at is not None and at > now:
            self._set_timer(at, key)
        if lane.is_empty(now):
            del self._lanes[key]

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        for _ in range(len(self._full)):
            if len(self._tasks) >= AT_ONCE:
                break
            self._pump(self._full.popleft())

    def _set_timer(self, at: float, key: str) -> None:
        heapq.heappush(self._timers, (at, key))
        delay = max(0.0, at - self._state.clock())
        if delay < _RETRY:  # the tick is too coarse for the first pauses
            asyncio.get_running_loop().call_later(delay + 0.001, lambda: self.tick(self._state.clock()))

    # --- attempting ---------------------------------------------------------------------------------------------------

    async def _attempt(self, lane: Lane, one: Waiting) -> None:
        ended = Ended(next_at=self._state.clock() + _RETRY)
        try:
            async with self._state.using(one.session_id):
                ended = await self._attempts.run(one.delivery_id, lambda seconds: self._space(lane, seconds))
        except StoreFailed:
            return
        except NotFound:  # the session was deleted
            ended = Ended()
        except Damaged as error:
            self._damaged(one.session_id, error.detail)
            ended = Ended()
        except Unavailable:
            pass  # the index is being rebuilt
        except KheishError as error:
            log.warning("delivery %s: %s", one.delivery_id, error.detail)
        finally:
            lane.running.discard(one.delivery_id)
        self._settle(lane, one, ended)

    def _settle(self, lane: Lane, one: Waiting, ended: Ended) -> None:
        now = self._state.clock()
        if ended.is_failed:
            lane.circuit = lane.circuit.failed(now, ended.delay)
        elif ended.is_answered:
            lane.circuit = lane.circuit.answered()
        if ended.retry_after:
            lane.circuit = lane.circuit.throttled(now + ended.retry_after)
        if ended.closed is not None and ended.next_at is not None:
            lane.closed_until = ended.next_at
            self._closed(lane.output, ended.closed)
        if ended.next_at is None:
            self._places.pop(one.delivery_id, None)
        else:
            at = 0.0 if ended.closed is not None else ended.next_at
            lane.add(Waiting(one.delivery_id, one.session_id, one.made, at))
        self._pump(lane.key)

    async def _space(self, lane: Lane, seconds: float) -> None:
        """Wait until the target may get its next message."""
        now = self._state.clock()
        at = max(now, lane.last_sent + seconds)
        lane.last_sent = at
        with contextlib.suppress(ValueError):
            await asyncio.sleep(at - now)
