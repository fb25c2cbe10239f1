"""A sample to an output, sent once for a user who tests its file; it is audited, and no delivery."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kheish import ids
from kheish.domain import events
from kheish.domain.definitions import Definition
from kheish.domain.deliveries import verbs
from kheish.domain.events.outputs import DELIVERIES
from kheish.domain.outputs import targets
from kheish.errors import Conflict, Invalid
from kheish.runtime.outputs import rendering
from kheish.runtime.outputs.attempts import Attempts
from kheish.runtime.outputs.base import Job, NotDelivered
from kheish.state import pins

TEXT = "This is a test of the output {name}, sent by a user of Kheish. No reply is needed."


async def run(
    attempts: Attempts, found: Definition, address: Mapping[str, Any], content: str | None, *, cwd: str, by: str
) -> dict[str, Any]:
    """Send a sample, and return how it went. Raises Invalid for a target that cannot be used, Conflict for an output
    that is switched off or not trusted."""
    state, name = attempts.state, found.id
    target = {**address, "output": name}
    if faults := targets.faults(state.definitions, [target], state.slots, "target"):
        raise Invalid("; ".join(fault.message for fault in faults) + ".", errors=faults)
    why = await attempts.untrusted(name, found.value) or await verbs.off(state, name)
    if why is not None:
        raise Conflict(f"The output {name} is not used: {why}.")
    now, id = state.clock(), ids.new("test")
    output: dict[str, Any] = {
        "output_id": id, "run_id": None, "session_id": None, "kind": "test",
        "content": content or TEXT.format(name=name), "parts": [], "artifacts": [], "at": ids.stamp(now),
    }  # fmt: skip
    job = Job(
        delivery_id=id, attempt=1, name=name, sink=found.value, target=target, output=output,
        body=rendering.body_of(output), created_at=ids.stamp(now),
    )  # fmt: skip
    error, receipt = None, None
    try:
        receipt = (await attempts.send_once(job, cwd)).receipt
    except NotDelivered as failure:
        error = failure.reason
    async with pins.owner(state, DELIVERIES, name):
        state.append(events.OutputTested(output=name, error=error).on(by=by))
        await state.durable()
    took = round((state.clock() - now) * 1000)
    return {
        "output": name, "target": target, "ok": error is None, "error": error, "receipt": receipt, "duration_ms": took,
    }  # fmt: skip
