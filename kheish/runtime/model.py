"""One model call: through the route's gate, with a credential that is lent for this call only."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from kheish.auth import broker
from kheish.domain import scopes
from kheish.domain.events import changed
from kheish.domain.routes import Route
from kheish.domain.runs import Run
from kheish.domain.scopes import Scopes
from kheish.domain.sessions.session import Session
from kheish.runtime import gates
from kheish.runtime.agent import Agent
from kheish.runtime.debug import capture
from kheish.runtime.drivers import bounds
from kheish.runtime.drivers.base import ErrorKind, ModelError, Reply, Request
from kheish.state.state import State
from kheish.texts import is_blank

_SHOWN = 200  # characters of a refusal

T = TypeVar("T")


async def call(
    agent: Agent, run: Run, route: Route, request: Request, show: Callable[[str], None], *, name: str
) -> Reply:
    """Make one model call through the route's gate. During the call, the run may be stopped at once. `name` begins the
    names of its debug artifacts.

    Raises ModelError, CredentialRevoked (also during the call), OutOfScope, NotFound, SecretUnreadable.
    """
    per_route = agent.state.definitions.config.concurrency.per_route
    agent.interruptible.add(run.run_id)
    try:
        async with agent.gates.call(request.route_id, route.limits, per_route) as lane:
            try:
                reply = answer(
                    await _with_credential(
                        agent, run, route, request, lambda lent: _complete(agent, run, route, lent, show, name)
                    )
                )
            except ModelError as error:
                if error.reply is not None:
                    gates.used(lane, route.limits, _tokens(error.reply))
                raise
            gates.used(lane, route.limits, _tokens(reply))
            return reply
    finally:
        agent.interruptible.discard(run.run_id)


async def _complete(
    agent: Agent, run: Run, route: Route, request: Request, show: Callable[[str], None], name: str
) -> Reply:
    """Ask the driver, and capture the exchange if the run is captured."""
    recorder = agent.debug.of(run) if agent.debug is not None else None
    if recorder is None:
        return await agent.executor.complete(route.driver, request, show)

    def unsent() -> bytes:
        parts = ("model", "messages", "tools", "generation")
        return capture.plain({name: getattr(request, name) for name in parts})

    async with recorder.exchange(name, "model-request", "model-events", unsent) as exchange:
        reply = await agent.executor.complete(route.driver, request, show)
        if not exchange.requests:  # a driver without a server
            exchange.sent(unsent())
            exchange.got(capture.plain(reply))
        return reply


def _tokens(reply: Reply) -> int:
    return reply.usage.input_tokens + reply.usage.output_tokens


#: finish reasons of failed answers, with the kind of each failure
_NO_ANSWER: dict[str, tuple[ErrorKind, str]] = {
    "length": ("truncated", "the answer was cut off at its length limit; raise max_tokens, or ask for less"),
    "content_filter": ("declined", "the provider filtered the answer"),
    "refusal": ("declined", "the model refused to answer"),
    "error": ("server", "the answer ended with an error"),
}


def answer(reply: Reply) -> Reply:
    """Return the reply within the bound of calls. Raises ModelError if it was cut off, refused or empty."""
    if failure := _NO_ANSWER.get(reply.finish_reason):
        kind, message = failure
        detail = f": {reply.text.strip()[:_SHOWN]}" if kind == "declined" and reply.text.strip() else ""
        text = f"{message}{detail} (finish reason {reply.finish_reason}, {reply.usage.output_tokens} tokens)"
        raise ModelError(kind, text, reply=reply)
    if not reply.calls and is_blank(reply.text):
        raise ModelError("empty", f"the answer is empty (finish reason {reply.finish_reason})", reply=reply)
    over = len(reply.calls) - bounds.CALLS
    return replace(reply, calls=reply.calls[: bounds.CALLS], left_out=reply.left_out + over) if over > 0 else reply


def credential_scope(state: State, run: Run) -> Scopes:
    """Return the scopes of the run: those that it froze, narrowed by its session's current ones."""
    return scopes.credential(state.get(Session, run.session_id).settings, run.settings.credential_scope)


async def window(agent: Agent, run: Run, route: Route, request: Request) -> int | None:
    """Return the window that the server reports, queried with the route's credential.

    A refused lease is audited by the call that follows.
    """
    return await _with_credential(agent, run, route, request, agent.executor.window, is_audited=False)


async def _with_credential(
    agent: Agent,
    run: Run,
    route: Route,
    request: Request,
    step: Callable[[Request], Coroutine[Any, Any, T]],
    *,
    is_audited: bool = True,
) -> T:
    """Run a step with the route's credential, which is lent for its duration only."""
    leaves, audience = credential_scope(agent.state, run), f"route:{request.route_id}"
    if route.auth_ref is None:
        scopes.check_use(leaves, audience, None)
        return await step(request)
    subjects = (f"session:{run.session_id}", f"agent:{run.agent_id}")
    lent = agent.broker.lease(subjects, route.auth_ref, audience, scope=leaves, is_audited=is_audited)
    async with lent as lease:
        return await broker.using(lease, step(changed(request, credential=lease.value)))
