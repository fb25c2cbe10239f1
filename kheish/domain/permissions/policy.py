"""Tool policies and capability scopes: what a Playbook, a phase, a session or a persona leaves of the tools. They only
take away, whatever rules and modes say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kheish.domain import scopes
from kheish.domain.events import Scope
from kheish.domain.permissions.rules import SHELL_TOOLS, Verdict


def leaves(policies: Iterable[Scope], tool: str) -> bool:
    """Whether all of the policies leave the tool."""
    return all(_fault(policy, tool) is None for policy in policies)


def refusal(policies: Sequence[Scope], tool: str) -> Verdict | None:
    """The verdict of the first policy that takes the tool away; None where all leave it."""
    for policy in policies:
        fault = _fault(policy, tool)
        if fault is not None:
            rule = {"allow": None if policy.allow is None else list(policy.allow), "deny": list(policy.deny)}
            return Verdict(decision="deny", why=f"{policy.origin} {fault}", rule=rule, origin=policy.origin)
    return None


def _fault(policy: Scope, tool: str) -> str | None:
    # As in rules: what is denied must not be had in the background.
    return scopes.fault(policy, tool, denied_as=("bash",) if tool in SHELL_TOOLS else ())
