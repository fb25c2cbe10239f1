"""Rules and policies of the skills that a run uses.

A skill allows nothing by itself: its `allowed-tools` are rules only if it lies in the state root, and a user trusts
exactly the content that was loaded. Its `disallowed-tools` always hold.
"""

from __future__ import annotations

from kheish.domain import trusts
from kheish.domain.definitions import KINDS
from kheish.domain.permissions.rules import Scopes
from kheish.domain.runs import Run
from kheish.domain.skills import allowed, restricting
from kheish.domain.turns import Turn
from kheish.state.state import State


async def of_run(state: State, run: Run, *, may_allow: bool) -> Scopes:
    """Return the rules of the skills that the run uses. `may_allow`: whether a single user's trust may allow calls."""
    turn = state.find(Turn, run.run_id)
    found = restricting.denials(state, run)
    for use in turn.skills if turn is not None else ():
        definition = f"{KINDS['skills'].name}/{use.name}"
        if may_allow and use.allowed and await trusts.is_trusted(state, definition, use.digest):
            found.append((f"skill {use.name}, allowed-tools", list(allowed.rules(use.allowed, "allow", use.place))))
    return tuple(found)
