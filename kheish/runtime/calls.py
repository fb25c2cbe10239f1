"""Answering the open tool calls of a turn: decide, ask, recheck, run, or recover, as the journal says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from kheish.domain import approvals, events, questions, runs, turns
from kheish.domain.events import Draft, Spilled
from kheish.domain.permission_rules import FILE_TOOLS
from kheish.domain.runs import Run, Status
from kheish.domain.sessions import Session
from kheish.domain.state import State
from kheish.domain.turns import Call, Turn
from kheish.runtime import deciding, recovery
from kheish.runtime.agent import Agent
from kheish.runtime.deciding import Prepared, refused
from kheish.runtime.drivers import bounds
from kheish.runtime.tools import arguments as checking
from kheish.runtime.tools.base import Context, Effect, Result, Suspended, ToolError


async def answer(state: State, run: Run, turn: Turn, agent: Agent) -> bool:
    """Take the open calls one step on. False where the run waits for a person, or has ended."""
    if turn.mended and not turn.checking:  # the model was given no tools for this answer
        text = "No tools now: answer with nothing but the JSON that the output contract asks for."
        drafts = [refused(call, "no_tools", text).on(run.session_id, run.run_id) for call in turn.open_calls]
        state.append(*drafts)
        return True
    undecided = [call for call in turn.open_calls if call.decision is None and call.started is None]
    if undecided:
        return await _decide(state, run, undecided, agent)
    if any(call.waits for call in turn.open_calls):
        waiting = Status.WAITING_FOR_APPROVAL if _asks(turn) else Status.WAITING_FOR_QUESTION
        state.append(runs.step(state, run.run_id, events.RunWaiting(status=waiting)))
        return False
    first = turn.open_calls[0]
    reads = [call for call in _leading_reads(turn, agent) if call.decision and call.started is None]
    if len(reads) > 1:
        await asyncio.gather(*(_take(state, run, call, agent) for call in reads))
        return True
    return await _take(state, run, first, agent)


def _asks(turn: Turn) -> bool:
    return any(call.approval_id is not None and call.approval is None for call in turn.open_calls)


def _leading_reads(turn: Turn, agent: Agent) -> Iterator[Call]:
    """The read-only calls before the first with an effect: they run side by side."""
    for call in turn.open_calls:
        tool = agent.tools.get(call.call.name)
        if tool is None or tool.effect is not Effect.READ:
            return
        yield call


# --- deciding ---------------------------------------------------------------------------------------------------------


async def _decide(state: State, run: Run, undecided: Sequence[Call], agent: Agent) -> bool:
    """Decide all calls of the turn at once; those that ask are all requested in one group."""
    drafts: list[Draft] = []
    asking = False
    for call in undecided:
        prepared = await _prepare(state, run, call, agent)
        if isinstance(prepared, events.ToolFinished):
            drafts.append(prepared.on(run.session_id, run.run_id))
            continue
        verdict, resolved = await deciding.judge(state, run, call.id, prepared.tool, prepared.raw, agent)
        drafts.append(deciding.decided(call, verdict, resolved).on(run.session_id, run.run_id))
        if verdict.decision == "ask":
            context = _context(state, run, prepared, agent, {}, resolved)
            requested = await deciding.request(state, run, prepared, verdict.why, verdict.origin, context)
            drafts.append(requested.on(run.session_id, run.run_id))
            asking = True
    if asking:
        waiting = events.RunWaiting(status=Status.WAITING_FOR_APPROVAL)
        drafts.append(runs.step(state, run.run_id, waiting))
    state.append(*drafts)
    return not asking


async def _prepare(state: State, run: Run, call: Call, agent: Agent) -> Prepared | events.ToolFinished:
    """The call read and checked, or the result that tells the model what is wrong with it."""
    tool = agent.tools.get(call.call.name)
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
        return Prepared(call=call, tool=tool, raw=raw, arguments=checking.parse_arguments(tool, raw))
    except ToolError as error:
        return refused(call, "invalid_arguments", str(error))


async def _arguments(state: State, run: Run, call: Call) -> dict[str, Any]:
    given = call.call.arguments
    if isinstance(given, Spilled):
        path = state.get(Session, run.session_id).path
        return dict(orjson.loads(await state.payloads.text(path, given)))
    return given


# --- running ----------------------------------------------------------------------------------------------------------


async def _take(state: State, run: Run, call: Call, agent: Agent) -> bool:
    """Take one decided call to its result. False where the run waits again, or has ended."""
    prepared = await _prepare(state, run, call, agent)
    if isinstance(prepared, events.ToolFinished):
        state.append(prepared.on(run.session_id, run.run_id))
        return True
    if call.started is not None:
        return await _go_on(state, run, prepared, agent)
    refusal = deciding.refusal(call)
    if refusal is not None:
        state.append(refusal.on(run.session_id, run.run_id))
        return True
    if call.approval == "allowed" and not await deciding.still_approved(state, run, prepared):
        why = "what was approved has changed since: the arguments, a program or a file that the call names"
        origin = call.decision.origin if call.decision else None
        context = _context(state, run, prepared, agent, {})
        requested = await deciding.request(state, run, prepared, why, origin, context)
        waiting = runs.step(state, run.run_id, events.RunWaiting(status=Status.WAITING_FOR_APPROVAL))
        state.append(requested.on(run.session_id, run.run_id), waiting)
        return False
    return await start(state, run, prepared, agent)


async def start(state: State, run: Run, prepared: Prepared, agent: Agent) -> bool:
    """Plan, journal `tool.started`, run. The barrier stands before anything that has an effect."""
    call, tool = prepared.call, prepared.tool
    try:
        planning = _context(state, run, prepared, agent, {})
        note = await tool.plan(prepared.arguments, planning) if tool.plan else {}
    except ToolError as error:
        state.append(refused(call, "tool_error", str(error)).on(run.session_id, run.run_id))
        return True
    started = events.ToolStarted(
        call_id=call.id,
        tool=tool.name,
        arguments=dict(prepared.raw),
        digest=approvals.digest_of(
            tool=tool.name, arguments=prepared.raw, folder=run.settings.workspace, executable=None
        ),
        key=_key(run, call),
        effect=tool.effect.value,
        replay=tool.replay.value,
        note=dict(note),
        network=_reaches_out(prepared),
    )
    state.append(started.on(run.session_id, run.run_id, by=f"agent:{run.agent_id}"))
    if tool.effect is not Effect.READ:
        await state.durable()
    return await perform(state, run, prepared, agent, note)


async def perform(state: State, run: Run, prepared: Prepared, agent: Agent, note: Mapping[str, Any]) -> bool:
    """Run a call that is journaled as started."""
    live = agent.live("tool.output", run, prepared.call.turn, prepared.call.attempts)
    context = replace(_context(state, run, prepared, agent, note), output=live)
    try:
        result = await agent.executor.call(prepared.tool, prepared.arguments, context)
    except ToolError as error:
        result = Result(content=str(error), is_error=True)
    except TimeoutError:
        result = Result(content=f"The call took longer than {prepared.tool.timeout:g} s and was ended.", is_error=True)
    live.end()
    if isinstance(result, Suspended):
        waiting = runs.step(state, run.run_id, events.RunWaiting(status=result.waiting))
        state.append(*result.drafts, waiting)
        return False
    if result.detail.get("gone"):
        return await recovery.ambiguous(state, run, prepared.call, prepared.tool)
    await finish(state, run, prepared.call, result, agent)
    return True


async def finish(state: State, run: Run, call: Call, result: Result, agent: Agent) -> None:
    """Journal a result together with what else the call did; a job's folder may go when that is durable."""
    finished = events.ToolFinished(
        call_id=call.id,
        tool=call.call.name,
        is_error=result.is_error,
        content=result.content,
        detail=dict(result.detail),
        code="tool_error" if result.is_error else None,
        network=_reached_out(state, run, call),
    )
    state.append(*result.drafts, finished.on(run.session_id, run.run_id))
    job = result.detail.get("job")
    if job:
        await state.durable()
        await asyncio.to_thread(agent.jobs.remove, job)


def _reaches_out(prepared: Prepared) -> bool:
    """Whether a call may reach what is outside: the audit has it then."""
    decision = prepared.call.decision
    return prepared.tool.network or bool(decision and decision.network)


def _reached_out(state: State, run: Run, call: Call) -> bool:
    """What `tool.started` said of it; `call` may be of before that."""
    known = next((one for one in turns.of(state, run.run_id).calls if one.id == call.id), call)
    return known.started is not None and known.started.network


def _key(run: Run, call: Call) -> str:
    return f"{run.run_id}/{call.turn}/{call.id}"


def _context(
    state: State,
    run: Run,
    prepared: Prepared,
    agent: Agent,
    note: Mapping[str, Any],
    resolved: Mapping[str, str] | None = None,
) -> Context:
    """Return what a call may use; `resolved`: where its paths lead, for one whose decision is not journaled yet."""
    decision = prepared.call.decision
    judged = decision.resolved if decision else resolved
    return Context(
        session_id=run.session_id,
        run_id=run.run_id,
        call_id=prepared.call.id,
        agent_id=run.agent_id,
        workspace=Path(run.settings.workspace),
        key=_key(run, prepared.call),
        state=state,
        jobs=agent.jobs,
        output=agent.live("tool.output", run, prepared.call.turn, prepared.call.attempts),
        note=note,
        network=decision.network if decision else False,
        hidden=state.hidden,
        judged=judged if prepared.tool.name in FILE_TOOLS else None,
        as_read=decision.as_read if decision else False,
    )


# --- going on with a call that started --------------------------------------------------------------------------------


async def _go_on(state: State, run: Run, prepared: Prepared, agent: Agent) -> bool:
    """A call that started and has no result: its question was answered, or the daemon was killed meanwhile."""
    call = prepared.call
    assert call.started is not None
    if call.answer is not None and call.question_purpose == "tool":
        await finish(state, run, call, _answered(state, call), agent)
        return True
    if call.answer is not None:
        return await _settle(state, run, prepared, agent)
    match await recovery.decide(
        prepared.tool, prepared.arguments, _context(state, run, prepared, agent, call.started.note)
    ):
        case Result() as result:
            await finish(state, run, call, result, agent)
            return True
        case "again":
            return await start(state, run, prepared, agent)
        case _:
            policy = state.definitions.config.recovery.ambiguous
            if policy == "retry":
                return await start(state, run, prepared, agent)
            if policy == "fail":
                text = f"The call of {call.call.name} may or may not have happened, and recovery.ambiguous is fail."
                runs.fail(state, run.run_id, "ambiguous_call", text)
                return False
            return await recovery.ambiguous(state, run, call, prepared.tool)


def _answered(state: State, call: Call) -> Result:
    """A person's answers, as the model is told."""
    assert call.answer is not None and call.question_id is not None
    question = state.find(questions.Question, call.question_id)
    content, is_error = questions.told(call.answer, question)
    return Result(content=content, is_error=is_error)


async def _settle(state: State, run: Run, prepared: Prepared, agent: Agent) -> bool:
    """A person said what became of an ambiguous call."""
    call = prepared.call
    assert call.answer is not None
    choice, text = recovery.choice(call.answer)
    match choice:
        case "run_again":
            return await start(state, run, prepared, agent)
        case "done":
            content = text or "A person says that the call was done; its output is not known."
            detail = {"settled_by": call.answer.by}
            await finish(state, run, call, Result(content=content, detail=detail), agent)
            return True
        case _:
            runs.fail(
                state, run.run_id, "ambiguous_call", f"{call.answer.by} decided that the run fails here. {text}".strip()
            )
            return False
