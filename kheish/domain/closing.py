"""Ending a session: no more input, and what runs in it (background commands too) is stopped or stands in the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kheish.domain import runs, tasks
from kheish.domain.events import SessionEnded
from kheish.domain.runs import Run, Status
from kheish.domain.sessions import Session
from kheish.errors import SessionNotIdle

if TYPE_CHECKING:
    from kheish.domain.state import State


def end(state: State, session_id: str, *, by: str, reason: str | None, force: bool) -> Session:
    """End a loaded session; one that has ended stays as it is. Raises SessionNotIdle where work is in the way."""
    session = state.get(Session, session_id)
    if session.ended_at:
        return session
    live = [run for run in state.table(Run, session_id).values() if not run.is_final]
    if live and not force:
        raise SessionNotIdle(
            f"The session {session_id!r} has unfinished runs ({', '.join(run.run_id for run in live[:3])}); wait for "
            "them, or send force: true to stop them.",
            run_id=live[0].run_id,
        )
    background = tasks.running(state, session_id)
    if background and not force:
        raise SessionNotIdle(
            f"The session {session_id!r} has background commands ({', '.join(one.task_id for one in background[:3])}); "
            "wait for them, or send force: true to stop them.",
            task_id=background[0].task_id,
        )
    for task in background:
        tasks.stop(state, task.task_id, by=by, reason=reason or "the session ends")
    for run in live:
        stop = runs.cancel if run.status == Status.QUEUED else runs.interrupt
        stop(state, run.run_id, by=by, reason=reason or "the session ends")
    state.append(SessionEnded(reason=reason).on(session_id, by=by))
    return state.get(Session, session_id)
