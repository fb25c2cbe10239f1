"""How runs end before their time: failed, cancelled, interrupted; and what ends with them."""

from __future__ import annotations

from kheish.domain import events, runs
from kheish.domain.events import Event, RunError
from kheish.domain.runs import Run
from kheish.domain.state import State


def fail(state: State, run: Run, code: str, message: str, *, retryable: bool = False) -> None:
    """End a run as failed, with a stable code."""
    end(state, run, events.RunFailed(error=RunError(code=code, message=message, retryable=retryable)))


def stop(state: State, run: Run) -> None:
    """End a run as it was asked to."""
    end(state, run, events.RunInterrupted() if run.stop_requested == "interrupted" else events.RunCancelled())


def end(state: State, run: Run, event: Event) -> None:
    """End a run, with a result for each of its calls that has none: the next prompt must not have open calls."""
    state.append(*runs.withdraw(state, run, by="daemon"), runs.step(state, run.run_id, event))
