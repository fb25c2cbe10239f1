"""Tool policies and capability scopes: the tools that a Playbook, a phase, a session or a persona leaves.

They only take tools away, whatever rules and modes allow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kheish.domain import scopes
from kheish.domain.events import Scope
from kheish.domain.permissions.rules import SHELL_TOOLS, Verdict


def leaves(policies: Iterable[Scope], tool: str) -> bool:
    """Return whether all of the policies leave the tool."""
    return all(_fault(policy, tool) is None for policy in policies)


def refusal(policies: Sequence[Scope], tool: str) -> Verdict | None:
    """Return the verdict of the first policy that takes the tool away; None if all leave it."""
    for policy in policies:
        fault = _fault(policy, tool)
        if fault is not None:
            rule = {"allow": None if policy.allow is None else list(policy.allow), "deny": list(policy.deny)}
            return Verdict(decision="deny", why=f"{policy.origin} {fault}", rule=rule, origin=policy.origin)
    return None


def _fault(policy: Scope, tool: str) -> str | None:
    # As with rules: a denied tool must not run in the background.
    return scopes.fault(policy, tool, denied_as=("bash",) if tool in SHELL_TOOLS else ())
