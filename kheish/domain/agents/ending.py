"""The ends of agents: a child settles once, its parent learns of it in the same group, and a stop takes the tree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kheish import ids
from kheish.domain import events, runs, spent
from kheish.domain.agents import fleet, standing, usage
from kheish.domain.agents.agent import Agent, Wait
from kheish.domain.events import Draft, RunError, Text
from kheish.domain.mailboxes import letters
from kheish.domain.runs import Run, Status
from kheish.domain.sessions.session import Session
from kheish.domain.tasks import task as tasks, verbs as task_verbs
from kheish.errors import AgentStateConflict

if TYPE_CHECKING:
    from kheish.state.state import State

#: the status of a child by the status of its last run
_STATUSES: Mapping[str, events.agents.Ended] = {
    "completed": "settled",
    "failed": "failed",
    "cancelled": "cancelled",
    "interrupted": "cancelled",
}
_STOPPED = frozenset({Status.CANCELLED, Status.INTERRUPTED})
TIMEOUT = "its time is over"


# --- the end of a child -----------------------------------------------------------------------------------------------


def is_due(state: State, child: Agent) -> bool:
    """Return whether a loaded child's end is due: it has settled, or it is closed, and its parent does not have its
    end."""
    if child.runs or not child.is_child:
        return False
    return standing.is_due(child) or (child.closed_at is not None and _is_listed(state, child))


def _is_listed(state: State, child: Agent) -> bool:
    parent = state.find(Agent, child.parent or "")
    return parent is not None and any(one.agent_id == child.agent_id for one in parent.live)


def status_of(state: State, child: Agent) -> tuple[events.agents.Ended, RunError | None]:
    """Return the status with which a child settles, and its error."""
    answer = child.answer
    status = _STATUSES[answer.status] if answer is not None else "cancelled"
    if status == "cancelled" and child.deadline is not None and child.deadline <= ids.stamp(state.clock()):
        return "failed", RunError(code="timeout", message="The time of the agent is over.")
    return status, answer.error if answer is not None else None


def settle(state: State, child: Agent, output: Text | None, message: letters.Letter | None = None) -> None:
    """Record the end of a child whose session and parent's session are loaded, in one group with everything that
    follows from it. `message` has its result; it is posted unless a wait of its parent covers it."""
    parent = state.get(Agent, child.parent or "")
    total = usage.subtree(state, child)
    status, error = status_of(state, child)
    group: list[Draft] = []
    if child.closed_at is None:
        settled = events.AgentSettled(status=status, output=output, error=error, reported=total)
        group.append(settled.on(child.session_id))
        if child.retention == "close_on_settle":
            group += closing(child, total, by="daemon", reason="it has settled")
    ended = events.ChildSettled(
        agent_id=child.agent_id,
        status="closed" if child.closed_at is not None else status,
        spent=spent.since(total, child.reported),
        tainted_by=state.get(Session, child.session_id).tainted_by,
    )
    group.append(ended.on(parent.session_id, child.spawned_by_run))
    covering = [wait for wait in parent.waits if child.agent_id in wait.agents]
    for wait in covering:
        group += end_wait(state, parent, wait, ended={child.agent_id: ended.status})
    if message is not None and not covering and child.closed_at is None and not _is_stopped(state, child):
        group.append(letters.draft(state, parent.session_id, message))
    state.append(*group)
    fleet.of(state).remove(child.agent_id)


def _is_stopped(state: State, child: Agent) -> bool:
    """Return whether the run that spawned a child was stopped, so that its result interests nothing."""
    run = state.find(Run, child.spawned_by_run) if child.spawned_by_run else None
    return run is not None and not child.detached and (run.status in _STOPPED or run.stop_requested is not None)


def resume(state: State, child: Agent) -> None:
    """Record in the parent's journal that a settled child has work again. Both sessions are loaded."""
    assert child.parent_session is not None and child.parent is not None
    fleet.of(state).add(child.agent_id, child.session_id, child.parent_session, child.root)
    if not _is_listed(state, child):
        resumed = events.ChildResumed(
            agent_id=child.agent_id, session_id=child.session_id, name=child.name, detached=child.detached
        )
        state.append(resumed.on(child.parent_session, child.spawned_by_run))


def closing(agent: Agent, reported: spent.Spent, *, by: str, reason: str | None) -> list[Draft]:
    """Return the drafts that close an agent for good: its session accepts no more work."""
    closed = events.AgentClosed(reason=reason, reported=reported)
    return [closed.on(agent.session_id, by=by), events.SessionEnded(reason=reason).on(agent.session_id, by=by)]


# --- waits ------------------------------------------------------------------------------------------------------------


def statuses(state: State, parent: Agent, wait: Wait, ended: Mapping[str, str]) -> dict[str, str]:
    """Return the status of each agent of a wait: `ended` has those whose end is being recorded."""
    live = {child.agent_id for child in parent.live}
    found: dict[str, str] = {}
    for id in wait.agents:
        child = state.find(Agent, id)
        if id in ended:
            found[id] = ended[id]
        elif child is not None:
            found[id] = child.status if child.runs or child.status != "waiting" else "answered"
        else:
            found[id] = "running" if id in live else str((state.recalled(Agent, id) or {"status": "settled"})["status"])
    return found


def is_over(wait: Wait, statuses: Mapping[str, str]) -> bool:
    """Return whether a wait has what it waits for."""
    enough = standing.ENDED | ({"answered"} if wait.until == "answer" else set())
    return all(status in enough for status in statuses.values())


def end_wait(
    state: State, parent: Agent, wait: Wait, *, ended: Mapping[str, str] | None = None, outcome: str | None = None
) -> list[Draft]:
    """Return the drafts that end a wait, if it has what it waits for or another `outcome`; none otherwise."""
    if wait.clarification is not None and outcome is None:
        return []
    at_end = statuses(state, parent, wait, ended or {})
    if outcome is None and not is_over(wait, at_end):
        return []
    above = state.find(Session, parent.parent_session or "") if wait.clarification is not None else None
    over = events.WaitEnded(
        call_id=wait.call_id,
        outcome=outcome or "done",  # type: ignore[arg-type]
        statuses=at_end,
        tainted_by=above.tainted_by if above is not None else None,
    )
    drafts = [over.on(parent.session_id, wait.run_id)]
    run = state.find(Run, wait.run_id)
    if run is not None and run.status is Status.WAITING_FOR_AGENT:
        drafts.append(runs.step(state, wait.run_id, events.RunRequeued(reason="agent")))
    return drafts


#: the outcome of a clarification by the status of the run that was to answer it
_ANSWERS: Mapping[str, str] = {
    "completed": "answered",
    "failed": "declined",
    "cancelled": "cancelled",
    "interrupted": "interrupted",
}


def clarified(state: State, child: Agent) -> None:
    """End the waits of a loaded child for an answer of its parent, if the parent's run has ended. Its document was
    recalled if it is not in memory."""
    for wait in child.waits:
        doc = state.recalled(Run, wait.clarification) if wait.clarification is not None else None
        outcome = _ANSWERS.get(doc["status"]) if doc is not None else None
        if outcome is not None:
            state.append(*end_wait(state, child, wait, outcome=outcome))


def look_at_waits(state: State, parent: Agent, now: str) -> None:
    """End the waits of a loaded agent that are over, or whose time is over."""
    for wait in parent.waits:
        is_late = wait.expires_at is not None and wait.expires_at <= now
        late = ("expired" if wait.clarification is not None else "timeout") if is_late else None
        if drafts := end_wait(state, parent, wait) or (end_wait(state, parent, wait, outcome=late) if late else []):
            state.append(*drafts)
            asked = state.find(Run, wait.clarification) if wait.clarification is not None else None
            if asked is not None and not asked.is_final:
                runs.cancel(state, asked.run_id, by="daemon", reason="the time for an answer is over")


# --- stops ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Stopped:
    """The work that a stop ended, the innermost first."""

    agents: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    tasks: list[str] = field(default_factory=list)

    def shown(self) -> dict[str, list[str]]:
        """Return it as answers show it."""
        return {"agents": self.agents, "runs": self.runs, "tasks": self.tasks}


def stop_run(state: State, run_id: str, *, by: str, reason: str | None = None) -> Stopped:
    """Cancel a run and the children that it spawned, the innermost first; detached children continue.

    Raises RunStateConflict if the run ended in another way.
    """
    run = state.get(Run, run_id)
    why = reason or "the run that spawned it is cancelled"
    is_stoppable = not run.is_final or run.status in _STOPPED
    stopped = stop_children(state, run_id, by=by, reason=why) if is_stoppable else Stopped()
    before = state.get(Run, run_id)
    if runs.cancel(state, run_id, by=by, reason=reason).n != before.n:
        stopped.runs.append(run_id)
    return stopped


def stop_children(state: State, run_id: str, *, by: str, reason: str | None) -> Stopped:
    """Cancel the children that a run spawned, the innermost first; detached children continue."""
    stopped = Stopped()
    agent = state.find(Agent, state.get(Run, run_id).agent_id)
    _stop_children(state, agent, stopped, by=by, reason=reason, of=run_id)
    return stopped


def stop_agent(state: State, agent: Agent, stopped: Stopped, *, by: str, reason: str | None) -> None:
    """Cancel the runs and commands of a loaded agent, and those of its children before."""
    _stop_children(state, agent, stopped, by=by, reason=reason, of=None)
    for run_id in sorted(agent.runs):
        run = state.find(Run, run_id)
        if run is not None and not run.is_final and run.stop_requested != "cancelled":
            runs.cancel(state, run_id, by=by, reason=reason)
            stopped.runs.append(run_id)
    for task in tasks.running(state, agent.session_id):
        if not task.stop_requested:
            task_verbs.stop(state, task.task_id, by=by, reason=reason)
            stopped.tasks.append(task.task_id)
    if agent.is_child:
        stopped.agents.append(agent.agent_id)


def _stop_children(
    state: State, agent: Agent | None, stopped: Stopped, *, by: str, reason: str | None, of: str | None
) -> None:
    for child in agent.live if agent is not None else ():
        below = state.find(Agent, child.agent_id)
        if below is not None and not child.detached and (of is None or child.run_id == of):
            stop_agent(state, below, stopped, by=by, reason=reason)


def orphaned(state: State, agent: Agent) -> Iterator[str]:
    """Yield the stopped runs of a loaded agent that have live children: their stop was cut off, or came by a door that
    stops runs only."""
    for run_id in {child.run_id for child in agent.live if child.run_id is not None and not child.detached}:
        run = state.find(Run, run_id)
        if run is not None and (run.status in _STOPPED or run.stop_requested == "cancelled"):
            yield run_id


def close(state: State, agent: Agent, stopped: Stopped, *, by: str, reason: str | None, cascade: bool) -> list[str]:
    """Close a loaded agent for good, and its live children before. Returns the closed agents.

    A closed agent stays as it is. Raises AgentStateConflict if it has live children and `cascade` is false.
    """
    if agent.closed_at is not None:
        return []
    if agent.live and not cascade:
        names = ", ".join(child.name for child in agent.live)
        raise AgentStateConflict(
            f"The agent {agent.agent_id} has live children ({names}); close it with cascade: true."
        )
    closed: list[str] = []
    for child in agent.live:
        below = state.find(Agent, child.agent_id)
        if below is not None:
            closed += close(state, below, stopped, by=by, reason=reason, cascade=True)
    agent = state.get(Agent, agent.agent_id)
    stop_agent(state, agent, stopped, by=by, reason=reason)
    state.append(*closing(agent, usage.subtree(state, agent), by=by, reason=reason))
    return [*closed, agent.agent_id]


def result_of(child: Agent) -> dict[str, Any]:
    """Return the result of a settled child as its parent sees it."""
    result = child.result
    if result is None:
        return {"status": child.status, "output": None, "error": None}
    return {"status": result.status, "output": result.output, "error": result.error}
