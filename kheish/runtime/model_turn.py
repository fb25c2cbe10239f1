"""A model turn: one attempt, journaled before and after; the next step is read from the journal."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from hashlib import sha256

from kheish.domain import completion, events, messages, routes, runs, scopes
from kheish.domain.events import RunError, Usage, changed
from kheish.domain.mailboxes import delivery
from kheish.domain.routes import Route
from kheish.domain.runs import Run
from kheish.domain.turns import Turn
from kheish.runtime import accepted, compaction, deciding, drafting, learning, model, retrying, targets
from kheish.runtime.agent import Agent
from kheish.runtime.debug.files import name_of
from kheish.runtime.drivers.base import ModelError, Reply
from kheish.runtime.prompt import Section
from kheish.runtime.replays import recorded
from kheish.runtime.skills import starting
from kheish.runtime.targets import Target
from kheish.runtime.tools.base import Tool
from kheish.state import encoding
from kheish.state.state import State


async def ask(state: State, run: Run, turn: Turn, agent: Agent) -> None:
    """Make one attempt at the turn's answer. A failure is journaled; the loop then determines the next step."""
    await retrying.until_due(state, run, turn, agent)
    if agent.skills is not None:
        offer = await starting.offer(state, run, turn, agent.skills)
        if offer is None:
            return
        agent.driven(run).offer = offer
    await agent.ready_tools(run)
    choice = _choose(state, run, turn)
    if choice is None:
        why = "; ".join(_obstacle(state, turn, one) or f"{one!r} is out of scope" for one in _candidates(state, run))
        runs.fail(state, run.run_id, "model_unavailable", f"No route is left: {why}.", retryable=True)
        return
    target = await targets.target(run, agent, *choice)
    route_id, route = choice
    mail = [] if turn.is_mending else delivery.due(state, run)
    try:
        texts = [items for _, items in mail]
        draft = await drafting.draft(state, run, turn, agent, target, _tools(run, turn, route, agent), texts)
    except ModelError as error:
        await _not_summarised(state, run, turn, agent, target, error)
        return
    delivered = delivery.in_turn(state, run, turn.turn, mail) if draft is not None else None
    if draft is None or delivered is None:
        return  # the next step drafts another
    request, attempt = draft.request, turn.attempt + 1
    requested = events.ModelRequested(
        turn=turn.turn,
        attempt=attempt,
        route=route_id,
        model=request.model,
        digest=agent.driven(run).digests.of(request),
        omitted=draft.omitted,
        memory=draft.memory,
        sections=_changed_sections(agent.driven(run).sections, draft.sections),
        parts=draft.parts,
        window=draft.window,
    )
    state.append(*delivered, requested.on(run.session_id, run.run_id, by=_author(run)))
    await state.durable()
    live = agent.live("model.delta", run, turn.turn, attempt)
    name = name_of("turn", turn.turn + 1, "attempt", attempt)
    if agent.debug is not None and (recorder := agent.debug.of(run)) is not None:
        await recorder.prompt(name, draft.sections, draft.tokens, draft.omitted)
    try:
        if route.driver == "replay":
            request = await recorded.prepared(state, run, turn, agent, request)
        reply = await model.call(agent, run, route, request, live, name=name)
    except ModelError as error:
        if learning.adapt(target, turn, draft, error):
            failed = _model_failed(turn, attempt, route_id, error, 0.0, "turn")
            state.append(failed.on(run.session_id, run.run_id))
        else:
            await _handle_failure(state, run, turn, agent, route_id, route, attempt, error)
        return
    live.end()
    learning.answered(target, draft, reply)
    responded = _responded(state, run, turn, agent, target, reply)
    state.append(responded.on(run.session_id, run.run_id, by=_author(run)))


async def _not_summarised(state: State, run: Run, turn: Turn, agent: Agent, target: Target, error: ModelError) -> None:
    """Journal a failed summary. History stays; the next step retries it, or tries another way."""
    attempt = turn.failed_compactions + 1
    if error.kind in compaction.OF_SUMMARY:
        failed = _model_failed(turn, attempt, target.route_id, error, 0.0, "compaction")
        state.append(failed.on(run.session_id, run.run_id))
    else:
        await _handle_failure(
            state, run, turn, agent, target.route_id, target.route, attempt, error, purpose="compaction"
        )


def _tools(run: Run, turn: Turn, route: Route, agent: Agent) -> Mapping[str, Tool]:
    if not route.capabilities.tools or turn.is_mending:
        return {}
    return deciding.offered(run, agent)


def _choose(state: State, run: Run, turn: Turn) -> tuple[str, Route] | None:
    """Return the run's route, or the first of its fallbacks that has not failed for good in this turn.

    A fallback that is out of scope is skipped. Raises OutOfScope if the run's own route is out of scope.
    """
    known, leaves = state.definitions.routes, model.credential_scope(state, run)
    for route_id in _candidates(state, run):
        if _obstacle(state, turn, route_id) is not None:
            continue
        route = known[route_id]
        if route_id == run.settings.route:
            scopes.check_use(leaves, f"route:{route_id}", route.auth_ref)
        if scopes.leaves_use(leaves, f"route:{route_id}", route.auth_ref):
            return route_id, route
    return None


def _candidates(state: State, run: Run) -> tuple[str, ...]:
    """Return the run's route and its fallbacks. A fallback may be missing."""
    first = state.definitions.routes.get(run.settings.route)
    return (run.settings.route, *(first.fallbacks if first is not None else ()))


def _obstacle(state: State, turn: Turn, route_id: str) -> str | None:
    """Return the reason why a route cannot answer this turn, whatever the run's scope; None if it can."""
    route = state.definitions.routes.get(route_id)
    if route is None:
        return f"there is no route {route_id!r}"
    if route_id in turn.given_up:
        return f"{route_id!r} has failed in this turn"
    missing = routes.readiness(route_id, route, os.environ, state.slots)
    return missing.rstrip(".") if missing is not None else None


def _responded(state: State, run: Run, turn: Turn, agent: Agent, target: Target, reply: Reply) -> events.ModelResponded:
    cost = routes.cost_usd(target.route, reply.usage)
    usage = Usage(
        input_tokens=reply.usage.input_tokens,
        output_tokens=reply.usage.output_tokens,
        cached_tokens=reply.usage.cached_tokens,
        cost_usd=cost if cost is not None else reply.cost_usd,
        estimated=reply.usage.estimated,
    )
    return events.ModelResponded(
        turn=turn.turn,
        text=reply.text,
        calls=model_calls(state, run, turn, reply, agent.tools_for(run)),
        finish_reason=reply.finish_reason,
        usage=usage,
        route=target.route_id,
        model=reply.model,
        opaque={**reply.opaque, "server": target.server} if isinstance(reply.opaque, Mapping) else reply.opaque,
    )


def model_calls(
    state: State, run: Run, turn: Turn, reply: Reply, known_tools: Mapping[str, Tool]
) -> tuple[events.ModelCall, ...]:
    """Return the calls with unique ids in the session (some servers count from 0 in each answer), different from those
    of the daemon's checks. A namespace before a tool's name, or marks of a template after it, are removed.
    """
    conversation = state.table(messages.Conversation, run.session_id).get(run.session_id)
    used = {call.id for message in conversation.messages for call in message.calls} if conversation else set()
    calls = []
    for number, asked in enumerate(reply.calls):
        id = asked.id
        if not id or id in used or completion.is_check(id):
            known = asked.id if asked.id and not completion.is_check(asked.id) else "call"
            id = f"{known}-{run.run_id[-8:]}-{turn.turn}-{number}"
        used.add(id)
        calls.append(
            events.ModelCall(
                id=id,
                name=_known_name(asked.name, known_tools),
                arguments=asked.arguments,
                malformed=asked.malformed,
                has_secret=encoding.holds_secret(asked.arguments, state.scrub),
                left_out=reply.left_out if number == len(reply.calls) - 1 else 0,
            )
        )
    return tuple(calls)


def _known_name(name: str, known_tools: Mapping[str, Tool]) -> str:
    plain = accepted.tool_name(name)
    return plain if plain in known_tools else name


def _author(run: Run) -> str:
    return f"agent:{run.agent_id}"


async def _handle_failure(
    state: State,
    run: Run,
    turn: Turn,
    agent: Agent,
    route_id: str,
    route: Route,
    attempt: int,
    error: ModelError,
    purpose: str = "turn",
) -> None:
    """Journal a failed attempt, and act on it: wait and retry, continue with a fallback, or end."""
    others = _choose(state, run, changed(turn, given_up=turn.given_up | {route_id})) is not None
    retry_in, patient = retrying.next_attempt(state, run, turn, route_id, route, error, others=others)
    failed = _model_failed(turn, attempt, route_id, error, retry_in, purpose, route=route, patient=patient)
    state.append(failed.on(run.session_id, run.run_id))
    if retry_in is None and (error.kind in retrying.NOT_ELSEWHERE or not others):
        retrying.give_up(state, run, route_id, error)


def _model_failed(
    turn: Turn,
    attempt: int,
    route_id: str,
    error: ModelError,
    retry_in: float | None,
    purpose: str,
    *,
    route: Route | None = None,
    patient: bool = False,
) -> events.ModelFailed:
    reply = error.reply or Reply(finish_reason="")
    cost = routes.cost_usd(route, reply.usage) if route is not None else None
    return events.ModelFailed(
        turn=turn.turn,
        attempt=attempt,
        route=route_id,
        error=RunError(code=retrying.code(error.kind), message=error.message, retryable=error.retryable),
        error_kind=error.kind,
        status=error.status,
        retry_in=retry_in,
        patient=patient,
        purpose=purpose,
        finish_reason=reply.finish_reason or None,
        text=reply.text,
        usage=Usage(
            input_tokens=reply.usage.input_tokens,
            output_tokens=reply.usage.output_tokens,
            cached_tokens=reply.usage.cached_tokens,
            cost_usd=cost,
            estimated=reply.usage.estimated,
        ),
    )


#: sections that differ from run to run by nature
_PASSING = frozenset({"Session", "Memory", "Environment", "Left out"})


def _changed_sections(known: dict[str, str], sections: Sequence[Section]) -> dict[str, str]:
    """Return the digests of the sections that changed since the last request, and note them. They tell a
    replay which instructions are others now."""
    new = {one.name: sha256(one.text.encode()).hexdigest()[:16] for one in sections if one.name not in _PASSING}
    changed = {name: digest for name, digest in new.items() if known.get(name) != digest}
    known |= changed
    return changed
