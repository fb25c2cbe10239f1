"""Permission decisions: allow, ask or deny a tool call, with the reason. A pure function of rules, mode and call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kheish.beneath import names
from kheish.domain.events import Scope
from kheish.domain.permissions import (
    deny as permission_deny,
    grant as permission_grant,
    match as permission_match,
    policy as permission_policy,
    shell as permission_shell,
)
from kheish.domain.permissions.match import Fit
from kheish.domain.permissions.risk import risk as risk
from kheish.domain.permissions.rules import (
    SHELL_TOOLS,
    ApprovalPolicy as ApprovalPolicy,
    Decision,
    Mode as Mode,
    PermissionsFile as PermissionsFile,
    Placed,
    Rule as Rule,
    SandboxFacts as SandboxFacts,
    Scopes,
    ToolCall as ToolCall,
    Verdict as Verdict,
    placed,
)
from kheish.jobs.commandline import Redirect

#: the tool that leaves plan mode; a user must agree to it whatever rules allow
LEAVE_PLAN = "exit_plan_mode"
#: effects that a mode allows when no rule matches
_FREE: Mapping[Mode, frozenset[str]] = {
    "default": frozenset({"read", "coordination"}),
    "accept_edits": frozenset({"read", "coordination", "write"}),
    "plan": frozenset({"read", "coordination"}),
    "dont_ask": frozenset({"read", "coordination"}),
    "bypass": frozenset({"read", "coordination"}),
}


def decide(
    call: ToolCall,
    *,
    mode: Mode,
    scopes: Scopes,
    sandbox: SandboxFacts,
    workspace: Path,
    policies: Sequence[Scope] = (),
    tainted_by: str | None = None,
    before_plan: Mode = "default",
) -> Verdict:
    """Return the verdict on a call. `scopes`: rules with the name of their source (`permissions.yaml`, `session`).

    A tool that one of the `policies` takes away is denied, in every mode; policies grant nothing. Among the rules, deny
    beats ask beats allow, in any order and scope; if no rule matches, the mode decides. Patterns allow a command line
    only if it is plain (`plainline`), they allow every simple command in it, none of these runs others, and no
    redirection leaves the workspace; then its re-emission runs (`as_read`). A redirection into the workspace needs
    `accept_edits`, or a rule that allows `write_file` there. An allow rule without `match` allows every call of its
    tool, unless a rule that denies or asks may match it. `tainted_by`: the source of untrusted content in the
    conversation; calls with effects then ask. A call that leaves plan mode asks with the reason of `before_plan`, the
    run's mode outside plan mode. A rule for confined commands is ignored without a sandbox. Without bubblewrap,
    `required` denies every command and `ask` makes it ask; like every ask, this is denied in `dont_ask` and allowed in
    `bypass`. The first call for a command imports the parser.
    """
    refused = permission_policy.refusal(policies, call.tool)
    if refused is not None:
        return refused
    is_confined = sandbox.available and sandbox.mode != "off"
    rules = [item for item in placed(scopes) if item.concerns(call.tool) and (is_confined or not item.rule.confined)]
    judged = list(_restrictions(call, rules, scopes, workspace))
    network = _network(call, rules, workspace)
    for item, fit, what in judged:
        if fit is Fit.YES and item.rule.decision == "deny":
            return _by_rule("deny", item, what)
    confined = sandbox.available or sandbox.mode == "off" or call.tool not in SHELL_TOOLS
    if not confined and sandbox.mode == "required":
        return Verdict(
            decision="deny",
            why="bubblewrap does not work here, and sandbox.mode is required",
            origin="sandbox.mode required",
        )
    verdict = _permitted(call, mode, rules, judged, scopes, workspace)
    if verdict.decision == "allow" and not confined:
        why = "bubblewrap does not work here, so every command asks (sandbox.mode ask)"
        verdict = Verdict(decision="ask", why=why, origin="sandbox.mode ask")
    if verdict.decision == "allow" and tainted_by is not None and call.effect == "effect":
        why = f"untrusted network content entered this conversation ({tainted_by}), and taint is ask"
        verdict = Verdict(decision="ask", why=why, origin="taint ask")
    if verdict.decision == "allow" and call.tool == LEAVE_PLAN and mode == "plan":
        verdict = Verdict(decision="ask", why="a person must agree to the plan", origin="leaving plan mode")
        return _without_asking(verdict, before_plan)
    verdict = _without_asking(verdict, mode)
    network = network and verdict.decision != "deny"
    # A call that a mode allows runs as written; if patterns gave it the network, it runs as they read it.
    as_read = verdict.as_read or (network and verdict.decision == "allow" and not _has_whole(call, rules, workspace))
    return replace(verdict, network=network, as_read=as_read and call.tool in SHELL_TOOLS)


def explain(verdict: Verdict) -> dict[str, Any]:
    """Return the response of `POST /v1/permissions/check`."""
    return {
        "decision": verdict.decision,
        "why": verdict.why,
        "rule": verdict.rule,
        "origin": verdict.origin,
        "network": verdict.network,
    }


_Judged = tuple[Placed, Fit, str]


def _restrictions(call: ToolCall, rules: Sequence[Placed], scopes: Scopes, workspace: Path) -> Iterator[_Judged]:
    """Yield each rule that asks or denies and matches, or may match, the call, with the part of the call that it
    matches."""
    command = _command(call)
    for item in rules:
        if item.rule.decision != "allow":
            if command is not None and not item.rule.exact:
                is_written = item.rule.match is not None and item.rule.match.strip() == command.strip()
                fit = (
                    Fit.YES
                    if is_written
                    else permission_deny.restricts(item.rule.match, permission_shell.read(command))
                )
            else:
                fit = permission_match.restricts(item.rule, call, workspace)
            if fit:
                yield item, fit, ""
    if command is None:
        return
    reading = permission_shell.read(command)
    for redirect, leads in _redirections(reading, call):
        if redirect.target in permission_shell.ALWAYS_OPEN:
            continue
        tool = "write_file" if redirect.writes else "read_file"
        for item in placed(scopes):
            if item.rule.decision == "allow" or not item.concerns(tool):
                continue
            fit = _redirect_fit(item.rule, redirect, leads, call, reading.moves, workspace)
            if fit:
                yield item, fit, f"redirection {'to' if redirect.writes else 'from'} {redirect.target or '?'}: "


def _redirections(reading: permission_shell.Reading, call: ToolCall) -> Iterator[tuple[Redirect, str | None]]:
    """Yield each redirection with its target after following links; None for a target that was not resolved."""
    known = len(call.resolved) == len(reading.redirections)
    return zip(reading.redirections, call.resolved if known else (None,) * len(reading.redirections), strict=True)


def _redirect_fit(
    rule: Rule, redirect: Redirect, leads: str | None, call: ToolCall, moves: bool, workspace: Path
) -> Fit:
    path = _target(redirect, call, moves, workspace)
    if path is None:
        return Fit.MAYBE
    return permission_match.restricts(rule, _file_call(redirect, path, leads), workspace)


def _permitted(
    call: ToolCall,
    mode: Mode,
    rules: Sequence[Placed],
    judged: Sequence[_Judged],
    scopes: Scopes,
    workspace: Path,
) -> Verdict:
    """Return the verdict of a call that no rule denies for certain.

    In `bypass` nothing asks, so a call that may be denied is denied.
    """
    if mode == "bypass":
        for item, _, what in judged:
            if item.rule.decision == "deny":
                return Verdict(
                    decision="deny",
                    why=f"{what}it cannot be distinguished from what {item.origin} denies ({_words(item.rule)})",
                    rule=item.rule.model_dump(),
                    origin=item.origin,
                )
    for item, fit, what in judged:
        if fit is Fit.YES:
            return _by_rule("ask", item, what)
    for item, _, what in judged:
        why = f"{what}only running it would show whether {item.origin} applies ({_words(item.rule)})"
        return _by_mode(call, mode, why, free=False) if mode == "plan" else _asks(why, item)
    allowed: list[Placed] | str
    if call.tool in SHELL_TOOLS:
        allowed = _allowed_command(call, mode, rules, scopes, workspace)
    else:
        allowing = (item for item in rules if item.rule.decision == "allow")
        fitting = [item for item in allowing if permission_match.grants(item.rule, call, workspace)]
        allowed = fitting[:1] or "no rule allows it"
    if isinstance(allowed, str):
        return _by_mode(call, mode, allowed, free=True)
    first = allowed[0]
    why = "; ".join(f"allowed by {item.origin} ({_words(item.rule)})" for item in allowed)
    return Verdict(
        decision="allow",
        why=why,
        rule=first.rule.model_dump(),
        origin=", ".join(item.origin for item in allowed),
        as_read=call.tool in SHELL_TOOLS and not _is_whole(first.rule, call, workspace),
    )


def _allowed_command(
    call: ToolCall,
    mode: Mode,
    rules: Sequence[Placed],
    scopes: Scopes,
    workspace: Path,
) -> list[Placed] | str:
    """Return the rules that together allow a command line, or the reason why they do not."""
    allowing = [item for item in rules if item.rule.decision == "allow"]
    whole = [item for item in allowing if _is_whole(item.rule, call, workspace)]
    command = _command(call)
    if whole:
        return whole[:1]
    patterns = [item for item in allowing if not item.rule.exact]
    if not patterns or command is None:
        return "no rule allows it"
    reading = permission_shell.read(command)
    if reading.refusal is not None:
        return f"no pattern allows a command line that is not plain: {reading.refusal}"
    used: dict[Placed, None] = {}
    for part in reading.allowed:
        rule = next((item for item in patterns if permission_grant.covers(item.rule, part, call, workspace)), None)
        if rule is None:
            return f"no rule allows `{part.text}`{_shortfall(patterns, part, call, workspace)}"
        used[rule] = None
    for redirect, leads in _redirections(reading, call):
        fault = _redirect_fault(redirect, leads, call, reading.moves, mode, scopes, workspace)
        if fault:
            return fault
    return list(used)


def _redirect_fault(
    redirect: Redirect,
    leads: str | None,
    call: ToolCall,
    moves: bool,
    mode: Mode,
    scopes: Scopes,
    workspace: Path,
) -> str | None:
    """Return the reason why a redirection keeps a command line from being allowed; None if it does not."""
    if redirect.target in permission_shell.ALWAYS_OPEN:
        return None
    path = _target(redirect, call, moves, workspace)
    if path is None:
        return (
            "it redirects to a place that only bash can determine"
            if redirect.target is None or moves
            else _outside(redirect)
        )
    if leads is not None and leads != (names.shown("/".join(path)) or "."):
        return f"it redirects through a link or to what is not a plain file ({redirect.target})"
    if not redirect.writes:
        return None
    if (kept := next(filter(names.is_kept, path), None)) is not None:
        return f"it redirects into {kept.casefold()} ({redirect.target})"
    wanted = _file_call(redirect, path, leads)
    if mode == "accept_edits":
        return None
    for item in placed(scopes):
        allows = item.rule.decision == "allow" and item.concerns("write_file")
        if allows and permission_match.grants(item.rule, wanted, workspace):
            return None
    return f"it writes {redirect.target} by a redirection, and no rule for write_file allows that"


def _outside(redirect: Redirect) -> str:
    return f"it redirects out of the workspace ({redirect.target})"


def _target(redirect: Redirect, call: ToolCall, moves: bool, workspace: Path) -> tuple[str, ...] | None:
    """Return the target's path from the workspace; None if it lies outside, or is unknown (after a `cd`)."""
    if redirect.target is None or (moves and not redirect.target.startswith("/")):
        return None
    # A word of a command line is literal here; it contains no escapes of the globs.
    target = names.shown(redirect.target)
    return permission_match.beneath(workspace, target, call.arguments.get("workdir") or ".")


def _file_call(redirect: Redirect, path: tuple[str, ...], leads: str | None) -> ToolCall:
    tool, effect = ("write_file", "write") if redirect.writes else ("read_file", "read")
    resolved = () if leads is None else (leads,)
    arguments = {"path": names.shown("/".join(path)) or "."}
    return ToolCall(tool=tool, effect=effect, arguments=arguments, resolved=resolved)


def _network(call: ToolCall, rules: Sequence[Placed], workspace: Path) -> bool:
    """Return whether rules with `network: true` cover the whole call. A rule that asks counts, since a user agreed to
    it."""
    giving = [item.rule for item in rules if item.rule.network and item.rule.decision != "deny"]
    if not giving or call.tool not in SHELL_TOOLS:
        return any(permission_match.grants(rule, call, workspace) for rule in giving)
    if any(_is_whole(rule, call, workspace) for rule in giving):
        return True
    giving = [rule for rule in giving if not rule.exact]
    command = _command(call)
    reading = permission_shell.read(command) if command is not None else None
    if reading is None or reading.refusal is not None:
        return False
    return all(any(permission_grant.covers(rule, part, call, workspace) for rule in giving) for part in reading.allowed)


def _has_whole(call: ToolCall, rules: Sequence[Placed], workspace: Path) -> bool:
    """Return whether a rule gives the network to the command line as a whole."""
    return any(
        item.rule.network and item.rule.decision != "deny" and _is_whole(item.rule, call, workspace) for item in rules
    )


def _is_whole(rule: Rule, call: ToolCall, workspace: Path) -> bool:
    """Return whether a rule matches a command line as a whole: every command line, or exactly this one."""
    return (
        rule.match is None
        or (rule.exact and permission_match.is_same(rule, call))
        or permission_grant.is_written(rule, call, workspace)
    )


def _shortfall(patterns: Sequence[Placed], part: permission_shell.Part, call: ToolCall, workspace: Path) -> str:
    """Return the reason why the closest rule whose text fits still does not allow a simple command."""
    fitting = [item for item in patterns if permission_shell.fits(item.rule.match, part)]
    closest = max(fitting, key=lambda item: len(item.rule.match or ""), default=None)
    if closest is None:
        return ""
    return f": {permission_grant.shortfall(closest.rule, part, call, workspace)} ({closest.origin})"


def _command(call: ToolCall) -> str | None:
    command = call.arguments.get("command")
    return command if call.tool in SHELL_TOOLS and isinstance(command, str) else None


def _by_rule(decision: Decision, item: Placed, what: str) -> Verdict:
    word = {"deny": "denied", "ask": "asked about", "allow": "allowed"}[decision]
    why = f"{what}{word} by {item.origin} ({_words(item.rule)})"
    return Verdict(decision=decision, why=why, rule=item.rule.model_dump(), origin=item.origin)


def _asks(why: str, item: Placed) -> Verdict:
    return Verdict(decision="ask", why=why, rule=item.rule.model_dump(), origin=item.origin)


def _by_mode(call: ToolCall, mode: Mode, why: str, *, free: bool) -> Verdict:
    origin = f"mode {mode}"
    if free and call.effect in _FREE[mode]:
        return Verdict(decision="allow", why=f"{origin} allows tools of effect {call.effect}", origin=origin)
    if mode == "plan":
        return Verdict(decision="deny", why=f"{why}; mode plan is for reading and coordination only", origin=origin)
    return Verdict(decision="ask", why=f"{why} ({origin})", origin=origin)


def _without_asking(verdict: Verdict, mode: Mode) -> Verdict:
    """Return the final verdict of a call that would ask, in the modes where nothing asks."""
    if verdict.decision != "ask" or mode not in ("dont_ask", "bypass"):
        return verdict
    decision: Decision = "deny" if mode == "dont_ask" else "allow"
    word = "is denied" if mode == "dont_ask" else "is allowed"
    return replace(verdict, decision=decision, why=f"would ask, so it is {word} (mode {mode}): {verdict.why}")


def _words(rule: Rule) -> str:
    what = f"{rule.tool}: {rule.match}" if rule.match else rule.tool
    return f"{what}, {rule.reason}" if rule.reason else what
