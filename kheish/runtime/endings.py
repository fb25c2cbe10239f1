"""How runs end before their time: failed, cancelled, interrupted; and what ends with them."""

from __future__ import annotations

from kheish.domain import events, runs, turns
from kheish.domain.events import Draft, Event, RunError
from kheish.domain.runs import Run
from kheish.domain.state import State
from kheish.domain.turns import Turn


def fail(state: State, run: Run, code: str, message: str, *, retryable: bool = False) -> None:
    """End a run as failed, with a stable code."""
    end(state, run, events.RunFailed(error=RunError(code=code, message=message, retryable=retryable)))


def stop(state: State, run: Run) -> None:
    """End a run as it was asked to."""
    end(state, run, events.RunInterrupted() if run.stop_requested == "interrupted" else events.RunCancelled())


def end(state: State, run: Run, event: Event) -> None:
    """End a run, with a result for each of its calls that has none: the next prompt must not have open calls."""
    closing = [*_close_calls(state, run), *runs.withdraw(state, run, by="daemon")]
    state.append(*closing, runs.step(state, run.run_id, event))


def _close_calls(state: State, run: Run) -> list[Draft]:
    turn = state.find(Turn, run.run_id)
    return [_closed(call).on(run.session_id, run.run_id) for call in turn.open_calls] if turn else []


def _closed(call: turns.Call) -> events.ToolFinished:
    began = "The run ended while the call was under way; what it did until then stays." if call.started else ""
    return events.ToolFinished(
        call_id=call.id,
        tool=call.call.name,
        is_error=True,
        content=began or "The run ended before the call started.",
        code="run_ended",
    )
