"""Outputs that nothing can be delivered to: a kind that no package provides, or one that its receiver switched off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kheish.domain.deliveries import verbs
from kheish.domain.outputs import targets
from kheish.errors import Fault, Invalid
from kheish.runtime.outputs import kinds
from kheish.state.state import State


async def check(state: State, reply_targets: Sequence[Any]) -> None:
    """Check the outputs that reply targets name. What is wrong with a target by itself is found later. Raises
    Invalid."""
    faults = []
    for number, target in enumerate(reply_targets):
        name = target.get("output") if isinstance(target, dict) else None
        sink = targets.find(state.definitions, name) if isinstance(name, str) else None
        if sink is None or not isinstance(name, str):
            continue
        why = await kinds.lacking(sink.kind)
        if why is None and (off := await verbs.off(state, name)) is not None:
            why = f"the output {name} is switched off ({off}): kheish outputs enable {name}"
        if why is not None:
            faults.append(Fault(f"/reply_targets/{number}", why))
    if faults:
        raise Invalid("; ".join(f"{one.path}: {one.message}" for one in faults) + ".", errors=faults)
