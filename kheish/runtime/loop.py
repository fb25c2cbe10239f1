"""The loop: answer the open tool calls that the journal shows, call the model, append, repeat.

It keeps no state. A new run, a run resumed by an approval, and a run whose daemon was killed take the same path: the
journal (as folded by `turns`) determines the next step, so resuming is not a feature but the only way it works. It
returns when the run has ended, or waits for a person; the answer puts the run back into its queue.
"""

from __future__ import annotations

from kheish import ids
from kheish.domain import approvals, budgets, events, runs, turns
from kheish.domain.contracts import check as contracts
from kheish.domain.events import Draft, Spilled, Text
from kheish.domain.runs import BUDGET, Run, Status
from kheish.domain.sessions.session import Session
from kheish.runtime import completing, deciding, judging, model_turn, phases, tool_calls
from kheish.runtime.agent import Agent
from kheish.runtime.agents import shares
from kheish.runtime.hooks import points
from kheish.state.state import State

REPAIRS = 3  # turns in which a run may repair an answer that violates its output contract


async def advance(state: State, run_id: str, agent: Agent) -> None:
    """Drive a running run until it ends or waits. Raises Stopped when the daemon stops, StoreFailed."""
    while True:
        run = state.get(Run, run_id)
        if run.status is not Status.RUNNING:
            return
        if run.stop_requested:
            runs.stop(state, run_id)
            return
        await agent.may_step(run)
        if agent.carrying is not None:
            await agent.carrying.bring(run)
            run = state.get(Run, run_id)
        turn = turns.of(state, run_id)
        if turn.due_calls:
            if not await tool_calls.answer(state, run, turn, agent):
                return  # suspended
        elif turn.has_answered:
            if agent.carrying is not None:
                await agent.carrying.give_back(run)
            await _finish(state, run, turn, agent)
        elif (turn.turn or await phases.passes(state, run, "before")) and not _over_budget(state, run):
            await shares.let_siblings_go_first(state, run, agent)
            if await points.before_turn(state, run, turn, agent.hooks):
                await model_turn.ask(state, run, turn, agent)


async def _finish(state: State, run: Run, turn: turns.Turn, agent: Agent) -> None:
    """Check an answer without tool calls: complete the run, or report the faults to the model."""
    text = turn.last_text if turn.last_text is not None else ""
    schema = run.settings.output_contract
    if schema is None and not run.settings.completion:
        await _complete(state, run, turn, text, agent)
        return
    if isinstance(text, Spilled):
        text = await state.payloads.text(state.get(Session, run.session_id).path, text)
    if run.settings.completion and not await completing.is_complete(state, run, turn, text):
        return
    if schema is None:
        await _complete(state, run, turn, text, agent)
        return
    faults = await judging.run(contracts.output_faults, schema, text)
    listed = "; ".join(f"{fault.path or '/'}: {fault.message}" for fault in faults)
    if not faults:
        await _complete(state, run, turn, text, agent)
    elif turn.repairs >= REPAIRS:
        runs.fail(
            state,
            run.run_id,
            "output_contract_unsatisfied",
            f"After {REPAIRS} repairs the answer still does not fit: {listed}",
        )
    else:
        nudge = f"Your answer does not fit the output contract: {listed}. Answer again, with nothing but the JSON."
        state.append(events.Nudged(text=nudge, reason="output_contract").on(run.session_id, run.run_id))


async def _complete(state: State, run: Run, turn: turns.Turn, text: Text, agent: Agent) -> None:
    """Complete the run, unless a hook does not let it end yet, or a person has to allow its output."""
    if await points.may_stop(state, run, turn, text, agent.hooks) and await phases.passes(state, run, "after", text):
        runs.complete(state, run.run_id, text)


def _over_budget(state: State, run: Run) -> bool:
    """Return whether a limit is reached. If so, the run has failed, or waits for a person to grant more."""
    excess = budgets.check(state, run, now=ids.stamp(state.clock()))
    if excess is None:
        return False
    spent = f"{excess.limit}: {excess.spent:g} of {excess.allowed:g}"
    may_ask = run.settings.permission_mode != "dont_ask" and not deciding.is_unattended(run)
    if excess.grantable and run.grant_refused is None and may_ask:
        state.append(*_ask_for_more(state, run, excess))
    elif excess.is_shared:
        of = f" of {excess.above}" if excess.above is not None else ""
        runs.fail(state, run.run_id, "budget_exceeded", f"The budget{of} is used up ({spent}).")
    else:
        runs.fail(state, run.run_id, "limit_exceeded", f"A limit of the run is reached ({spent}).")
    return True


def _ask_for_more(state: State, run: Run, found: budgets.Exceeded) -> list[Draft]:
    arguments = {"limit": found.limit, "spent": found.spent, "more": found.allowed}
    requested = events.ApprovalRequested(
        approval_id=ids.new("appr"),
        call_id=BUDGET,
        tool=BUDGET,
        arguments=arguments,
        digest=approvals.digest_of(tool=BUDGET, arguments=arguments, folder="", executable=None),
        why=f"the run has used its limit of {found.allowed:g} {found.limit}; continue with {found.allowed:g} more?",
        risk="low",
        expires_at=deciding.expiry(state),
    )
    waiting = events.RunWaiting(status=Status.WAITING_FOR_APPROVAL)
    return [requested.on(run.session_id, run.run_id), waiting.on(run.session_id, run.run_id)]
