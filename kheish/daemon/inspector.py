"""Inspection of calls: `permissions check`, and the digest of a call with edited arguments."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kheish.daemon.workspaces import Workspaces
from kheish.domain import scopes
from kheish.domain.approvals import Approval, Bound
from kheish.domain.flows.flow import PHASE_TOOL
from kheish.domain.permissions import decide as permissions, matrix, rules as permission_rules
from kheish.domain.permissions.rules import Verdict
from kheish.domain.runs import BUDGET, Run
from kheish.domain.sessions.session import Session
from kheish.errors import Fault, Invalid, NotFound
from kheish.jobs import plainline, plainrun
from kheish.runtime import binding, deciding
from kheish.runtime.agent import Agent
from kheish.runtime.locating import Where
from kheish.runtime.tools.arguments import parsed, unknown_tool
from kheish.runtime.tools.base import Tool, ToolError
from kheish.state.state import State


class Inspector:
    """Inspection of calls with access to tools and sandbox, which the API lacks."""

    def __init__(self, state: State, agent: Agent, workspaces: Workspaces) -> None:
        self._state = state
        self._agent = agent
        self._workspaces = workspaces

    def _tool(self, name: str, run: Run | None = None) -> Tool:
        tools = self._agent.tools_for(run)
        tool = tools.get(name) or next((one for one in tools.values() if one.true_name == name), None)
        if tool is None:
            raise NotFound(unknown_tool(name, tools))
        return tool

    async def check(self, tool: str, arguments: Mapping[str, Any], session_id: str | None) -> Mapping[str, Any]:
        """Return the decision on a call and its reason. Raise NotFound for a missing tool or session."""
        if session_id is not None:
            async with self._state.using(session_id):
                return await self._check(tool, arguments, self._state.get(Session, session_id))
        return await self._check(tool, arguments, None)

    async def _check(self, tool: str, arguments: Mapping[str, Any], session: Session | None) -> Mapping[str, Any]:
        found, file = self._tool(tool), self._state.definitions.permissions
        settings, policies, workspace = await self._terms(session)
        where = Where(state=self._state, workspace=workspace, worker=session.worker if session else None)
        call, _ = await deciding.located(self._agent.executor, where, found, arguments)
        verdict = await asyncio.to_thread(
            permissions.decide,
            call,
            mode=permission_rules.effective_mode(file, settings["permission_mode"]),
            scopes=permission_rules.scopes(file, settings["permission_rules"]),
            sandbox=self._agent.executor.sandbox(where.worker) or self._agent.sandbox(),
            workspace=workspace,
            policies=policies,
        )
        return {**permissions.explain(verdict), "runs": _runs(verdict, arguments)}

    async def matrix(self, session_id: str) -> Mapping[str, Any]:
        """Return the decision on the calls of each tool in a session, with the rules that depend on a call's
        arguments. Raises NotFound."""
        async with self._state.using(session_id):
            file = self._state.definitions.permissions
            settings, policies, workspace = await self._terms(self._state.get(Session, session_id))
            mode = permission_rules.effective_mode(file, settings["permission_mode"])
            rules = permission_rules.scopes(file, settings["permission_rules"])
            tools = {tool.ruled_name: tool.effect.value for tool in self._agent.tools_for(None).values()}
            terms = matrix.Terms(mode, rules, self._agent.sandbox(), workspace, tuple(policies))
            rows = await asyncio.to_thread(matrix.rows, tools, terms)
        return {**file.model_dump(mode="json"), "session_id": session_id, "effective_mode": mode, "tools": rows}

    async def _terms(self, session: Session | None) -> tuple[Mapping[str, Any], scopes.Scopes, Path]:
        """Return the settings, the scopes and the workspace of a session, or those of a new one."""
        settings: Mapping[str, Any]
        settings = {"permission_mode": self._state.definitions.permissions.mode, "permission_rules": []}
        policies: scopes.Scopes = ()
        if session is not None:
            settings = session.settings
            policies = scopes.capability(settings, settings["persona"], in_flow=False)
        return settings, policies, Path(settings.get("workspace") or await self._workspaces.presumed())

    async def bound(self, approval: Approval, arguments: Mapping[str, Any]) -> Bound:
        """Determine what an approval of this call with other arguments would be bound to.

        Raises Invalid if the arguments do not fit the tool.
        """
        if approval.tool in (BUDGET, PHASE_TOOL):
            raise Invalid(f"An approval of a {approval.tool} takes allow or deny, but no other arguments.")
        run = self._state.get(Run, approval.run_id)
        tool = self._tool(approval.tool, run)
        try:
            await parsed(tool, dict(arguments))
        except ToolError as error:
            raise Invalid(str(error), errors=[Fault("/arguments", str(error))]) from error
        verdict, _ = await deciding.judge(self._state, run, approval.call_id, tool, arguments, self._agent)
        if verdict.decision == "deny":
            raise Invalid(
                f"The edited call is denied: {verdict.why}.", errors=[Fault("/arguments", "a rule denies the call")]
            )
        return await binding.bind(self._state, run, approval.tool, arguments, self._agent.executor)


def _runs(verdict: Verdict, arguments: Mapping[str, Any]) -> str | None:
    """Return the command line that runs if patterns allow it; None if the text runs unchanged."""
    plain = plainline.read(str(arguments.get("command", ""))) if verdict.as_read else None
    return plainrun.emit(plain) if isinstance(plain, plainline.Plain) else None
