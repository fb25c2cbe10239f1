"""Tool policies and capability scopes: the tools that a Playbook, a phase, a session or a persona leaves.

They only take tools away, whatever rules and modes allow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from kheish.domain import scopes
from kheish.domain.events import Scope
from kheish.domain.mcp import names
from kheish.domain.mcp.server import AUDIENCE
from kheish.domain.permissions.rules import SHELL_TOOLS, Verdict

_WILD = re.compile(r"[*?\[]")


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
    server = names.server_of(tool)
    if server is not None:  # an allow list names a server as `mcp:github`, since a tool might have its bare name
        return scopes.fault(policy, tool, aliases=(f"{AUDIENCE}{server}",), denied_as=(server,))
    # As with rules: a denied tool must not run in the background.
    return scopes.fault(policy, tool, denied_as=("bash",) if tool in SHELL_TOOLS else ())


def may_leave(policies: Iterable[Scope], server: str) -> bool:
    """Return whether all of the policies may leave some tool of an MCP server, whose tools are not known yet."""
    return all(_may_leave(policy, server) for policy in policies)


def _may_leave(policy: Scope, server: str) -> bool:
    prefix, known = names.true_name(server, ""), (server, f"{AUDIENCE}{server}")
    if any(fnmatchcase(name, glob) for glob in policy.deny for name in (*known, f"{prefix}\uffff")):
        return False
    if policy.allow is None:
        return True
    return any(fnmatchcase(known[1], glob) or _may_fit(glob, prefix) for glob in policy.allow)


def _may_fit(glob: str, prefix: str) -> bool:
    """Return whether a glob may match a name with this prefix."""
    head = _WILD.split(glob, maxsplit=1)[0]
    return head.startswith(prefix) or (head != glob and prefix.startswith(head))
