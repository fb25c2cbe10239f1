"""Long polls on Flows: until one has ended, or goes on only when somebody does something."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from kheish.api.services import Services
from kheish.domain import flow_status
from kheish.domain.flow_status import FINAL, FlowStatus
from kheish.domain.flows import Flow
from kheish.store.bus import Frame

#: where a caller who waits may have something to do
STOPS = FINAL | {FlowStatus.WAITING, FlowStatus.BLOCKED}


def is_settled(parts: Services, flow_id: str) -> bool:
    """Whether there is nothing to wait for; so of one that is not in memory."""
    flow = parts.state.find(Flow, flow_id)
    return flow is None or flow_status.status(flow) in STOPS


async def settled(parts: Services, flow_id: str, timeout: float) -> None:
    """Return when the Flow has ended, waits or is blocked; after `timeout` seconds; or when the daemon stops."""
    flow = parts.state.find(Flow, flow_id)
    if flow is None or parts.closing.begun or is_settled(parts, flow_id):
        return
    done = asyncio.Event()

    def look(frames: Sequence[Frame]) -> None:
        if any(frame.session == flow.session_id and frame.n for frame in frames) and is_settled(parts, flow_id):
            done.set()

    stop, forget = parts.bus.listen(look), parts.closing.then(done.set)
    try:
        await asyncio.wait_for(done.wait(), timeout)
    except TimeoutError:
        return
    finally:
        stop()
        forget()
