"""Events of the checks whether a run is complete."""

from __future__ import annotations

from typing import Any

from kheish.domain.events.runs import ModelCall
from kheish.state.event import Event, frozen


@frozen
class CompletionStarted(Event):
    """The start of completion checks: the answer of `turn` is meant as the last, and `calls` by the daemon check it."""

    kind = "completion.started"
    turn: int
    calls: tuple[ModelCall, ...]


@frozen
class CompletionChecked(Event):
    """The result of each requirement: `{number, met, told}`; `met` is null for one that cannot be checked."""

    kind = "completion.checked"
    turn: int
    findings: tuple[dict[str, Any], ...]
    met: bool
    commands_met: bool  # if so, they are not rerun before another tool is called
