"""Runs: one execution inside a session. The state machine is the table TRANSITIONS (`lifecycle`); nothing else moves a
run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from kheish import ids
from kheish.domain import events, spent, turns, waiting
from kheish.domain.completion import is_check
from kheish.domain.events import Draft, Entry, Event, RunError, Text, changed
from kheish.domain.mcp.names import PREFIX as MCP
from kheish.domain.memory import records as memory
from kheish.domain.runs.lifecycle import (
    FINAL as FINAL,
    LIVE as LIVE,
    TRANSITIONS as TRANSITIONS,
    WAITING as WAITING,
    Status as Status,
)
from kheish.domain.runs.run import (
    CancelledRunView as CancelledRunView,
    Output as Output,
    PlacedWorkspace as PlacedWorkspace,
    Run as Run,
    RunView as RunView,
    view as view,
)
from kheish.domain.sessions.session import Session
from kheish.errors import RunStateConflict
from kheish.state.noun import Noun

if TYPE_CHECKING:
    from kheish.state.state import State


#: the tool name of an approval that asks for more budget (`runs.md`)
BUDGET = "budget"


FOLDED = (
    events.RunSubmitted,
    events.RunStarted,
    events.RunResumed,
    events.RunWaiting,
    events.RunRequeued,
    events.RunCompleted,
    events.RunFailed,
    events.RunCancelled,
    events.RunInterrupted,
    events.RunCancelRequested,
    events.RunInterruptRequested,
    events.RunModeChanged,
    events.RunWorkerLost,
    events.RunWorkspacePlaced,
    events.RunWorkerFound,
    events.RunJoinedProject,
    events.ModelRequested,
    events.ModelResponded,
    events.ModelFailed,
    events.ContextCompacted,
    events.HooksRan,
    events.ToolStarted,
    events.ToolFinished,
    events.OutputEmitted,
    events.ApprovalRequested,
    events.ApprovalResolved,
    events.QuestionAsked,
    events.QuestionAnswered,
    events.ChildSpawned,
    events.ChildResumed,
    events.ChildSettled,
)


def fold(table: dict[str, Run], entry: Entry, agent_of: Mapping[str, Session]) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    if entry.run is None or entry.session is None:
        return ()
    event = entry.event
    if isinstance(event, events.RunSubmitted):
        table[entry.run] = Run(
            run_id=entry.run,
            session_id=entry.session,
            agent_id=agent_of[entry.session].agent_id,
            kind=event.run_kind,
            status=Status.QUEUED,
            submitted_at=entry.at,
            made=entry.n,
            n=entry.n,
            request=event.request,
            settings=event.settings,
            retry_of=event.retry_of,
            flow=event.flow,
            phase_text=event.phase_text,
            mode=event.settings.permission_mode,
            submitted_by=entry.actor,
            project=event.settings.project,
        )
    elif entry.run in table:
        run = table[entry.run]
        table[entry.run] = changed(run, n=entry.n, **_fold_change(run, entry))
    else:
        return ()
    return (entry.run,)


def _fold_change(run: Run, entry: Entry) -> dict[str, Any]:
    """Return the fields that an entry changes, so that a run is copied once per entry."""
    event = entry.event
    match event:
        case events.RunStarted() | events.RunResumed():
            return {"status": Status.RUNNING, "started_at": run.started_at or entry.at, "running_since": entry.at}
        case events.RunWaiting(status=status):
            return {"status": Status(status), "waiting_since": entry.at, **_pause_clock(run, entry.at)}
        case events.RunRequeued():
            return {"status": Status.QUEUED}
        case events.RunCompleted(output=output):
            return {"status": Status.COMPLETED, "output": output, **_end(run, entry.at)}
        case events.RunFailed(error=error):
            return {"status": Status.FAILED, "error": error, **_end(run, entry.at)}
        case events.RunCancelled():
            return {"status": Status.CANCELLED, **_end(run, entry.at)}
        case events.RunInterrupted():
            return {"status": Status.INTERRUPTED, **_end(run, entry.at)}
        case events.RunCancelRequested():
            return {"stop_requested": "cancelled"}
        case events.RunInterruptRequested():
            return {"stop_requested": run.stop_requested or "interrupted"}
        case _:
            return _fold_work(run, event, entry.at)


def _fold_work(run: Run, event: Event, at: str) -> dict[str, Any]:
    match event:
        case events.ModelResponded(usage=usage) | events.ContextCompacted(usage=usage):
            return {
                "usage": changed(spent.added(run.usage, usage), model_calls=run.usage.model_calls + 1),
                "waits_for": None,
            }
        case events.HooksRan(model_calls=count, usage=usage) if count:
            counted = changed(spent.added(run.usage, usage), model_calls=run.usage.model_calls + count)
            return {"usage": counted}
        case events.ModelFailed() as failed:
            return {
                "usage": spent.added(run.usage, failed.usage),
                "waits_for": waiting.after(run.waits_for, failed, at),
            }
        case events.ModelRequested() if run.waits_for is not None:
            return {"waits_for": changed(run.waits_for, until=None)}
        case events.ToolStarted(call_id=id, tool=tool) if not is_check(id):
            called = changed(run.usage, tool_calls=run.usage.tool_calls + 1)
            return {"usage": called, **_with_mcp_call(run, id, tool, at)}
        case events.ToolFinished(call_id=id) if run.mcp_calls:
            return {"mcp_calls": tuple(one for one in run.mcp_calls if one.call_id != id)}
        case events.OutputEmitted(output_id=id, output_kind=kind, content=content, artifacts=artifacts):
            emitted = Output(output_id=id, kind=kind, content=content, artifacts=artifacts)
            return {"outputs": (*run.outputs, emitted)}
        case events.RunWorkspacePlaced(worker=worker, folder=folder):
            return {"placed": PlacedWorkspace(worker=worker, folder=folder)}
        case events.RunWorkerLost(worker=worker):
            return {"lost_worker": waiting.LostWorker(worker=worker, since=at)}
        case events.RunWorkerFound():
            return {"lost_worker": None}
        case events.RunModeChanged(mode=mode):
            return {"mode": mode}
        case events.RunJoinedProject(project=project):
            return {"project": project}
        case events.ApprovalRequested(approval_id=id, tool=tool, arguments=arguments):
            asked = run.grant_asked
            if tool == BUDGET and isinstance(arguments, dict):
                asked = {"approval_id": id, "limit": arguments["limit"], "more": arguments["more"]}
            return {"pending_approvals": (*run.pending_approvals, id), "grant_asked": asked}
        case events.ApprovalResolved(approval_id=id) as event:
            pending = tuple(other for other in run.pending_approvals if other != id)
            return {"pending_approvals": pending, **_fold_grant(run, event)}
        case events.QuestionAsked(question_id=id):
            return {"pending_questions": (*run.pending_questions, id)}
        case events.QuestionAnswered(question_id=id):
            return {"pending_questions": tuple(other for other in run.pending_questions if other != id)}
        case events.ChildSpawned(agent_id=id):
            return {"children": run.children | {id}, "spawned": run.spawned + 1}
        case events.ChildResumed(agent_id=id):
            return {"children": run.children | {id}}
        case events.ChildSettled(agent_id=id, spent=below):
            return {"children": run.children - {id}, "below": spent.total(run.below, below)}
        case _:
            return {}


def _with_mcp_call(run: Run, id: str, tool: str, at: str) -> dict[str, Any]:
    if not tool.startswith(MCP):
        return {}
    others = tuple(one for one in run.mcp_calls if one.call_id != id)  # a repeated call starts again
    return {"mcp_calls": (*others, waiting.McpCall(call_id=id, tool=tool, since=at))}


def _fold_grant(run: Run, event: events.ApprovalResolved) -> dict[str, Any]:
    asked = run.grant_asked
    if asked is None or asked["approval_id"] != event.approval_id:
        return {}
    if event.outcome != "allowed":
        return {"grant_asked": None, "grant_refused": asked["limit"]}
    granted = {**run.granted, asked["limit"]: run.granted.get(asked["limit"], 0.0) + asked["more"]}
    return {"grant_asked": None, "granted": granted}


def _pause_clock(run: Run, at: str) -> dict[str, Any]:
    if run.running_since is None:
        return {}
    ran = max(0.0, ids.seconds_of(at) - ids.seconds_of(run.running_since))
    return {"active_seconds": run.active_seconds + ran, "running_since": None}


def _end(run: Run, at: str) -> dict[str, Any]:
    return {
        "finished_at": at,
        "waits_for": None,
        "mcp_calls": (),
        "lost_worker": None,
        "pending_approvals": (),
        "pending_questions": (),
        **_pause_clock(run, at),
    }


def step(state: State, run_id: str, event: Event, *, by: str = "daemon") -> Draft:
    """Return the transition of a run as a Draft. Raises RunStateConflict for one that the table lacks."""
    run = state.get(Run, run_id)
    if (run.status, type(event)) not in TRANSITIONS:
        raise RunStateConflict(
            f"The run {run_id} is {run.status}; {event.kind} is not possible from there.",
            from_status=run.status,
            to_status=event.kind.removeprefix("run."),
        )
    return event.on(run.session_id, run_id, by=by)


NOUN = Noun(
    name="run", cls=Run, folded=frozenset(FOLDED), fold=lambda tables, entry: fold(tables[Run], entry, tables[Session]),
    keep=lambda run: not run.is_final or bool(run.children), view=view, record="runs/{id}.yaml",
    filters=("kind", "route", "agent_id", "retry_of", "project"),
)  # fmt: skip


def queue_position(state: State, run: Run) -> int | None:
    """Return the run's position, from 1, in the queue for the session's slot; None for a run outside the queue."""
    queued = state.get(Session, run.session_id).queued
    return queued.index(run.run_id) + 1 if run.run_id in queued else None


def next_claim(state: State, session_id: str) -> Run | None:
    """Return the session's run that may continue: the one with the slot, else the head of the queue."""
    session = state.find(Session, session_id)
    if session is None:
        return None
    holder = session.active
    if holder is not None:
        run = state.get(Run, holder)
        return run if run.status in (Status.QUEUED, Status.RUNNING) else None
    return state.get(Run, session.queued[0]) if session.queued else None


def end(state: State, run_id: str, event: Event, *, by: str = "daemon", beside: Iterable[Draft] = ()) -> Run:
    """End a run; no other function appends the last event of a run (tests/test_shape.py).

    Its open calls get a result, since a prompt must not have open calls. Its pending approvals and questions become
    `cancelled`. Raises RunStateConflict for a transition that the table lacks.
    """
    run, last = state.get(Run, run_id), step(state, run_id, event, by=by)
    withdrawn = [
        *(events.ApprovalResolved(approval_id=id, outcome="cancelled", by=by) for id in run.pending_approvals),
        *(events.QuestionAnswered(question_id=id, outcome="cancelled", by=by) for id in run.pending_questions),
    ]
    drafts = [one.on(run.session_id, run_id, by=by) for one in withdrawn]
    drafts += memory.draft(state, run.session_id, run_id, run.request.items, event)
    state.append(*turns.closing(state, run_id, run.session_id), *drafts, *beside, last)
    return state.get(Run, run_id)


def complete(state: State, run_id: str, output: Text) -> Run:
    """Complete a run with its final text, which is its last output if the run has reply targets."""
    beside: list[Draft] = []
    run = state.get(Run, run_id)
    if run.settings.reply_targets and output:
        id = f"out_{run_id.removeprefix('run_')}"
        emitted = events.OutputEmitted(output_id=id, output_kind="final", content=output)
        beside.append(emitted.on(run.session_id, run_id))
    return end(state, run_id, events.RunCompleted(output=output), beside=beside)


def fail(state: State, run_id: str, code: str, message: str, *, retryable: bool = False) -> Run:
    """Fail a run with a stable code."""
    return end(state, run_id, events.RunFailed(error=RunError(code=code, message=message, retryable=retryable)))


def stop(state: State, run_id: str) -> Run:
    """End a run as its stop was requested."""
    requested = state.get(Run, run_id).stop_requested
    return end(state, run_id, events.RunInterrupted() if requested == "interrupted" else events.RunCancelled())


def cancel(state: State, run_id: str, *, by: str, reason: str | None = None) -> Run:
    """Cancel a run: at once if it is not running, else between its steps. A cancelled run stays as it is.

    Raises RunStateConflict if it ended in another way.
    """
    return _stop(state, run_id, events.RunCancelRequested(reason=reason), events.RunCancelled(reason=reason), by)


def interrupt(state: State, run_id: str, *, by: str, reason: str | None = None) -> Run:
    """Stop a run at its next safe point (a queued run starts first). Raises RunStateConflict if it has ended."""
    return _stop(state, run_id, events.RunInterruptRequested(reason=reason), events.RunInterrupted(reason=reason), by)


def halt(state: State, run_id: str, reason: str) -> Run:
    """Interrupt a run at once, between two of its steps."""
    return end(state, run_id, events.RunInterrupted(reason=reason))


def _stop(state: State, run_id: str, request: Event, last: Event, by: str) -> Run:
    run = state.get(Run, run_id)
    target = Status.CANCELLED if isinstance(last, events.RunCancelled) else Status.INTERRUPTED
    if run.status == target:
        return run
    if run.status not in (Status.QUEUED, Status.RUNNING) or (run.status, target) == (Status.QUEUED, Status.CANCELLED):
        return end(state, run_id, last, by=by)
    if run.stop_requested is None or target == Status.CANCELLED != run.stop_requested:
        state.append(request.on(run.session_id, run_id, by=by))
    return state.get(Run, run_id)
