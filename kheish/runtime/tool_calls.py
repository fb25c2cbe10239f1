"""Tool calls: CALL_STEPS has the step from each stage to the next, and the journal has the stage of a call.

Hooks before and after a tool are rows: stages in `calls.STAGES`, and their steps here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kheish.domain import events, questions, runs, turns
from kheish.domain.calls import BEFORE
from kheish.domain.events import Draft
from kheish.domain.permissions import rules as permission_rules
from kheish.domain.permissions.rules import Verdict
from kheish.domain.runs import Run, Status
from kheish.domain.turns import Call, Stage, Turn
from kheish.runtime import deciding, performing, recovery
from kheish.runtime.agent import Agent
from kheish.runtime.agents import reporting
from kheish.runtime.deciding import Prepared, refused
from kheish.runtime.hooks import calls as hooked, points
from kheish.runtime.tools.base import Effect, Replay, Result, Suspended
from kheish.state.state import State


@dataclass(frozen=True, slots=True)
class Together:
    """A step of all calls of a stage at once, before any other step of the turn."""

    take: Callable[[State, Run, Sequence[Call], Agent], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Single:
    """A step of one call, in the order of the turn; `side_by_side` with its neighbours if all of them only read."""

    take: Callable[[State, Run, Call, Agent], Awaitable[bool]]
    side_by_side: bool = False


#: Takes calls one step further. Returns False if the run waits for a user, or has ended.
Step = Together | Single


# --- before a call may start ------------------------------------------------------------------------------------------


async def _refuse_unoffered(state: State, run: Run, calls: Sequence[Call], agent: Agent) -> bool:
    """Refuse the calls of an answer that was to repair a final text."""
    text = "No tools now: answer with nothing but the JSON that the output contract asks for."
    state.append(*(refused(call, "no_tools", text).on(run.session_id, run.run_id) for call in calls))
    return True


async def _ask_hooks(state: State, run: Run, calls: Sequence[Call], agent: Agent) -> bool:
    """Run the hooks that judge the calls of the turn, before permissions are decided."""
    passing: list[str] = []
    for call in calls:
        prepared = await performing.prepare(state, run, call, agent)
        if agent.hooks is None or isinstance(prepared, events.ToolFinished):  # which is refused for that
            passing.append(call.id)
        elif not await hooked.before(state, run, call, prepared.tool, prepared.raw, agent.hooks):
            return False
    return not passing or hooked.passed(state, run, BEFORE, passing)


async def _show_hooks(state: State, run: Run, calls: Sequence[Call], agent: Agent) -> bool:
    """Run the hooks that read the results of calls, before anything else of the turn."""
    for call in calls:
        if agent.hooks is None:
            hooked.passed(state, run, call.ahead, (call.id,))
        elif not await hooked.after(state, run, call, agent.tools_for(run).get(call.call.name), agent.hooks):
            return False
    return True


async def _decide(state: State, run: Run, calls: Sequence[Call], agent: Agent) -> bool:
    """Decide the calls of the turn; request all needed approvals in one group."""
    drafts: list[Draft] = []
    asking = False
    for call in calls:
        judged = await _judge(state, run, call, agent)
        if judged is None:
            return False
        if isinstance(judged, events.ToolFinished):
            drafts.append(judged.on(run.session_id, run.run_id))
            continue
        prepared, verdict, resolved = judged
        drafts.append(deciding.decided(call, verdict, resolved).on(run.session_id, run.run_id))
        if verdict.decision == "ask":
            context = performing.context(state, run, prepared, agent, {}, resolved)
            requested = await deciding.request(
                agent.executor, state, run, prepared, verdict.why, verdict.origin, context
            )
            drafts.append(requested.on(run.session_id, run.run_id))
            asking = True
    if asking:
        drafts.append(_waiting(state, run, Status.WAITING_FOR_APPROVAL))
    state.append(*drafts)
    return not asking


async def _judge(
    state: State, run: Run, call: Call, agent: Agent
) -> tuple[Prepared, Verdict, Mapping[str, str]] | events.ToolFinished | None:
    """Return the verdict on a call, after the hooks that may answer for a user; or the result that reports its faults.
    None: a hook has ended the run."""
    prepared = await performing.prepare(state, run, call, agent)
    if isinstance(prepared, events.ToolFinished):
        return prepared
    tool, raw = prepared.tool, prepared.raw
    verdict, resolved = await deciding.judge(state, run, call.id, tool, raw, agent, call.hooked)
    if verdict.decision != "ask" or agent.hooks is None or not call.hooks:
        return prepared, verdict, resolved
    two = permission_rules.needs_two(state.definitions.permissions)
    verdict, ran = await hooked.requested(state, run, call, tool, raw, verdict, agent.hooks, two=two)
    if ran is None:
        return prepared, verdict, resolved
    state.append(ran.on(run.session_id, run.run_id))
    if points.is_stopped(state, run, ran):
        return None
    if ran.arguments is None:
        return prepared, verdict, resolved
    changed = next(one for one in turns.of(state, run.run_id).calls if one.id == call.id)
    return await _judge(state, run, changed, agent)  # it has their outcome, so that they are not asked again


async def _await_approval(state: State, run: Run, calls: Sequence[Call], agent: Agent) -> bool:
    state.append(_waiting(state, run, Status.WAITING_FOR_APPROVAL))
    return False


async def _await_answer(state: State, run: Run, calls: Sequence[Call], agent: Agent) -> bool:
    state.append(_waiting(state, run, Status.WAITING_FOR_QUESTION))
    return False


async def _await_agent(state: State, run: Run, calls: Sequence[Call], agent: Agent) -> bool:
    state.append(_waiting(state, run, Status.WAITING_FOR_AGENT))
    return False


def _waiting(state: State, run: Run, status: Status) -> Draft:
    return runs.step(state, run.run_id, events.RunWaiting(status=status))


async def _refuse(state: State, run: Run, call: Call, agent: Agent) -> bool:
    """Report to the model that the call was denied."""
    may_retry = False
    if agent.hooks is not None and call.hooks and call.decision is not None and call.decision.decision == "deny":
        tool = agent.tools_for(run).get(call.call.name)
        may_retry = await hooked.denied(state, run, call, tool, agent.hooks)
    state.append(deciding.refusal(call, may_retry=may_retry).on(run.session_id, run.run_id))
    return True


async def _recheck(state: State, run: Run, call: Call, agent: Agent) -> bool:
    """Start an approved call; request another approval if the approved content has changed since."""
    prepared = await performing.prepare(state, run, call, agent)
    if isinstance(prepared, events.ToolFinished):
        state.append(prepared.on(run.session_id, run.run_id))
        return True
    if await deciding.still_approved(agent.executor, state, run, prepared):
        return await performing.start(state, run, prepared, agent)
    why = "what was approved has changed since: the arguments, a program or a file that the call names"
    origin = call.decision.origin if call.decision else None
    context = performing.context(state, run, prepared, agent, {})
    requested = await deciding.request(agent.executor, state, run, prepared, why, origin, context)
    state.append(requested.on(run.session_id, run.run_id), _waiting(state, run, Status.WAITING_FOR_APPROVAL))
    return False


async def _start(state: State, run: Run, call: Call, agent: Agent) -> bool:
    prepared = await performing.prepare(state, run, call, agent)
    if isinstance(prepared, events.ToolFinished):
        state.append(prepared.on(run.session_id, run.run_id))
        return True
    return await performing.start(state, run, prepared, agent)


# --- after a call has started -----------------------------------------------------------------------------------------


async def _recover(state: State, run: Run, call: Call, agent: Agent) -> bool:
    """Decide about a call that shows no end, since the daemon was killed meanwhile."""
    match await _outcome(state, run, call, agent):
        case Result() as result:
            await performing.finish(state, run, call, result, agent)
            return True
        case Suspended() as suspended:
            state.append(*suspended.drafts, _waiting(state, run, Status(suspended.waiting)))
            return False
        case "again" | "retry":
            return await _start(state, run, call, agent)
        case "fail":
            text = f"The call of {call.call.name} may or may not have happened, and recovery.ambiguous is fail."
            runs.fail(state, run.run_id, "ambiguous_call", text)
            return False
        case _ if deciding.is_unattended(run):
            text = f"The call of {call.call.name} may or may not have happened, and no person attends this run."
            runs.fail(state, run.run_id, "ambiguous_call", text)
            return False
        case _:
            return recovery.ask(state, run, call)


async def _outcome(state: State, run: Run, call: Call, agent: Agent) -> Result | Suspended | str:
    """Return the result if it can be determined, `again` if the call is safe to repeat, else the policy."""
    assert call.started is not None
    prepared = await performing.prepare(state, run, call, agent)
    policy = state.definitions.config.recovery.ambiguous
    if isinstance(prepared, events.ToolFinished):  # the tool is missing, so that it cannot determine the outcome
        return "again" if call.started.replay == Replay.SAFE else policy
    context = performing.context(state, run, prepared, agent, call.started.note)
    outcome = await recovery.decide(agent.executor, prepared.tool, prepared.arguments, context)
    return policy if outcome == "ambiguous" else outcome


async def _finish_answered(state: State, run: Run, call: Call, agent: Agent) -> bool:
    """Finish a call with the answers to its question."""
    assert call.answer is not None and call.question_id is not None
    content, is_error = questions.told(call.answer, state.find(questions.Question, call.question_id))
    await performing.finish(state, run, call, Result(content=content, is_error=is_error), agent)
    return True


async def _finish_waited(state: State, run: Run, call: Call, agent: Agent) -> bool:
    """Finish a call that waited for agents with their results."""
    assert call.wait is not None and call.waited is not None
    result = await reporting.after_wait(state, call.wait, call.waited)
    await performing.finish(state, run, call, result, agent)
    return True


async def _continue(state: State, run: Run, call: Call, agent: Agent) -> bool:
    """Continue a call with the input that its server asked for; if it asked during the call, which a restart has ended,
    the outcome is unknown."""
    if call.input is None or call.input.question_id != call.question_id:
        return await _recover(state, run, call, agent)
    prepared = await performing.prepare(state, run, call, agent)
    if isinstance(prepared, events.ToolFinished):
        state.append(prepared.on(run.session_id, run.run_id))
        return True
    return await performing.resume(state, run, prepared, agent)


async def _settle(state: State, run: Run, call: Call, agent: Agent) -> bool:
    """Apply a user's choice for an ambiguous call."""
    assert call.answer is not None
    choice, text = recovery.choice(call.answer)
    match choice:
        case "run_again":
            return await _start(state, run, call, agent)
        case "done":
            content = text or "A person says that the call was done; its output is not known."
            result = Result(content=content, detail={"settled_by": call.answer.by})
            await performing.finish(state, run, call, result, agent)
            return True
        case _:
            why = f"{call.answer.by} decided that the run fails here. {text}".strip()
            runs.fail(state, run.run_id, "ambiguous_call", why)
            return False


#: stage → step. A missing key is the error; steps of several calls come first, in this order.
CALL_STEPS: Mapping[Stage, Step] = {
    Stage.HOOKED: Together(_show_hooks),
    Stage.UNOFFERED: Together(_refuse_unoffered),
    Stage.UNHOOKED: Together(_ask_hooks),
    Stage.UNDECIDED: Together(_decide),
    Stage.AWAITS_APPROVAL: Together(_await_approval),
    Stage.AWAITS_ANSWER: Together(_await_answer),
    Stage.AWAITS_AGENT: Together(_await_agent),
    Stage.DENIED: Single(_refuse, side_by_side=True),
    Stage.APPROVED: Single(_recheck, side_by_side=True),
    Stage.ALLOWED: Single(_start, side_by_side=True),
    Stage.STARTED: Single(_recover),
    Stage.ANSWERED: Single(_finish_answered),
    Stage.WAITED: Single(_finish_waited),
    Stage.INPUT_GIVEN: Single(_continue),
    Stage.SETTLED: Single(_settle),
}


async def answer(state: State, run: Run, turn: Turn, agent: Agent, steps: Mapping[Stage, Step] = CALL_STEPS) -> bool:
    """Take the open calls one step further. Returns False if the run waits for a user, or has ended."""
    staged = [(call, call.stage) for call in turn.due_calls]
    for stage, step in steps.items():
        calls = [call for call, at in staged if at is stage]
        if calls and isinstance(step, Together):
            return await step.take(state, run, calls, agent)
    single = [(call, step) for call, at in staged if isinstance(step := steps[at], Single)]
    reads = [pair for pair in _leading_reads(single, run, agent) if pair[1].side_by_side]
    if len(reads) > 1:
        await asyncio.gather(*(step.take(state, run, call, agent) for call, step in reads))
        return True
    call, first = single[0]
    return await first.take(state, run, call, agent)


def _leading_reads(single: Sequence[tuple[Call, Single]], run: Run, agent: Agent) -> Iterator[tuple[Call, Single]]:
    """Yield the read-only calls before the first with an effect."""
    tools = agent.tools_for(run)
    for call, step in single:
        tool = tools.get(call.call.name)
        if tool is None or tool.effect is not Effect.READ or tool.suspends:
            return
        yield call, step
