"""Turns: the position of a run in its loop. The journal is the program counter; a turn is the position it points at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from typing import TYPE_CHECKING, Any

from kheish import ids
from kheish.domain import events
from kheish.domain.calls import Call as Call, Stage as Stage
from kheish.domain.events import Draft, Entry, changed, frozen
from kheish.state.noun import Noun, always

if TYPE_CHECKING:
    from kheish.state.state import State


@frozen
class Turn:
    """The position of a run: `turn` counts answers; `answers` is the turn of a script (answers and failed attempts)."""

    run_id: str
    turn: int = 0
    failed_attempts: int = 0
    attempt: int = 0  # of the current model call
    failed_on: dict[str, int] = field(default_factory=dict)  # failed attempts of this turn, by route
    given_up: frozenset[str] = frozenset()  # routes that are not retried in this turn
    resting: frozenset[str] = frozenset()  # the subset of them whose failure may pass
    failing_since: str | None = None  # the time of the first failure since the last answer
    retry_at: float | None = None  # when the next attempt is due, in seconds since 1970
    failed_as: dict[str, int] = field(default_factory=dict)  # failed attempts of this turn, by kind
    last_failure: str = ""  # the kind of the last failed model attempt
    requested: events.ModelRequested | None = None  # sent, and not answered yet
    compactions: int = 0  # in this turn
    failed_compactions: int = 0  # in this turn, since the last summary of a model
    too_long: int = 0  # number of prompts of this turn that a server refused for their length
    repairs: int = 0
    calls: tuple[Call, ...] = ()
    last_text: events.Text | None = None
    finish_reason: str = ""
    nudged: bool = False  # the daemon has nudged the model since its last answer
    nudge: str = ""  # the reason of the last nudge
    mended: bool = False  # the newest answer was meant to mend a final text, so no tools were offered
    checking: bool = False  # the calls are the daemon's own completion checks
    verified: bool = False  # the completion commands have succeeded since the last tool call
    revealed: frozenset[str] = frozenset()  # tools of servers that `tool_search` has shown
    reminders: int = 0  # reminders to the model of unmet completion requirements
    skills: tuple[events.SkillUse, ...] = ()  # the skills that the run uses, in their newest version
    hooks: frozenset[str] = frozenset()  # the events at which the run has hooks

    @property
    def answers(self) -> int:
        return self.turn + self.failed_attempts

    @property
    def is_mending(self) -> bool:
        """Return whether the next answer mends a final text, and is offered no tools."""
        return self.nudge == "output_contract" if self.nudged else self.mended and bool(self.calls)

    @property
    def has_answered(self) -> bool:
        """Return whether the newest answer calls no tools, so that the run may be complete."""
        return self.turn > 0 and not self.nudged and (self.checking or not self.calls)

    @property
    def open_calls(self) -> tuple[Call, ...]:
        return tuple(call for call in self.calls if not call.finished)

    @property
    def due_calls(self) -> tuple[Call, ...]:
        """The calls that have another step: the open ones, and those whose result hooks have not read."""
        return tuple(call for call in self.calls if not call.finished or call.ahead)


FOLDED = (
    events.RunSubmitted,
    events.ModelRequested,
    events.ModelResponded,
    events.ModelFailed,
    events.ContextCompacted,
    events.Nudged,
    events.CompletionStarted,
    events.CompletionChecked,
    events.SkillLoaded,
    events.HooksChosen,
    events.HooksRan,
    events.PermissionDecided,
    events.ApprovalRequested,
    events.ApprovalDecided,
    events.ApprovalResolved,
    events.QuestionAsked,
    events.QuestionAnswered,
    events.ToolStarted,
    events.ToolFinished,
    events.WaitOpened,
    events.WaitEnded,
    events.InputRequired,
    events.RemoteTaskStarted,
    events.RunCompleted,
    events.RunFailed,
    events.RunCancelled,
    events.RunInterrupted,
)
#: the tool whose results are tools
TOOL_SEARCH = "tool_search"
_ENDS = (events.RunCompleted, events.RunFailed, events.RunCancelled, events.RunInterrupted)


def fold(table: dict[str, Turn], entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    if entry.run is None:
        return ()
    if isinstance(entry.event, _ENDS):
        table.pop(entry.run, None)
        return ()
    turn = table.get(entry.run) or Turn(run_id=entry.run)
    table[entry.run] = _fold_model(turn, entry)
    return (entry.run,)


def _fold_model(turn: Turn, entry: Entry) -> Turn:
    match entry.event:
        case events.ModelRequested(purpose="turn", attempt=attempt) as event:
            return changed(turn, requested=event, attempt=attempt)
        case events.ModelResponded() as event:
            calls = tuple(
                Call(call=call, turn=event.turn, unoffered=turn.is_mending, hooks=turn.hooks) for call in event.calls
            )
            return changed(
                turn,
                turn=turn.turn + 1,
                attempt=0,
                failed_on={},
                given_up=frozenset(),
                resting=frozenset(),
                failing_since=None,
                retry_at=None,
                failed_as={},
                last_failure="",
                requested=None,
                compactions=0,
                failed_compactions=0,
                too_long=0,
                calls=calls,
                last_text=event.text,
                finish_reason=event.finish_reason,
                nudged=False,
                mended=turn.is_mending,
                checking=False,
                verified=turn.verified and not calls,
            )
        case events.ModelFailed() as event:
            return _fold_failure(turn, event, entry.at)
        case events.ContextCompacted(made_by=made_by):
            failed = 0 if made_by == "model" else turn.failed_compactions  # do not retry for the next part
            return changed(
                turn,
                compactions=turn.compactions + 1,
                failed_compactions=failed,
                requested=None,
                failing_since=None,
                retry_at=None,
            )
        case events.Nudged(reason=reason):
            repairs = turn.repairs + (reason == "output_contract")
            reminders = turn.reminders + (reason == "completion")
            return changed(turn, repairs=repairs, reminders=reminders, nudged=True, nudge=reason)
        case events.CompletionStarted(calls=calls) as event:
            checks = tuple(Call(call=call, turn=event.turn) for call in calls)
            return changed(turn, calls=checks, checking=True)
        case events.SkillLoaded(use=use):
            return changed(turn, skills=(*(one for one in turn.skills if one.name != use.name), use))
        case events.HooksChosen(hooks=hooks):
            return changed(turn, hooks=frozenset(event for hook in hooks for event in hook.file["events"]))
        case events.CompletionChecked(commands_met=commands_met):
            return changed(turn, verified=commands_met)
        case _:
            return _fold_call(turn, entry.event, entry.at)


def _fold_failure(turn: Turn, event: events.ModelFailed, at: str) -> Turn:
    """Count a failed attempt. One that the daemon answers with another prompt (`ADAPTED`) is not a failure of the
    route."""
    route, is_turn = event.route, event.purpose == "turn"
    counted = not (event.retry_in == 0.0 and event.error_kind in ADAPTED)
    given_up, resting = turn.given_up, turn.resting
    if event.patient:  # all routes are retried once, except those with a permanent failure
        given_up = (given_up - resting) | (frozenset() if passes(event.error_kind, event.status) else {route})
        resting = frozenset()
    elif event.retry_in is None:
        given_up |= {route}
        resting |= {route} if passes(event.error_kind, event.status) else frozenset()
    return changed(
        turn,
        failed_attempts=turn.failed_attempts + is_turn,
        failed_on={**turn.failed_on, route: turn.failed_on.get(route, 0) + counted},
        given_up=given_up,
        resting=resting,
        failing_since=turn.failing_since or at,
        retry_at=ids.seconds_of(at) + event.retry_in if event.retry_in else None,
        failed_as={**turn.failed_as, event.error_kind: turn.failed_as.get(event.error_kind, 0) + is_turn},
        last_failure=event.error_kind if is_turn else turn.last_failure,
        failed_compactions=turn.failed_compactions + (not is_turn),
        too_long=turn.too_long + (event.error_kind == "context_length"),
        requested=None,
    )


def passes(kind: str, status: int | None) -> bool:
    """Return whether a failure passes by itself: a server that restarts, loads its model, or is overloaded.

    A plain 500 is caused by the request as often as by the server.
    """
    return kind in _PASSING or (kind == "server" and status != 500)


_PASSING = frozenset({"transport", "timeout", "rate_limited"})
#: kinds of failures after which the next attempt may use another prompt
ADAPTED = frozenset({"context_length", "bad_request", "empty", "truncated", "declined"})


def _fold_call(turn: Turn, event: events.Event, at: str) -> Turn:
    match event:
        case events.PermissionDecided(call_id=id):
            return _change_call(turn, id, decision=event)
        case events.ApprovalRequested(call_id=id, approval_id=approval_id, digest=digest):
            return _change_call(turn, id, approval_id=approval_id, approval=None, approved_digest=digest)
        case events.ApprovalDecided() | events.ApprovalResolved():
            return _resolve(turn, event)
        case events.QuestionAsked(call_id=id, question_id=question_id, purpose=purpose):
            return _change_call(turn, id, question_id=question_id, question_purpose=purpose, answer=None)
        case events.QuestionAnswered(question_id=question_id):
            asking = next((call for call in turn.calls if call.question_id == question_id), None)
            return _change_call(turn, asking.id, answer=event) if asking else turn
        case events.ToolStarted(call_id=id):
            asking = next((call for call in turn.calls if call.id == id), None)
            attempts = asking.attempts + 1 if asking else 1
            # A user's answer about an earlier start does not apply to this one.
            asked = {"question_id": None, "question_purpose": None, "answer": None}
            times = {"began_at": at} if turn.hooks else {}
            return _change_call(turn, id, started=event, attempts=attempts, **asked, **times)
        case events.WaitOpened(call_id=id) as event:
            return _change_call(turn, id, wait=event, waited=None)
        case events.WaitEnded(call_id=id) as event:
            return _change_call(turn, id, waited=event)
        case events.InputRequired(call_id=id) as event:
            return _change_call(turn, id, input=event)
        case events.RemoteTaskStarted(call_id=id, task_id=task_id):
            return _change_call(turn, id, remote_task=task_id)
        case events.ToolFinished(call_id=id) as event:
            if event.tool == TOOL_SEARCH and isinstance(found := event.detail.get("tools"), list):
                turn = changed(turn, revealed=turn.revealed | set(found))
            outcome = event if turn.checking else None
            times = {"ended_at": at} if turn.hooks else {}
            return _change_call(turn, id, finished=True, failed=event.is_error, outcome=outcome, **times)
        case events.HooksRan() as event:
            return _fold_hooks(turn, event)
        case _:
            return turn


def _fold_hooks(turn: Turn, event: events.HooksRan) -> Turn:
    for id in (event.call_id, *event.passed):
        call = next((call for call in turn.calls if call.id == id), None)
        if call is None:
            continue
        turn = _change_call(turn, call.id, hooked={**call.hooked, event.event: event})
        if id == event.call_id and event.arguments is not None:
            asked = changed(call.call, arguments=event.arguments, malformed=None, has_secret=event.has_secret)
            turn = _change_call(turn, call.id, call=asked)
    return turn


def _resolve(turn: Turn, event: events.ApprovalDecided | events.ApprovalResolved) -> Turn:
    held = next((call for call in turn.calls if call.approval_id == event.approval_id), None)
    if held is None:
        return turn
    fields: dict[str, Any] = {}
    if isinstance(event, events.ApprovalResolved):
        fields = {"approval": event.outcome, "approved_by": event.by, "reason": event.reason}
    if event.arguments is not None:
        fields["call"] = changed(held.call, arguments=event.arguments, malformed=None)
        fields["approved_digest"] = event.digest
    return _change_call(turn, held.id, **fields)


def _change_call(turn: Turn, call_id: str, **fields: Any) -> Turn:
    calls = tuple(changed(call, **fields) if call.id == call_id else call for call in turn.calls)
    return changed(turn, calls=calls)


def closing(state: State, run_id: str, session_id: str) -> list[Draft]:
    """Return a result for each call without a result of a run that ends: a prompt must not have open calls."""
    turn = state.find(Turn, run_id)
    return [_close_call(call).on(session_id, run_id) for call in turn.open_calls] if turn else []


def _close_call(call: Call) -> events.ToolFinished:
    began = "The run ended while the call was under way; its effects until then remain." if call.started else ""
    return events.ToolFinished(
        call_id=call.id,
        tool=call.call.name,
        is_error=True,
        content=began or "The run ended before the call started.",
        code="run_ended",
        network=call.started is not None and call.started.network,
    )


def of(state: State, run_id: str) -> Turn:
    """Return the position of the run. Raises NotFound."""
    return state.get(Turn, run_id)


NOUN = Noun(
    name="turn",
    cls=Turn,
    folded=frozenset(FOLDED),
    fold=lambda tables, entry: fold(tables[Turn], entry),
    keep=always,
)
