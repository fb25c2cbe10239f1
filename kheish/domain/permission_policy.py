"""Tool policies: what a Playbook or a phase leaves of the tools. They only take away, whatever rules and modes say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from kheish.domain.events import ToolPolicy
from kheish.domain.permission_rules import SHELL_TOOLS, Verdict


def leaves(policies: Iterable[ToolPolicy], tool: str) -> bool:
    """Whether all of the policies leave the tool."""
    return all(_fault(policy, tool) is None for policy in policies)


def refusal(policies: Sequence[ToolPolicy], tool: str) -> Verdict | None:
    """The verdict of the first policy that takes the tool away; None where all leave it."""
    for policy in policies:
        fault = _fault(policy, tool)
        if fault is not None:
            rule = {"allow": None if policy.allow is None else list(policy.allow), "deny": list(policy.deny)}
            return Verdict(decision="deny", why=f"{policy.origin} {fault}", rule=rule, origin=policy.origin)
    return None


def _fault(policy: ToolPolicy, tool: str) -> str | None:
    denied = next((glob for glob in policy.deny if fnmatchcase(tool, glob)), None)
    if denied is None and tool in SHELL_TOOLS and any(fnmatchcase("bash", glob) for glob in policy.deny):
        denied = "bash"  # as in rules: what is denied must not be had in the background
    if denied is not None:
        return f"takes {tool} away (deny: {denied})"
    if policy.allow is not None and not any(fnmatchcase(tool, glob) for glob in policy.allow):
        return f"allows only {', '.join(policy.allow) or 'no tool at all'}"
    return None
