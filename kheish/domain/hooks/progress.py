"""The hooks of a run, and the points that they have passed; and whether a session's start was announced to them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from kheish.domain import events
from kheish.domain.events import ChosenHook, Entry, frozen
from kheish.domain.hooks.definition import HookFile
from kheish.domain.hooks.moments import MOMENTS
from kheish.state.noun import Noun, always

if TYPE_CHECKING:
    from kheish.state.state import State

#: refusals of a stop after which the run fails
STOPS = 8
STOPPING = frozenset({"stop", "subagent_stop"})
STARTING = frozenset({"session_start", "subagent_start"})
_ENDS = (events.RunCompleted, events.RunFailed, events.RunCancelled, events.RunInterrupted)


@frozen
class HookRun:
    """The hooks of a run. `passed` has the points of the run, and those since the newest answer."""

    run_id: str
    hooks: tuple[ChosenHook, ...] = ()
    passed: frozenset[str] = frozenset()
    denied: frozenset[str] = frozenset()  # of those, the points at which hooks refused
    refused: int = 0  # refused stops

    @property
    def moments(self) -> frozenset[str]:
        """The events at which the run has hooks."""
        return frozenset(moment for hook in self.hooks for moment in moments_of(hook))


@frozen
class HookSession:
    """A session whose start was announced to its hooks."""

    session_id: str


def moments_of(hook: ChosenHook) -> tuple[str, ...]:
    """Return the events of a hook."""
    return tuple(hook.file.get("events", ()))


def file_of(hook: ChosenHook) -> HookFile:
    """Return the file of a hook as the run has it."""
    return HookFile.model_validate(hook.file)


def fold(table: dict[str, HookRun], entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    run = entry.run
    if run is None:
        return ()
    match entry.event:
        case events.HooksChosen(hooks=hooks):
            table[run] = HookRun(run_id=run, hooks=hooks)
        case events.HooksRan() as event if run in table:
            old = table[run]
            refuses = event.event in STOPPING and event.decision == "deny"
            denied = old.denied | {event.point} if event.decision == "deny" else old.denied
            passed = old.passed | {event.point}
            table[run] = replace(old, passed=passed, denied=denied, refused=old.refused + refuses)
        case events.ModelResponded() if run in table and any(":" in point for point in table[run].passed):
            kept = frozenset(point for point in table[run].passed if ":" not in point)
            table[run] = replace(table[run], passed=kept, denied=table[run].denied & kept)
        case _ if isinstance(entry.event, _ENDS):
            table.pop(run, None)
            return ()
        case _:
            return ()
    return (run,)


def fold_session(table: dict[str, HookSession], entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    event = entry.event
    if entry.session is None or not isinstance(event, events.HooksRan) or event.event not in STARTING:
        return ()
    table[entry.session] = HookSession(session_id=entry.session)
    return (entry.session,)


NOUN = Noun(
    name="hook_run",
    cls=HookRun,
    folded=frozenset({events.HooksChosen, events.HooksRan, events.ModelResponded, *_ENDS}),
    fold=lambda tables, entry: fold(tables[HookRun], entry),
    keep=always,
)
SESSION = Noun(
    name="hook_session",
    cls=HookSession,
    folded=frozenset({events.HooksRan}),
    fold=lambda tables, entry: fold_session(tables[HookSession], entry),
    keep=always,
)


def of(state: State, run_id: str) -> HookRun | None:
    """Return the hooks of a run; None for a run without hooks."""
    return state.find(HookRun, run_id)


def is_ahead(state: State, run_id: str, moment: str, point: str) -> bool:
    """Return whether the run has hooks for an event that did not pass this point yet."""
    own = state.find(HookRun, run_id)
    return own is not None and point not in own.passed and moment in own.moments


def listens(state: State, moment: str) -> bool:
    """Return whether a hook in force waits for an event that no run waits for."""
    return any(moment in one.value.events for one in state.definitions.by_kind["hooks"].values())


def late(moment: str) -> bool:
    """Return whether hooks of an event run after the fact."""
    return not MOMENTS[moment].in_run
