"""Compaction: when the conversation outgrows the model's window. The journal is never rewritten; the prompt is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kheish.domain import events, messages, routes
from kheish.domain.events import Usage
from kheish.domain.routes import Route
from kheish.domain.runs import Run
from kheish.domain.state import State
from kheish.domain.turns import Turn
from kheish.runtime import model, prompt
from kheish.runtime.agent import Agent
from kheish.runtime.drivers.base import Message, Request

SHARE = 0.8  # of the window: beyond it the conversation is summarised
RESULTS_SHARE = 0.4  # of the window: what tool results may take before the oldest shrink to previews
KEPT = 6  # messages at the end that stay as they are
ASK = """\
Summarise the conversation so far for yourself, so that you can go on with nothing but this summary: what was asked,
what was decided, what was done (files, commands, results that matter), what failed, and what is left. Be exact with
names, paths and numbers. Answer with the summary only."""


def result_room(route: Route) -> int | None:
    """Characters that tool results may take in a prompt; None where the window is not known."""
    window = route.capabilities.context_window
    return int(window * 4 * RESULTS_SHARE) if window else None


def is_due(route: Route, assembled: Iterable[Message]) -> bool:
    """Whether a prompt comes too near to the model's window."""
    window = route.capabilities.context_window
    return window is not None and prompt.size(assembled) > window * SHARE


async def compact(state: State, run: Run, turn: Turn, agent: Agent, route_id: str, route: Route) -> bool:
    """Let the model summarise all but the end of the conversation. False where nothing can be left out.

    Raises ModelError: the summary could not be had.
    """
    conversation = state.table(messages.Conversation, run.session_id)[run.session_id]
    covered = _covered(conversation.messages)
    if not covered:
        return False
    spilled = await prompt.read_spilled(state, run.session_id, covered)
    asked = (
        *prompt.project(covered, run.run_id, spilled, shrink_to=result_room(route)),
        Message(role="user", text=ASK),
    )
    request = Request(
        route_id=route_id,
        model=run.settings.model if route_id == run.settings.route else route.model,
        messages=asked,
        answers=turn.answers,
        settings=routes.driver_settings(route),
        stream=route.capabilities.streaming,
    )
    requested = events.ModelRequested(
        turn=turn.turn,
        attempt=1,
        route=route_id,
        model=request.model,
        digest=model.digest(request),
        purpose="compaction",
    )
    state.append(requested.on(run.session_id, run.run_id))
    await state.durable()
    reply = await model.call(agent, run, route, request, lambda text: None)
    usage = Usage(
        input_tokens=reply.usage.input_tokens,
        output_tokens=reply.usage.output_tokens,
        cached_tokens=reply.usage.cached_tokens,
        cost_usd=routes.cost_usd(route, reply.usage),
        estimated=reply.usage.estimated,
    )
    compacted = events.ContextCompacted(summary=reply.text, covers=covered[-1].seq, usage=usage)
    state.append(compacted.on(run.session_id, run.run_id))
    return True


def _covered(history: Sequence[messages.Message]) -> Sequence[messages.Message]:
    """The messages that a summary may stand for: all but the last ones, never an answer without its results."""
    end = len(history) - KEPT
    while end > 0 and history[end].role == "tool":
        end -= 1
    return history[:end] if end > 1 else ()
