"""The output of a delivery, as receivers get it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from kheish.auth import redaction
from kheish.domain.deliveries.delivery import Delivery
from kheish.domain.events import Spilled
from kheish.domain.runs import Run
from kheish.errors import NotFound
from kheish.state.state import State


async def output_of(state: State, delivery: Delivery) -> dict[str, Any]:
    """Return the output that a delivery of a loaded session carries, without known secrets. Raises NotFound for one
    that the run does not have, Damaged."""
    content = delivery.content if delivery.content is not None else await _content(state, delivery)
    return {
        "output_id": delivery.output_id,
        "run_id": delivery.run_id,
        "session_id": delivery.session_id,
        "kind": delivery.kind,
        "content": redaction.scrub_text(content, state.scrub),
        "parts": [],
        "artifacts": [],
        "at": delivery.created_at,
    }


def body_of(output: Mapping[str, Any]) -> bytes:
    """Return the body of requests and of a command's input: the same bytes at each attempt."""
    return orjson.dumps({"type": "output", "data": output})


async def _content(state: State, delivery: Delivery) -> str:
    run = state.find(Run, delivery.run_id or "")
    if run is not None:
        found: Any = next((one.content for one in run.outputs if one.output_id == delivery.output_id), None)
    else:
        doc = await state.recall(Run, delivery.run_id or "") or {}
        rows = (one["content"] for one in doc.get("outputs", ()) if one["output_id"] == delivery.output_id)
        found = next(rows, None)
    if found is None:
        raise NotFound(f"The run {delivery.run_id} has no output {delivery.output_id}.")
    if isinstance(found, Mapping):
        found = Spilled(**found)
    if isinstance(found, Spilled):
        return await state.payloads.text(state.sessions[delivery.session_id].path, found)
    return str(found)
