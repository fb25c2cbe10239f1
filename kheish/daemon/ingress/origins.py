"""The receipt of the request that led to a run: its own, that of its Flow, or that of a run above it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from kheish.domain.agents.agent import Agent
from kheish.domain.connectors.receipt import Receipt
from kheish.domain.runs import Run
from kheish.state.state import State

#: runs from an agent up to its root; trees are less deep
_MOST = 32


async def receipt_of(state: State, run_id: str) -> Mapping[str, Any] | None:
    """Return the receipt of a run; None for a run of another origin. Raises Unavailable."""
    run = await state.recall(Run, run_id)
    if run is None:
        return None
    named = run["request"]["metadata"].get("receipt_id")
    doc = await state.recall(Receipt, named) if isinstance(named, str) else None
    if doc is not None and doc["run_id"] == run_id:  # anyone may write metadata
        return doc
    if run["flow"] is None:
        return None
    await state.caught_up()
    fields = {"flow_id": str(run["flow"]["flow_id"])}
    page = await asyncio.to_thread(state.index.things, "receipt", limit=1, fields=fields)
    return page.items[0] if page.items else None


async def child_of(state: State, run_id: str) -> str | None:
    """Return the path of the agent of a run, such as `root/helper`; None for a root. Raises Unavailable."""
    run = await state.recall(Run, run_id)
    agent = await state.recall(Agent, run["agent_id"]) if run is not None else None
    return str(agent["path"]) if agent is not None and agent["parent"] is not None else None


async def receipt_above(state: State, run_id: str) -> Mapping[str, Any] | None:
    """Return the receipt of a run, or of the nearest run above it: what a child asks is asked where its parent was
    given the work. Raises Unavailable."""
    above: str | None = run_id
    for _ in range(_MOST):
        if above is None:
            return None
        if (receipt := await receipt_of(state, above)) is not None:
            return receipt
        run = await state.recall(Run, above)
        agent = await state.recall(Agent, run["agent_id"]) if run is not None else None
        above = agent["spawned_by_run"] if agent is not None else None
    return None
