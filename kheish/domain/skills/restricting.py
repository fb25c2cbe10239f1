"""The calls that the skills in use take away from a run, and from the agents that it spawns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kheish.domain.events import ToolPolicy
from kheish.domain.permissions.rules import Rule
from kheish.domain.runs import Run
from kheish.domain.skills import allowed
from kheish.domain.turns import Turn

if TYPE_CHECKING:
    from kheish.state.state import State


def policies(state: State, run: Run) -> tuple[ToolPolicy, ...]:
    """Return the tools that skills take away from the run."""
    turn = state.find(Turn, run.run_id)
    return tuple(
        ToolPolicy(origin=origin(use.name), deny=denied)
        for use in (turn.skills if turn is not None else ())
        if (denied := allowed.tools(use.disallowed))
    )


def denials(state: State, run: Run) -> list[tuple[str, list[Rule]]]:
    """Return the rules by which skills deny some calls of a tool, by origin."""
    turn = state.find(Turn, run.run_id)
    found = []
    for use in turn.skills if turn is not None else ():
        patterns = [call for call in use.disallowed if allowed.has_pattern(call)]
        if denying := list(allowed.rules(patterns, "deny", use.place)):
            found.append((origin(use.name), denying))
    return found


def origin(name: str) -> str:
    """Return the origin of what a skill takes away, as verdicts name it."""
    return f"skill {name}, disallowed-tools"
