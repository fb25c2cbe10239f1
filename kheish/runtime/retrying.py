"""Retries of a failed model call: whether, when and on which route, and the wait of the run meanwhile.

Retries come first (`max_retries`), then the fallbacks. After all of them, a transient failure is waited for
(`patience`): a model server that is restarted or loads its model is away for half a minute.
"""

from __future__ import annotations

import asyncio
import random

from kheish import ids
from kheish.domain import runs, turns
from kheish.domain.routes import Route
from kheish.domain.runs import Run
from kheish.domain.turns import Turn
from kheish.runtime.agent import Agent
from kheish.runtime.drivers.base import ErrorKind, Message, ModelError
from kheish.state.state import State

BACKOFF = (0.5, 30.0)  # seconds: the first, and the longest
#: seconds that a server may ask for if a fallback exists
_BEFORE_FALLBACK = 30.0
_LONGEST = 3600.0  # seconds that a server may ask for at all
#: failures that another route would have in the same way
NOT_ELSEWHERE = frozenset({"refused", "bad_request", "context_length"})
#: kinds whose attempts cost as much as an answer, with the maximal number of retries
_COSTLY: dict[ErrorKind, int] = {"empty": 2, "truncated": 1}
#: codes of runs that failed so; of all others, `model_<kind>`
_CODES: dict[ErrorKind, str] = {
    "refused": "model_error",
    "bad_request": "model_error",
    "empty": "output_empty",
    "truncated": "output_truncated",
    "declined": "output_declined",
}
#: messages to the model after an invalid answer
_NOTES: dict[str, str] = {
    "empty": "Your last answer was empty. Answer in words, or call a tool.",
    "truncated": (
        "Your last answer was cut off at the limit of its length, and was not kept. Answer again, more briefly; write "
        "large files in several smaller calls."
    ),
}


def code(kind: ErrorKind) -> str:
    """Return the code of a run that fails for this reason."""
    return _CODES.get(kind, f"model_{kind}")


def note(turn: Turn) -> tuple[Message, ...]:
    """Return the message to the model about its invalid last answer.

    The journal has it only implicitly, by the failed attempt.
    """
    text = _NOTES.get(turn.last_failure)
    return (Message(role="user", text=text),) if text else ()


def next_attempt(
    state: State, run: Run, turn: Turn, route_id: str, route: Route, error: ModelError, *, others: bool
) -> tuple[float | None, bool]:
    """Return the seconds until the next attempt, None for none on this route; and whether it is patience beyond all
    retries.

    `others`: another route is left, so that long waits are avoided.
    """
    failures = turn.failed_on.get(route_id, 0) + 1
    may_retry = error.retryable and failures <= route.max_retries
    if error.kind in _COSTLY:
        may_retry = may_retry and turn.failed_as.get(error.kind, 0) < _COSTLY[error.kind]
    wait = backoff(failures, error.retry_after)
    if may_retry and not (others and wait > _BEFORE_FALLBACK):
        return wait, False
    passes = turns.passes(error.kind, error.status)
    if error.kind in NOT_ELSEWHERE or others or not (passes or turn.resting):
        return None, False
    remaining = _patience(state, run, route) - _failing_for(state, turn)
    # A server that repeats "at once" is called as rarely as one without a delay.
    return (min(max(wait, backoff(failures, None)), remaining), True) if remaining > 0 else (None, False)


def _patience(state: State, run: Run, route: Route) -> float:
    """Return the patience of the run's own route, whichever fallback has failed last."""
    return ids.duration(state.definitions.routes.get(run.settings.route, route).patience)


def _failing_for(state: State, turn: Turn) -> float:
    return max(0.0, state.clock() - ids.seconds_of(turn.failing_since)) if turn.failing_since else 0.0


async def until_due(state: State, run: Run, turn: Turn, agent: Agent) -> None:
    """Wait until the next attempt is due; a stop, a cancel or an interrupt ends the wait. Raises Stopped."""
    remaining = turn.retry_at - state.clock() if turn.retry_at is not None else 0.0
    if remaining <= 0:
        return
    agent.interruptible.add(run.run_id)
    try:
        await asyncio.wait_for(agent.stopping.wait(), remaining)
    except TimeoutError:
        pass
    finally:
        agent.interruptible.discard(run.run_id)
    await agent.may_step(run)


def give_up(state: State, run: Run, route_id: str, error: ModelError) -> None:
    """End the run: no attempt is left."""
    may_pass = turns.passes(error.kind, error.status) or error.kind in ("server", "empty")
    runs.fail(state, run.run_id, code(error.kind), f"Route {route_id}: {error.message}", retryable=may_pass)


def backoff(failures: int, retry_after: float | None) -> float:
    """Return the seconds before the next attempt: the server's delay (an hour at most), else doubling with full jitter.

    Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    if retry_after is not None:
        return min(max(0.0, retry_after), _LONGEST)
    first, longest = BACKOFF
    return random.uniform(first / 2, min(longest, first * 2 ** min(failures - 1, 30)))  # nosec B311  # spreads retries
