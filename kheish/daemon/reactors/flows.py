"""Progress of Flows: after each batch of entries, the next step of the Flows that they concern.

It finds its work in the index (Flows that are pending or running) and in entries, so that it is the same after a
restart as live. Its cost depends on the active Flows, not on all Flows. It waits for nothing: a person's word, a run's
end and evidence are entries like any other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from kheish.daemon.reactors.base import Reactor
from kheish.daemon.spawning import spawn
from kheish.domain import events
from kheish.domain.flows import advance as flow_driving, status as flow_status
from kheish.domain.flows.flow import Flow
from kheish.domain.flows.status import LIVE, FlowStatus
from kheish.errors import Damaged, InsufficientStorage, NotFound, StoreFailed
from kheish.state import pins
from kheish.state.encoding import Recorded
from kheish.state.state import State

log = logging.getLogger(__name__)

_PAGE = 200
#: events that may lead to the next step of a Flow
HEARD = (
    events.FlowStarted,
    events.FlowCancelRequested,
    events.EvidenceAttached,
    events.ApprovalResolved,
    events.RunSubmitted,
    events.RunCompleted,
    events.RunFailed,
    events.RunCancelled,
    events.RunInterrupted,
)


class Flows(Reactor):
    """`damaged(path, reason)` is called for a session that cannot be read: its Flow does not continue."""

    reacts_to = frozenset((events.DaemonResumed, events.PlaybookReleased, *HEARD))

    def __init__(self, state: State, *, damaged: Callable[[str, str], None]) -> None:
        self._state = state
        self._damaged = damaged
        self._later: set[str] = set()  # Flows that could not go on for want of space

    async def start(self) -> None:
        """Continue open Flows: at the start, and when all of a paused daemon is resumed."""
        if None in self._state.paused:
            return
        cursor: str | None = None
        statuses = (FlowStatus.PENDING, FlowStatus.RUNNING)
        while True:
            page = await asyncio.to_thread(
                self._state.index.things, "flow", limit=_PAGE, cursor=cursor, statuses=statuses
            )
            for found in page.items:
                await self._take_up(found["flow_id"], found["session_id"])
            cursor = page.next_cursor
            if cursor is None:
                break
        await self._revoked()

    async def _revoked(self) -> None:
        """Cancel the Flows of versions that were revoked with them, where the daemon was killed before it had."""
        cursor: str | None = None
        while True:
            page = await asyncio.to_thread(
                self._state.index.things, "version", limit=_PAGE, cursor=cursor, statuses=("revoked",)
            )
            for found in page.items:
                if found["cancel_flows"]:
                    await self._cancel_all(found["playbook_id"], found["version"])
            cursor = page.next_cursor
            if cursor is None:
                return

    async def _cancel_all(self, playbook_id: str, version: str) -> None:
        """Cancel all Flows of a version."""
        fields = {"playbook": playbook_id, "version": version}
        reason = f"{playbook_id}@{version} was revoked"
        await self._state.caught_up()
        cursor: str | None = None
        while True:
            page = await asyncio.to_thread(
                self._state.index.things, "flow", limit=_PAGE, cursor=cursor, statuses=sorted(LIVE), fields=fields
            )
            for found in page.items:
                await self._cancel(found["flow_id"], reason)
            await self._state.durable()
            cursor = page.next_cursor
            if cursor is None:
                return

    async def _cancel(self, flow_id: str, reason: str) -> None:
        try:
            async with pins.thing(self._state, Flow, flow_id) as ended:
                flow = None if ended is not None else self._state.get(Flow, flow_id)
                if flow is not None and not flow.is_final and not flow.cancel_requested:
                    flow_driving.cancel(self._state, flow_id, by="daemon", reason=reason)
        except (Damaged, NotFound) as error:
            log.warning("the Flow %s cannot be cancelled: %s", flow_id, error.detail)

    async def _take_up(self, flow_id: str, session_id: str) -> None:
        try:
            async with self._state.using(session_id):
                self._advance(flow_id)
        except Damaged as error:
            self._damaged(session_id, error.detail)
        except NotFound as error:
            log.warning("the Flow %s cannot continue: %s", flow_id, error.detail)

    def heard(self, batch: Sequence[Recorded]) -> None:
        """Advance the Flows of the batch's sessions; cancel those of a version that was revoked with them."""
        for item in batch:
            match item.entry.event:
                case events.DaemonResumed():
                    spawn(self.start())
                case events.PlaybookReleased(state="revoked", cancel_flows=True, playbook_id=id, version=version):
                    spawn(self._cancel_all(id, version))
        if None in self._state.paused:
            return
        for session_id in {item.entry.session for item in batch if isinstance(item.entry.event, HEARD)}:
            part = self._state.sessions.get(session_id or "")
            for flow in list(part.tables[Flow].values()) if part is not None else ():
                if not flow.is_final:
                    self._advance(flow.flow_id)

    async def tick(self, now: str) -> None:
        """Continue Flows that had no space."""
        later, self._later = self._later, set()
        for flow_id in later:
            if self._state.find(Flow, flow_id) is not None:
                self._advance(flow_id)

    def _advance(self, flow_id: str) -> None:
        try:
            flow = flow_driving.advance(self._state, flow_id)
        except InsufficientStorage:
            self._later.add(flow_id)
        except StoreFailed:
            return  # the daemon ends; the next one goes on
        else:
            if flow.is_final:
                log.info("flow %s %s", flow_id, flow_status.status(flow))
