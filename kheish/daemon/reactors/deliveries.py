"""Deliveries: takes up what an earlier daemon left, and follows the entries that make deliveries or end them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kheish import ids
from kheish.daemon.reactors.base import Reactor
from kheish.domain import events
from kheish.domain.deliveries import verbs
from kheish.domain.deliveries.delivery import OPEN, Delivery, DeliveryState, read
from kheish.domain.deliveries.rules import Waiting
from kheish.domain.outputs import targets
from kheish.domain.outputs.definition import FOLDER
from kheish.errors import Damaged, NotFound, Unavailable
from kheish.runtime.outputs.attempts import Attempts
from kheish.runtime.outputs.engine import Engine
from kheish.settings import ReplyTarget
from kheish.state.encoding import Recorded

if TYPE_CHECKING:
    from kheish.authoring.problems import Problems
    from kheish.runtime.agent import Agent

_PAGE = 500
UNTRUSTED, INVALID, TWICE = "output_untrusted", "reply_target_invalid", "name_twice"
_ENDED = "the daemon ended during the attempt; whether it arrived is unknown"


class Deliveries(Reactor):
    """The reactor of deliveries."""

    reacts_to = frozenset(
        (
            events.DeliveryCreated,
            events.DeliveryReplayed,
            events.DeliveryResolved,
            events.SessionDeleted,
            events.DefinitionChanged,
            events.DefinitionTrusted,
            events.OutputSwitched,
        )
    )

    def __init__(self, agent: Agent, problems: Problems) -> None:
        self._state = agent.state
        self._problems = problems
        self._attempts = Attempts(agent.state, agent.broker, agent.assets.keeper if agent.assets is not None else None)
        self._unseen = True  # whether the trust in commands is to be checked
        self.engine = Engine(agent.state, self._attempts, closed=self._report_closed, damaged=problems.damaged)

    async def start(self) -> None:
        """Take up all open deliveries. An attempt that a kill has cut off has an unknown end."""
        cursor: str | None = None
        statuses = tuple(str(state) for state in sorted(OPEN))
        await self._state.caught_up(timeout=60)
        while True:
            page = await asyncio.to_thread(
                self._state.index.things, "delivery", limit=_PAGE, cursor=cursor, statuses=statuses
            )
            for doc in page.items:
                delivery = read(doc)
                if delivery.state == DeliveryState.DELIVERING:
                    await self._recover(delivery)
                else:
                    self._add(delivery)
            cursor = page.next_cursor
            if cursor is None:
                break
        self.engine.open()

    async def _recover(self, delivery: Delivery) -> None:
        with contextlib.suppress(NotFound, Damaged):
            async with self._state.using(delivery.session_id):
                found = self._state.find(Delivery, delivery.delivery_id)
                if found is not None and found.state == DeliveryState.DELIVERING:
                    event = events.DeliveryDelayed(
                        delivery_id=found.delivery_id,
                        reason=_ENDED,
                        until=ids.stamp(self._state.clock()),
                        unknown_end=True,
                    )
                    found = verbs.append(self._state, found, event)
                if found is not None and found.is_open:
                    self._add(found)

    def _add(self, delivery: Delivery) -> None:
        at = ids.seconds_of(delivery.next_try_at) if delivery.next_try_at is not None else 0.0
        self.engine.add(delivery.target, Waiting(delivery.delivery_id, delivery.session_id, delivery.made, at))

    def heard(self, batch: Sequence[Recorded]) -> None:
        """Follow a durable batch."""
        for item in batch:
            entry = item.entry
            match entry.event:
                case events.DeliveryCreated() as event if entry.session is not None:
                    self.engine.add(event.target, Waiting(event.delivery_id, entry.session, entry.n))
                case events.DeliveryReplayed() as event if entry.session is not None:
                    known = event.delivery
                    one = Waiting(event.delivery_id, entry.session, int(known["made"]))
                    self.engine.add(known["target"], one)
                case events.DeliveryResolved(delivery_id=id):
                    self.engine.remove(id)
                case events.SessionDeleted(session_id=id):
                    self.engine.forget_session(id)
                case events.DefinitionChanged():
                    self._unseen = True
                    self.engine.wake()
                case events.DefinitionTrusted(definition=name) if name.startswith(FOLDER):
                    self._unseen = True
                    self.engine.wake(name.removeprefix(FOLDER))
                case events.OutputSwitched(output=name):
                    self.engine.wake(name)

    async def tick(self, now: str) -> None:
        """Begin what is due, and report commands that are not started, and targets that cannot be used."""
        self.engine.tick(self._state.clock())
        if self._unseen:
            with contextlib.suppress(Unavailable):
                await self._report()

    async def _report(self) -> None:
        self._unseen = False
        for code in (UNTRUSTED, INVALID, TWICE):
            self._problems.clear(code)
        known = self._state.definitions
        for one in list(known.all()):
            for field in ("reply_targets", "announce"):
                named = getattr(one.value, field, None) or ()
                given = [target.plain for target in named if isinstance(target, ReplyTarget)]
                for fault in targets.faults(known, given, None, field):
                    self._problems.add(INVALID, one.path, f"{fault.path.lstrip('/')}: {fault.message}")
        for name in known.by_kind["outputs"].keys() & known.by_kind["connectors"].keys():
            text = f"The connector {name} has the same name; reply targets mean this output. Rename one of them."
            self._problems.add(TWICE, f"{FOLDER}{name}.yaml", text)
        for found in list(known.by_kind["outputs"].values()):
            why = None if found.value.disabled else await self._attempts.untrusted(found.id, found.value)
            if why is not None:
                self._report_closed(found.id, why)

    def _report_closed(self, name: str, reason: str) -> None:
        self._problems.add(UNTRUSTED, f"{FOLDER}{name}.yaml", f"Deliveries to {name} wait: {reason}")

    async def close(self) -> None:
        """Wait for the attempts in progress."""
        await self.engine.close()
