"""The standing of an agent: its status, the first thing that holds it, and the moves that are possible, as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from typing import TYPE_CHECKING, Any, Literal, get_args

from kheish.domain.goals.goal import Goal
from kheish.domain.runs import Run, lifecycle
from kheish.domain.schedules.wakes import Wake
from kheish.domain.tasks.task import Task

if TYPE_CHECKING:
    from kheish.domain.agents.agent import Agent
    from kheish.domain.mailboxes.message import Mailbox
    from kheish.domain.sessions.session import Session
    from kheish.state.noun import Tables

Status = Literal["idle", "running", "waiting", "settled", "failed", "cancelled", "closed"]
WaitingOn = Literal["task", "agent", "timer", "approval", "question", "message", "worker"]

#: statuses of an agent with work that has not ended, and of a child whose work has ended
LIVE = frozenset({"running", "waiting"})
ENDED = frozenset({"settled", "failed", "cancelled", "closed"})

#: the possible next statuses; each status may also remain. Only `closed` is final.
MOVES: Mapping[str, frozenset[str]] = {
    "idle": frozenset({"running", "waiting", "closed"}),
    "running": frozenset({"idle", "waiting", "closed"}),
    "waiting": frozenset({"idle", "running", "settled", "failed", "cancelled", "closed"}),
    "settled": frozenset({"running", "closed"}),
    "failed": frozenset({"running", "closed"}),
    "cancelled": frozenset({"running", "closed"}),
    "closed": frozenset(),
}

_HELD: Mapping[lifecycle.Status, WaitingOn] = {
    lifecycle.Status.WAITING_FOR_APPROVAL: "approval",
    lifecycle.Status.WAITING_FOR_QUESTION: "question",
    lifecycle.Status.WAITING_FOR_AGENT: "agent",
}
#: the first of these that holds is what an agent waits on
ORDER: tuple[WaitingOn, ...] = get_args(WaitingOn)
#: what an open thing of an agent that has answered is called
_KINDS: Mapping[str, WaitingOn] = {"task": "task", "agent": "agent", "timer": "timer", "message": "message"}

#: an agent, and the status of the run that determines its own
Facts = tuple["Agent", lifecycle.Status | None]
#: The status is that of the first row whose condition holds; None stands for the status of the result.
STANDINGS: tuple[tuple[Status | None, Callable[[Facts], bool]], ...] = (
    ("closed", lambda facts: facts[0].closed_at is not None and facts[1] is None),
    ("waiting", lambda facts: facts[1] in _HELD),
    ("running", lambda facts: facts[1] is not None),
    ("idle", lambda facts: not facts[0].is_child),
    (None, lambda facts: facts[0].result is not None),
    ("waiting", lambda facts: True),
)


def derived(agent: Agent, session: Session, tables: Tables, box: Mailbox | None) -> dict[str, Any]:
    """Return the fields of an agent that follow from its session, runs, commands, children, wakes, mailbox and
    goal."""
    runs, tasks, wakes = tables[Run], tables[Task], tables[Wake]
    goal = tables[Goal].get(agent.session_id)
    run = _holder(agent, session, runs)
    unfinished: tuple[dict[str, str], ...] = ()
    if run is not None:
        kinds = {_HELD[one.status] for id in agent.runs if (one := runs.get(id)) is not None and one.status in _HELD}
    elif agent.is_child:
        unfinished = tuple(open_things(agent, tasks, wakes, box))
        kinds = {_KINDS[thing["kind"]] for thing in unfinished}
    else:
        first = next(open_things(agent, tasks, wakes, box), None)
        kinds = {_KINDS[first["kind"]]} if first is not None else set()
        if goal is not None and goal.is_resting:
            kinds.add("timer")
    facts = (agent, run.status if run is not None else None)
    status = next(status for status, holds in STANDINGS if holds(facts))
    if status is None:
        assert agent.result is not None
        status = agent.result.status
    return {
        "status": status,
        "waiting_on": _waiting_on(status, kinds),
        "unfinished": unfinished,
        "mailbox_pending": len(box.pending) if box is not None else 0,
    }


def _holder(agent: Agent, session: Session, runs: Mapping[str, Run]) -> Run | None:
    """Return the run that determines the status: the one with the slot, else one that is queued, else one that is
    parked."""
    if session.active is not None:
        return runs.get(session.active)
    if session.queued:
        return runs.get(session.queued[0])
    return next((runs[id] for id in agent.runs if id in runs), None)


def open_things(
    agent: Agent, tasks: Mapping[str, Task], wakes: Mapping[str, Wake], box: Mailbox | None
) -> Iterator[dict[str, str]]:
    """Yield what keeps a child from settling after its answer: its commands, children, wakes, then its messages."""
    for task in tasks.values():
        if task.shell is not None and not task.is_final:
            yield {"kind": "task", "id": task.task_id, "title": task.title}
    for child in agent.live:
        if not child.detached:
            yield {"kind": "agent", "id": child.agent_id, "title": child.name}
    for wake in wakes.values():
        if wake.status == "pending":
            yield {"kind": "timer", "id": wake.wake_id, "title": f"a wake at {wake.at}"}
    for key in (*box.claimed, *box.pending) if box is not None else ():
        yield {"kind": "message", "id": key.rpartition("/")[2], "title": "a message that it has not read"}


def _waiting_on(status: Status, kinds: Set[WaitingOn]) -> WaitingOn | None:
    """Return the first thing that holds an agent that waits, or that an idle agent without a parent expects."""
    if status not in ("waiting", "idle"):
        return None
    return next((kind for kind in ORDER if kind in kinds), None)


def is_due(agent: Agent) -> bool:
    """Return whether a child's work has ended, and its end is not recorded."""
    return agent.is_child and agent.status == "waiting" and not agent.runs and not agent.unfinished
