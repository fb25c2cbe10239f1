"""Performing a tool call: prepare its arguments, start it, run it, journal its result."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from kheish.domain import approvals, events, runs, turns
from kheish.domain.events import Spilled, changed
from kheish.domain.permissions.rules import FILE_TOOLS
from kheish.domain.runs import Run
from kheish.domain.sessions.session import Session
from kheish.domain.turns import Call
from kheish.errors import Damaged, NotFound, Unavailable
from kheish.runtime import deciding, recovery
from kheish.runtime.agent import Agent
from kheish.runtime.deciding import Prepared, refused
from kheish.runtime.drivers import bounds
from kheish.runtime.tools import arguments as checking
from kheish.runtime.tools.base import Context, Effect, Result, Suspended, ToolError
from kheish.state import pins
from kheish.state.state import State


async def prepare(state: State, run: Run, call: Call, agent: Agent) -> Prepared | events.ToolFinished:
    """Return the call with its arguments parsed, or the result that reports its faults to the model."""
    tool = agent.tools_for(run).get(call.call.name)
    if tool is None:
        return refused(call, "unknown_tool", checking.unknown_tool(call.call.name, deciding.offered(run, agent)))
    if call.call.left_out:
        text = (
            f"Not run: your answer had {call.call.left_out + bounds.CALLS} calls, and at most {bounds.CALLS - 1} are "
            f"taken at once. This one and the {call.call.left_out} behind it are left out; call again what is still "
            "needed."
        )
        return refused(call, "too_many_calls", text)
    if call.call.malformed is not None:
        sent = call.call.malformed
        beginning = (sent.preview if isinstance(sent, Spilled) else sent)[:200]
        text = f"The arguments are no JSON object: {beginning!r}. Send the call again with valid JSON."
        return refused(call, "invalid_arguments", text)
    if call.call.has_secret:
        text = (
            "The arguments hold a stored secret, which is never passed on in a call; refer to it by a file or a "
            "variable that the command reads by itself, or leave it out."
        )
        return refused(call, "secret_in_arguments", text)
    raw = await _arguments(state, run, call)
    try:
        return Prepared(call=call, tool=tool, raw=raw, arguments=await checking.parsed(tool, raw))
    except ToolError as error:
        return refused(call, "invalid_arguments", str(error))


async def _arguments(state: State, run: Run, call: Call) -> dict[str, Any]:
    given = call.call.arguments
    if isinstance(given, Spilled):
        path = state.get(Session, run.session_id).path
        return dict(orjson.loads(await state.payloads.text(path, given)))
    return given


def context(
    state: State,
    run: Run,
    prepared: Prepared,
    agent: Agent,
    note: Mapping[str, Any],
    resolved: Mapping[str, str] | None = None,
) -> Context:
    """Return the context of a call; `resolved`: the targets of its paths, if its decision is not journaled yet."""
    decision = prepared.call.decision
    judged = decision.resolved if decision else resolved
    return Context(
        session_id=run.session_id,
        run_id=run.run_id,
        call_id=prepared.call.id,
        agent_id=run.agent_id,
        workspace=Path(run.workspace),
        key=_key(run, prepared.call),
        state=state,
        jobs=agent.jobs,
        output=agent.live("tool.output", run, prepared.call.turn, prepared.call.attempts),
        note=note,
        network=decision.network if decision else False,
        hidden=state.hidden,
        judged=judged if prepared.tool.name in FILE_TOOLS else None,
        memory=agent.memory,
        skills=agent.skills,
        assets=agent.assets,
        worker=run.worker,
        as_read=decision.as_read if decision else False,
    )


def _key(run: Run, call: Call) -> str:
    return f"{run.run_id}/{call.turn}/{call.id}"


async def start(
    state: State, run: Run, prepared: Prepared, agent: Agent, given: Mapping[str, Any] | None = None
) -> bool:
    """Plan, journal `tool.started`, run. The barrier stands before any effect. `given`: more for the call's note that
    the journal has elsewhere.

    Returns False if the run waits.
    """
    call, tool = prepared.call, prepared.tool
    try:
        note = await agent.executor.plan(tool, prepared.arguments, context(state, run, prepared, agent, {}))
    except ToolError as error:
        state.append(refused(call, "tool_error", str(error)).on(run.session_id, run.run_id))
        return True
    started = events.ToolStarted(
        call_id=call.id,
        tool=tool.name,
        arguments=dict(prepared.raw),
        digest=approvals.digest_of(tool=tool.name, arguments=prepared.raw, folder=run.workspace, executable=None),
        key=_key(run, call),
        effect=tool.effect.value,
        replay=tool.replay.value,
        note=dict(note),
        network=_reaches_out(prepared),
    )
    state.append(started.on(run.session_id, run.run_id, by=f"agent:{run.agent_id}"))
    if tool.effect is not Effect.READ:
        await state.durable()
    return await _perform(state, run, prepared, agent, {**note, **(given or {})})


async def resume(state: State, run: Run, prepared: Prepared, agent: Agent) -> bool:
    """Continue a call with the user's input that its server asked for. Returns False if the run waits."""
    call, resumed = prepared.call, prepared.tool.resume
    assert resumed is not None and call.started is not None
    outcome = await resumed(prepared.arguments, context(state, run, prepared, agent, call.started.note))
    if isinstance(outcome, Result | Suspended):
        return await _conclude(state, run, prepared, agent, outcome)
    return await start(state, run, prepared, agent, outcome)


async def _perform(state: State, run: Run, prepared: Prepared, agent: Agent, note: Mapping[str, Any]) -> bool:
    """Run a call that is journaled as started."""
    live = agent.live("tool.output", run, prepared.call.turn, prepared.call.attempts)
    given = replace(context(state, run, prepared, agent, note), output=live)
    try:
        result = await agent.executor.call(prepared.tool, prepared.arguments, given)
    except ToolError as error:
        result = Result(content=str(error), is_error=True)
    except TimeoutError:
        result = Result(content=f"The call took longer than {prepared.tool.timeout:g} s and was ended.", is_error=True)
    live.end()
    return await _conclude(state, run, prepared, agent, result)


async def _conclude(state: State, run: Run, prepared: Prepared, agent: Agent, result: Result | Suspended) -> bool:
    if isinstance(result, Suspended):
        waiting = runs.step(state, run.run_id, events.RunWaiting(status=result.waiting))
        state.append(*result.drafts, waiting)
        return False
    if result.detail.get("gone"):
        return recovery.ask(state, run, prepared.call)
    await finish(state, run, prepared.call, result, agent)
    return True


async def finish(state: State, run: Run, call: Call, result: Result, agent: Agent) -> None:
    """Journal a result together with the call's other events, and remove its job's folder once that is durable."""
    finished = events.ToolFinished(
        call_id=call.id,
        tool=call.call.name,
        is_error=result.is_error,
        content=result.content,
        detail=dict(result.detail),
        code="tool_error" if result.is_error else None,
        network=_reached_out(state, run, call),
    )
    if result.uses or result.owners:
        await _append_with_others(state, run, result, finished)
    else:
        state.append(*result.drafts, finished.on(run.session_id, run.run_id))
    job = result.detail.get("job")
    if job:
        await state.durable()
        await agent.jobs.drop(job)


async def _append_with_others(state: State, run: Run, result: Result, finished: events.ToolFinished) -> None:
    """Journal a result with events of other sessions and owners, which are loaded meanwhile; if one of them is gone,
    the call has failed."""
    async with contextlib.AsyncExitStack() as used:
        try:
            for session_id in result.uses:
                await used.enter_async_context(state.using(session_id))
            for stream, owner in result.owners:
                await used.enter_async_context(pins.owner(state, stream, owner))
            drafts = result.drafts
        except (NotFound, Damaged, Unavailable) as error:
            finished, drafts = changed(finished, is_error=True, content=error.detail, code="tool_error"), ()
        state.append(*drafts, finished.on(run.session_id, run.run_id))


def _reaches_out(prepared: Prepared) -> bool:
    """Return whether a call may reach the network, which the audit records."""
    decision = prepared.call.decision
    return prepared.tool.network or bool(decision and decision.network)


def _reached_out(state: State, run: Run, call: Call) -> bool:
    """Return whether `tool.started` recorded network access; `call` may be older than the field."""
    known = next((one for one in turns.of(state, run.run_id).calls if one.id == call.id), call)
    return known.started is not None and known.started.network
