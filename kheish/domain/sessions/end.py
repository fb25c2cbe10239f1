"""The end of a session: it accepts no more input, and its work (including background commands) is stopped or prevents
it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kheish.domain import runs
from kheish.domain.agents import agent as agents, ending
from kheish.domain.agents.agent import Agent
from kheish.domain.events import Entry, SessionDeleted, SessionEnded
from kheish.domain.flows import advance as flow_driving
from kheish.domain.flows.flow import Flow
from kheish.domain.goals import goal as goals, verbs as goal_verbs
from kheish.domain.mailboxes import message
from kheish.domain.runs import Run, Status
from kheish.domain.sessions.session import Session
from kheish.domain.tasks import task as tasks, verbs as task_verbs
from kheish.errors import SessionNotIdle

if TYPE_CHECKING:
    from kheish.state.state import State


def end(
    state: State, session_id: str, *, by: str, reason: str | None, force: bool, owned: Sequence[str] = ()
) -> Session:
    """End a loaded session; an ended session stays as it is. `owned` are the projects in which it owns open tasks:
    these are reassigned first, also with `force`. Raises SessionNotIdle if work is in the way."""
    session = state.get(Session, session_id)
    if session.ended_at:
        return session
    check_owned(session_id, owned)
    live = [run for run in state.table(Run, session_id).values() if not run.is_final]
    if live and not force:
        raise _busy(state, session_id, "unfinished runs", [run.run_id for run in live], run_id=live[0].run_id)
    background = tasks.running(state, session_id)
    if background and not force:
        open_ids = [one.task_id for one in background]
        raise _busy(state, session_id, "background commands", open_ids, task_id=open_ids[0])
    agent = agents.find_in(state, session_id)
    if agent is not None and agent.live and not force:
        names = [one.name for one in agent.live]
        raise _busy(state, session_id, "agents at work", names, agent_id=agent.live[0].agent_id)
    flows_ = [flow for flow in state.table(Flow, session_id).values() if not flow.is_final]
    if flows_ and not force:
        raise _busy(state, session_id, "unfinished Flows", [one.flow_id for one in flows_], flow_id=flows_[0].flow_id)
    for flow in flows_:
        flow_driving.cancel(state, flow.flow_id, by=by, reason=reason or "the session ends")
    for child in agent.live if agent is not None else ():
        if (below := state.find(Agent, child.agent_id)) is not None:
            ending.stop_agent(state, below, ending.Stopped(), by=by, reason=reason or "the session above it ends")
    live = [run for run in state.table(Run, session_id).values() if not run.is_final]
    for task in background:
        task_verbs.stop(state, task.task_id, by=by, reason=reason or "the session ends")
    for run in live:
        stop = runs.cancel if run.status == Status.QUEUED else runs.interrupt
        stop(state, run.run_id, by=by, reason=reason or "the session ends")
    withdrawn = goal_verbs.withdraw(goals.find(state, session_id), by)
    state.append(*withdrawn, SessionEnded(reason=reason).on(session_id, by=by))
    return state.get(Session, session_id)


def _busy(state: State, session_id: str, work: str, names: Sequence[str], **extra: Any) -> SessionNotIdle:
    """Return the error about work that prevents the end, with what helps: an active goal always starts further runs."""
    goal = goals.find(state, session_id)
    is_pursued = goal is not None and goal.status == "active"
    first = f"pause its goal (kheish goals pause {session_id}), wait for them" if is_pursued else "wait for them"
    return SessionNotIdle(
        f"The session {session_id!r} has {work} ({', '.join(names[:3])}); {first}, stop them, or end it with force "
        "(--force; by HTTP force: true), which stops them.",
        **extra,
    )


def check_owned(session_id: str, owned: Sequence[str]) -> None:
    """Raise SessionNotIdle if the session owns open tasks of projects."""
    if owned:
        raise SessionNotIdle(
            f"The session {session_id!r} owns open tasks of projects: {', '.join(owned)}. Assign them to another "
            "member, or cancel them: kheish projects tasks update.",
            projects=[one.partition(" ")[0] for one in owned],
        )


def delete(state: State, session_id: str, *, by: str) -> Entry:
    """Remove a loaded session from the tree and the index, and return its tombstone. Its id is never reused.

    Raises SessionNotIdle if it has unfinished runs, Flows, agents, background commands or unread messages.
    """
    session = state.get(Session, session_id)
    live = [run.run_id for run in state.table(Run, session_id).values() if not run.is_final]
    live += [task.task_id for task in tasks.running(state, session_id)]
    live += [flow.flow_id for flow in state.table(Flow, session_id).values() if not flow.is_final]
    agent = agents.find_in(state, session_id)
    live += [child.agent_id for child in agent.live] if agent is not None else []
    live += message.unread(state, session_id)
    if live:
        raise SessionNotIdle(
            f"The session {session_id!r} has unfinished runs, Flows, agents, background commands or unread messages "
            f"({', '.join(live[:3])}); end it (`kheish sessions end --force`), and delete it when they have stopped.",
            run_id=live[0],
        )
    if withdrawn := goal_verbs.withdraw(goals.find(state, session_id), by):
        state.append(*withdrawn)
    event = SessionDeleted(session_id=session_id, path=session.path, made=session.made, last_n=session.n)
    entry = state.append(event.on(by=by))[0]
    state.forget(session_id, tombstone(entry))
    return entry


def tombstone(entry: Entry) -> dict[str, Any]:
    """Return what remains of a deleted session, in the index and in the response."""
    event = entry.event
    assert isinstance(event, SessionDeleted)
    return {
        "session_id": event.session_id,
        "path": event.path,
        "deleted_at": entry.at,
        "deleted_by": entry.actor,
        "made": event.made,
        "last_n": event.last_n,
        "n": entry.n,
    }
