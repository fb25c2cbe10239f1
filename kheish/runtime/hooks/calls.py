"""The hooks around a tool call: before it is judged, when it asks or is denied, and after it has a result."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from kheish import ids
from kheish.domain import completion, events, messages, public_names
from kheish.domain.calls import BEFORE
from kheish.domain.events import HooksRan, Spilled
from kheish.domain.hooks import narrowing, wire
from kheish.domain.permissions.rules import Verdict
from kheish.domain.runs import Run
from kheish.domain.sessions.session import Session
from kheish.domain.turns import Call
from kheish.runtime.hooks import points
from kheish.runtime.hooks.service import Called, Hooks
from kheish.runtime.tools import arguments as checking
from kheish.runtime.tools.base import Tool
from kheish.state.state import State


def _called(call: Call, tool: Tool, raw: Mapping[str, Any]) -> Called:
    return Called(
        call_id=call.id,
        tool=tool.name,
        ruled=tool.ruled_name,
        effect=tool.effect.value,
        arguments=raw,
        parse=partial(checking.parsed, tool),
    )


def _names(tool: Tool) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*public_names.names_of(tool.name), tool.ruled_name)))


def _about(run: Run, call: Call, tool: Tool, raw: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "tool_name": wire.shown_tool(tool.ruled_name),
        "tool_input": wire.tool_input(tool.name, raw, run.settings.workspace),
        "tool_use_id": call.id,
    }


async def before(state: State, run: Run, call: Call, tool: Tool, raw: Mapping[str, Any], hooks: Hooks) -> bool:
    """Run the hooks that judge a call, and journal what they decide. Returns False if one of them ended the run."""
    called = _called(call, tool, raw)
    if completion.is_check(call.id):  # a check is the requester's, not the agent's
        return passed(state, run, BEFORE, (call.id,))
    for moment, fields in _of_tasks(tool, raw):
        point = f"{moment}:{call.id}"
        if hooks.is_ahead(run, moment, point):
            ran = await hooks.at(run, moment, point, fields)
            ran = None if ran is None else events.changed(ran, call_id=call.id)
            if ran is not None and not _journal(state, run, ran):
                return False
    ran = await hooks.at(
        run, BEFORE, f"{BEFORE}:{call.id}", _about(run, call, tool, raw), subjects=_names(tool), called=called
    )
    return passed(state, run, BEFORE, (call.id,)) if ran is None else _journal(state, run, ran)


def _of_tasks(tool: Tool, raw: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the further events of a call that creates or completes a task."""
    if tool.name == "task_create":
        about = {"task_id": None, "task_subject": raw.get("title"), "task_description": raw.get("description")}
        return [("task_created", about)]
    if tool.name == "task_update" and raw.get("status") == "completed":
        about = {"task_id": raw.get("task_id"), "task_subject": raw.get("title"), "task_description": None}
        return [("task_completed", about)]
    return []


def _journal(state: State, run: Run, ran: HooksRan) -> bool:
    state.append(ran.on(run.session_id, run.run_id))
    return not points.is_stopped(state, run, ran)


def passed(state: State, run: Run, event: str, calls: Sequence[str]) -> bool:
    """Journal that no hook concerned these calls."""
    point = f"{event}:{calls[0]}"
    state.append(HooksRan(event=event, point=point, outcomes=(), passed=tuple(calls)).on(run.session_id, run.run_id))
    return True


async def requested(
    state: State, run: Run, call: Call, tool: Tool, raw: Mapping[str, Any], verdict: Verdict, hooks: Hooks, *, two: bool
) -> tuple[Verdict, HooksRan | None]:
    """Return the verdict on a call that would ask after its hooks were asked first, and their entry if it is new."""
    moment = "permission_request"
    ran = call.hooked.get(moment)
    fresh: HooksRan | None = None
    if ran is None and moment in call.hooks and not completion.is_check(call.id):
        about = {**_about(run, call, tool, raw), "permission_suggestions": []}
        called = _called(call, tool, raw)
        point = f"{moment}:{call.id}"
        ran = fresh = await hooks.at(run, moment, point, about, subjects=_names(tool), called=called)
    if ran is None:
        return verdict, fresh
    if ran.decision == "deny":
        why = f"denied by the hook {ran.decided_by}: {ran.reason}"
        return Verdict(decision="deny", why=why, origin=f"hook {ran.decided_by}"), fresh
    if ran.decision == "allow":
        return narrowing.allowed(verdict, ran, tool.ruled_name, two=two), fresh
    return verdict, fresh


async def denied(state: State, run: Run, call: Call, tool: Tool | None, hooks: Hooks) -> bool:
    """Run the hooks after a denial. Returns whether one of them lets the model retry."""
    moment = "permission_denied"
    known = call.hooked.get(moment)
    if known is not None or tool is None or moment not in call.hooks or isinstance(call.call.arguments, Spilled):
        return known is not None and known.retry
    raw, why = dict(call.call.arguments), call.decision.why if call.decision is not None else ""
    about = {**_about(run, call, tool, raw), "reason": why}
    ran = await hooks.at(run, moment, f"{moment}:{call.id}", about, subjects=_names(tool))
    if ran is None:
        return False
    state.append(events.changed(ran, call_id=call.id).on(run.session_id, run.run_id))
    return ran.retry


async def after(state: State, run: Run, call: Call, tool: Tool | None, hooks: Hooks) -> bool:
    """Run the hooks that read the result of a call. Returns False if one of them ended the run."""
    moment = call.ahead
    if tool is None or completion.is_check(call.id):
        return passed(state, run, moment, (call.id,))
    path = state.get(Session, run.session_id).path
    given = call.started.arguments if call.started is not None else call.call.arguments
    raw = json.loads(await state.payloads.text(path, given)) if isinstance(given, Spilled) else dict(given)
    text = await _result(state, run, call, path)
    took = _took(call)
    about = _about(run, call, tool, raw)
    if call.failed:
        about |= {"error": text[: wire.MOST], "is_interrupt": False, "duration_ms": took}
    else:
        response = wire.tool_response(tool.name, text, {}, raw, run.settings.workspace)
        about |= {"tool_response": response, "duration_ms": took}
    called = _called(call, tool, raw)
    ran = await hooks.at(run, moment, f"{moment}:{call.id}", about, subjects=_names(tool), called=called)
    return passed(state, run, moment, (call.id,)) if ran is None else _journal(state, run, ran)


async def _result(state: State, run: Run, call: Call, path: str) -> str:
    """Return the text of a call's result, from the conversation."""
    known = state.table(messages.Conversation, run.session_id).get(run.session_id)
    for message in reversed(known.messages if known is not None else []):
        if (message.role, message.call_id, message.run_id) == ("tool", call.id, run.run_id):
            text = message.text
            return await state.payloads.text(path, text) if isinstance(text, Spilled) else text
    return ""


def _took(call: Call) -> int | None:
    if call.began_at is None or call.ended_at is None:
        return None
    return int((ids.seconds_of(call.ended_at) - ids.seconds_of(call.began_at)) * 1000)
