"""Decisions on a call: the verdict of the rules, the request of an approval, the refusal for the model."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from kheish import ids
from kheish.domain import completion, events
from kheish.domain.events import Scope
from kheish.domain.hooks import narrowing
from kheish.domain.permissions import (
    decide as permissions,
    policy as permission_policy,
    remember as permission_remember,
    rules as permission_rules,
)
from kheish.domain.permissions.rules import FILE_TOOLS, SHELL_TOOLS, Rule, ToolCall, Verdict
from kheish.domain.runs import Run
from kheish.domain.scopes import ATTACH
from kheish.domain.sessions.session import Session
from kheish.domain.skills import restricting
from kheish.domain.turns import Call
from kheish.runtime import binding, locating
from kheish.runtime.agent import Agent
from kheish.runtime.assets import tool as asset_tools
from kheish.runtime.executor import Executor
from kheish.runtime.locating import Where
from kheish.runtime.projects import membership
from kheish.runtime.skills import rules as skill_rules
from kheish.runtime.tools import skills as skill_tools, truncate
from kheish.runtime.tools.base import Context, Tool, ToolError
from kheish.state.state import State
from kheish.store.git import textconv

#: beginnings of the paths of `read_file` that lie in no workspace
_APART = (skill_tools.PREFIX, asset_tools.PREFIX)
NOTHING: Mapping[str, events.HooksRan] = MappingProxyType({})
_PREVIEW_BYTES = 12 * 1024  # a journal line has it whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A call with its tool and its validated arguments."""

    call: Call
    tool: Tool
    raw: Mapping[str, Any]
    arguments: Any


async def judge(
    state: State,
    run: Run,
    call_id: str,
    tool: Tool,
    raw: Mapping[str, Any],
    agent: Agent,
    hooked: Mapping[str, events.HooksRan] = NOTHING,
) -> tuple[Verdict, Mapping[str, str]]:
    """Return the verdict of the rules, and the targets of paths that resolve elsewhere than written.

    A command that checks whether the run is complete was allowed by the author of the run's request, as a rule would
    allow it; policies and scopes of tools restrict the agent, not the check. `hooked`: the outcomes of the hooks that
    judged the call.
    """
    session, file = state.get(Session, run.session_id), state.definitions.permissions
    rules = permission_rules.scopes(file, session.settings["permission_rules"])
    is_check = completion.is_check(call_id)
    # Two persons have to agree to a command that one requested; a Playbook's own checks were reviewed when it was
    # trusted.
    needs_two = permission_rules.needs_two(file) and run.flow is None
    if is_check and not run.settings.checks_ask and not needs_two:
        rules = (*rules, ("the run's completion", (Rule(tool=tool.ruled_name, decision="allow"),)))
    if not is_check:
        may_allow = not permission_rules.needs_two(file)
        rules = (*rules, *await skill_rules.of_run(state, run, may_allow=may_allow))
    call, moved = await located(agent.executor, locating.where(state, run), tool, raw)
    verdict = await asyncio.to_thread(
        permissions.decide,
        call,
        mode=permission_rules.effective_mode(file, run.mode),  # type: ignore[arg-type]  # checked when the session was made
        scopes=rules,
        sandbox=agent.executor.sandbox(run.worker) or agent.sandbox(),
        workspace=Path(run.workspace),
        policies=() if is_check else _policies(state, run),
        before_plan=permission_rules.effective_mode(file, run.settings.permission_mode),  # type: ignore[arg-type]
        tainted_by=session.tainted_by if file.taint == "ask" else None,
    )
    if hooked:
        mode = permission_rules.effective_mode(file, run.mode)  # type: ignore[arg-type]  # as above
        verdict = narrowing.narrowed(verdict, hooked, tool.ruled_name, mode, two=permission_rules.needs_two(file))
    if verdict.decision == "ask" and is_unattended(run):
        verdict = replace(verdict, decision="deny", why=f"{verdict.why}; no person attends this run")
    return verdict, moved


def is_unattended(run: Run) -> bool:
    """Return whether no person may be asked during the run (`unattended: deny` of a schedule)."""
    return run.settings.unattended == "deny"


async def located(
    executor: Executor, where: Where, tool: Tool, raw: Mapping[str, Any]
) -> tuple[ToolCall, Mapping[str, str]]:
    """Return the call with its resolved paths and folders, so that a link does not evade a rule; and the paths that
    resolve elsewhere than written. Raises WorkspaceSlow.
    """
    call = ToolCall(tool=tool.ruled_name, effect=tool.effect.value, arguments=raw)
    if tool.name not in FILE_TOOLS and tool.name not in SHELL_TOOLS:
        return call, {}
    return await executor.locate(where, call)


def offered(run: Run, agent: Agent) -> Mapping[str, Tool]:
    """Return the tools that the model sees: none that policies or scopes remove, evidence only in Flows, and those of
    channels and projects only for their members."""
    policies, useless = _policies(agent.state, run), membership.useless(agent.state, run)
    if run.flow is None:
        useless |= {ATTACH}
    left = {name: tool for name, tool in agent.tools_for(run).items() if name not in useless}
    if not policies:
        return left
    return {name: tool for name, tool in left.items() if permission_policy.leaves(policies, tool.ruled_name)}


def _policies(state: State, run: Run) -> tuple[Scope, ...]:
    return (*run.settings.tool_policies, *run.settings.capability_scope, *restricting.policies(state, run))


def decided(call: Call, verdict: Verdict, resolved: Mapping[str, str]) -> events.PermissionDecided:
    """Return the verdict in journal form, with the places that it was given for."""
    return events.PermissionDecided(
        call_id=call.id,
        tool=call.call.name,
        decision=verdict.decision,
        why=verdict.why,
        rule=verdict.rule,
        origin=verdict.origin,
        network=verdict.network,
        resolved=dict(resolved),
        as_read=verdict.as_read,
    )


async def request(
    executor: Executor, state: State, run: Run, prepared: Prepared, why: str, origin: str | None, context: Context
) -> events.ApprovalRequested:
    """Return the approval to request, bound to the call and the things that it names in their current state."""
    policy = state.definitions.permissions.approvals
    # A rule helps next time only if no rule was the reason to ask.
    would_help = (origin or "").startswith("mode ") and policy.required == 1
    bound = await binding.bind(state, run, prepared.tool.ruled_name, prepared.raw, executor)
    asked = ToolCall(tool=prepared.tool.ruled_name, effect=prepared.tool.effect.value, arguments=prepared.raw)
    remember = await asyncio.to_thread(permission_remember.suggested, asked.tool, prepared.raw) if would_help else {}
    return events.ApprovalRequested(
        approval_id=ids.new("appr"),
        call_id=prepared.call.id,
        tool=prepared.tool.ruled_name,
        arguments=dict(prepared.raw),
        digest=bound.digest,
        files=bound.files,
        why=f"{why}; not bound: {', '.join(bound.unbound)}" if bound.unbound else why,
        risk=await asyncio.to_thread(permissions.risk, asked),
        expires_at=expiry(state),
        required=policy.required,
        came_from=_came_from(state, run, prepared.call),
        remember=remember,
        preview=await _preview(executor, prepared, context),
    )


async def _preview(executor: Executor, prepared: Prepared, context: Context) -> events.Preview | None:
    """Return the change that an edit would make now; None for other calls, and for an edit that would fail."""
    try:
        diff = await executor.preview(prepared.tool, prepared.arguments, context)
    except ToolError:
        return None
    if diff is None:
        return None
    shown = textconv.visible(diff)
    short = truncate.middle(shown, _PREVIEW_BYTES)
    return events.Preview(diff=short, is_whole=short == shown)


def expiry(state: State) -> str | None:
    """Return when an approval that is requested now expires as denied."""
    expires = state.definitions.permissions.approvals.expires
    return None if expires is None else ids.stamp(state.clock() + expires)


def _came_from(state: State, run: Run, call: Call) -> dict[str, Any]:
    """Return the author of the arguments, and whether content of the network may have influenced it."""
    by = f"agent:{run.agent_id}"
    if completion.is_check(call.id):  # the requester of the check; a forged name would mislead the person who decides
        by = run.request.actor if run.flow else run.submitted_by or run.request.actor
    return {"by": by, "turn": call.turn, "tainted_by": state.get(Session, run.session_id).tainted_by}


async def still_approved(executor: Executor, state: State, run: Run, prepared: Prepared) -> bool:
    """Return whether the call, and the things that it names, are those that a person allowed."""
    bound = await binding.bind(state, run, prepared.tool.ruled_name, prepared.raw, executor)
    return bound.digest == prepared.call.approved_digest


def refusal(call: Call, *, may_retry: bool = False) -> events.ToolFinished:
    """Return the result of a call that was denied. `may_retry`: a hook lets the model retry."""
    if call.decision is not None and call.decision.decision == "deny":
        again = " You may retry it." if may_retry else ""
        return refused(call, "permission_denied", f"Not allowed: {call.decision.why}.{again}")
    if call.approval == "denied":
        reason = f" Reason: {call.reason}" if call.reason else ""
        return refused(call, "approval_denied", f"A person ({call.approved_by}) denied this call.{reason}")
    return refused(call, f"approval_{call.approval}", f"The approval of this call {call.approval}.")


def refused(call: Call, code: str, text: str) -> events.ToolFinished:
    """Return the result of a call that does not run."""
    return events.ToolFinished(call_id=call.id, tool=call.call.name, is_error=True, content=text, code=code)
