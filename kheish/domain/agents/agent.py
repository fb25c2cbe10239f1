"""Agents: an execution context for each session. A session that a user created is a root; others are children.

The record of a child is folded from its own journal. The parent's record has its live children, so that a tree of live
agents is walked from parent to child in memory, and the index finds the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from kheish.domain import events, spent
from kheish.domain.agents import standing
from kheish.domain.events import Entry, RunError, Text, changed, frozen
from kheish.domain.events.agents import Worktree
from kheish.domain.goals import goal as goals
from kheish.domain.mailboxes.message import Mailbox
from kheish.domain.runs import FOLDED as RUN_EVENTS, Run
from kheish.domain.schedules import wakes
from kheish.domain.sessions.session import CREATED, Session
from kheish.domain.shown import View
from kheish.domain.spent import NOTHING, Spent
from kheish.state.noun import Noun, Tables, always

if TYPE_CHECKING:
    from kheish.state.state import State

ROOT = "root"  # the name of an agent without a parent
_TASKS = 50  # ended commands whose output a result quotes


@frozen
class Child:
    """A child that has not settled: its session, and the run that spawned it."""

    agent_id: str
    session_id: str
    name: str
    run_id: str | None
    detached: bool = False


@frozen
class Wait:
    """An open wait of a run for agents."""

    run_id: str
    call_id: str
    agents: tuple[str, ...]
    until: Literal["settle", "answer"]
    expires_at: str | None
    clarification: str | None = None


@frozen
class Outcome:
    """The end of an agent's run."""

    status: str
    output: Text | None = None
    error: RunError | None = None


@frozen
class Result:
    """The result of a child's work."""

    status: Literal["settled", "failed", "cancelled"]
    output: Text | None = None
    error: RunError | None = None


@frozen
class Agent:
    """An agent as recorded in the journal. `answer` is the end of its newest run, `result` of its work as a child."""

    agent_id: str
    session_id: str
    made: int
    n: int
    root: str
    root_session: str
    name: str = ROOT
    path: str = ROOT
    status: standing.Status = "idle"
    waiting_on: standing.WaitingOn | None = None
    unfinished: tuple[dict[str, str], ...] = ()
    parent: str | None = None
    parent_session: str | None = None
    nickname: str | None = None
    agent: str | None = None
    depth: int = 0
    retention: str = "retain"
    detached: bool = False
    isolation: str = "shared"
    worktree: Worktree | None = None
    worktree_state: str | None = None
    spawned_by_run: str | None = None
    spawn_request_id: str | None = None
    spawned_at: str | None = None
    settled_at: str | None = None
    closed_at: str | None = None
    deadline: str | None = None
    result: Result | None = None
    answer: Outcome | None = None
    answers: int = 0  # runs that have ended
    own: Spent = NOTHING  # the usage of its ended runs
    below: Spent = NOTHING  # the usage of children, up to their last end
    reported: Spent = NOTHING  # the part that its parent's `below` has
    children: int = 0
    live: tuple[Child, ...] = ()
    waits: tuple[Wait, ...] = ()
    runs: frozenset[str] = frozenset()  # its runs that have not ended
    tasks: tuple[str, ...] = ()  # commands that ended since its answer
    mailbox_pending: int = 0
    unattended: bool = False  # no person attends its newest run

    @property
    def is_child(self) -> bool:
        return self.parent is not None

    @property
    def is_live(self) -> bool:
        """Return whether it has work that has not ended."""
        return self.status in standing.LIVE


_RUNS = frozenset({
    events.RunSubmitted, events.RunStarted, events.RunResumed, events.RunWaiting, events.RunRequeued,
    events.RunCompleted, events.RunFailed, events.RunCancelled, events.RunInterrupted,
})  # fmt: skip
_OWN = frozenset({
    events.AgentSpawned, events.AgentSettled, events.AgentClosed, events.AgentUpdated, events.WorktreeChanged,
    events.ChildSpawned, events.ChildResumed, events.ChildSettled, events.WaitOpened, events.WaitEnded,
})  # fmt: skip
_MAIL = frozenset({events.MessagePosted, events.MessageDelivered, events.MessageDied, events.MessageAcked})
FOLDED = frozenset({
    *CREATED, *_RUNS, *_OWN, *_MAIL, *wakes.FOLDED, *goals.DECISIONS, events.TaskCreated, events.TaskEnded,
    events.SessionEnded,
})  # fmt: skip
assert frozenset(RUN_EVENTS) >= _RUNS


def fold(tables: Tables, entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    assert entry.session is not None
    table: dict[str, Agent] = tables[Agent]
    session: Session = tables[Session][entry.session]
    old = table.get(session.agent_id) or root(session)
    fields = _fold_change(old, entry, tables)
    agent = changed(old, **fields) if fields else old
    fields |= standing.derived(agent, session, tables, tables[Mailbox].get(entry.session))
    if agent.agent_id in table and all(getattr(old, name) == value for name, value in fields.items()):
        return ()  # most steps of a run change nothing here, and so cost the index nothing
    table[agent.agent_id] = changed(old, n=entry.n, **fields)
    return (agent.agent_id,)


def root(session: Session) -> Agent:
    """Return the record of a session's agent that was not spawned."""
    id = session.agent_id
    return Agent(agent_id=id, session_id=session.session_id, made=session.made, n=session.n, root=id,
                 root_session=session.session_id, spawned_at=session.created_at,
                 closed_at=session.ended_at)  # fmt: skip


def _fold_change(old: Agent, entry: Entry, tables: Tables) -> dict[str, Any]:
    """Return the fields that an entry changes, so that an agent is copied once per entry."""
    match entry.event:
        case events.RunSubmitted(settings=settings):
            return {"runs": old.runs | {entry.run}, "result": None, "settled_at": None, "worktree_state": None,
                    "unattended": settings.unattended == "deny"}  # fmt: skip
        case events.RunCompleted() | events.RunFailed() | events.RunCancelled() | events.RunInterrupted() as event:
            return _fold_answer(old, tables[Run].get(entry.run or ""), event)
        case events.TaskEnded(task_id=id, ending=ending) if old.is_child and not old.runs and ending is not None:
            return {"tasks": (*old.tasks, id)[-_TASKS:]}
        case events.SessionEnded():
            return {"closed_at": old.closed_at or entry.at}
        case events.AgentSpawned() | events.AgentSettled() | events.AgentClosed() | events.AgentUpdated() as event:
            return _fold_life(old, event, entry.at)
        case events.WorktreeChanged(state=state):
            return {"worktree_state": state}
        case _:
            return _fold_family(old, entry)


def _fold_answer(old: Agent, run: Run | None, event: events.Event) -> dict[str, Any]:
    if run is None or run.run_id not in old.runs:
        return {}
    output = getattr(event, "output", None)
    error = getattr(event, "error", None)
    return {
        "runs": old.runs - {run.run_id},
        "own": spent.total(old.own, run.usage),
        "answer": Outcome(status=str(run.status), output=output, error=error),
        "answers": old.answers + 1,
        "tasks": (),
        "waits": tuple(wait for wait in old.waits if wait.run_id != run.run_id),
    }


def _fold_life(old: Agent, event: events.Event, at: str) -> dict[str, Any]:
    match event:
        case events.AgentSpawned():
            names = ("name", "path", "parent", "parent_session", "root", "root_session", "depth", "agent", "retention",
                     "detached", "isolation", "worktree", "spawned_by_run", "spawn_request_id", "deadline")  # fmt: skip
            return {"spawned_at": at, **{name: getattr(event, name) for name in names}}
        case events.AgentSettled(status=status, output=output, error=error, reported=reported):
            result = Result(status=status, output=output, error=error)
            return {"result": result, "settled_at": at, "reported": reported, "tasks": ()}
        case events.AgentClosed(reported=reported):
            return {"closed_at": at, "reported": reported}
        case events.AgentUpdated(changes=changes):
            return dict(changes)
        case _:
            return {}


def _fold_family(old: Agent, entry: Entry) -> dict[str, Any]:
    match entry.event:
        case events.ChildSpawned() | events.ChildResumed() as event:
            child = Child(agent_id=event.agent_id, session_id=event.session_id, name=event.name, run_id=entry.run,
                          detached=event.detached)  # fmt: skip
            others = _without(old.live, event.agent_id)
            return {"live": (*others, child), "children": old.children + isinstance(event, events.ChildSpawned)}
        case events.ChildSettled(agent_id=id, spent=below):
            return {"live": _without(old.live, id), "below": spent.total(old.below, below)}
        case events.WaitOpened() as event:
            wait = Wait(run_id=entry.run or "", call_id=event.call_id, agents=event.agents, until=event.until,
                        expires_at=event.expires_at, clarification=event.clarification)  # fmt: skip
            return {"waits": (*old.waits, wait)}
        case events.WaitEnded(call_id=id):
            left = tuple(wait for wait in old.waits if (wait.run_id, wait.call_id) != (entry.run, id))
            return {"waits": left}
        case _:
            return {}


def _without(children: tuple[Child, ...], agent_id: str) -> tuple[Child, ...]:
    return tuple(child for child in children if child.agent_id != agent_id)


# --- views ------------------------------------------------------------------------------------------------------------


@frozen
class AgentFailure(View):
    """The reason for an agent's failure."""

    code: str
    message: str
    retryable: bool


@frozen
class AgentResult(View):
    """The result of an agent's work."""

    status: str
    """`settled`, `failed` or `cancelled`."""
    output: Text | None
    """The answer, with the output of commands that ended after it."""
    error: AgentFailure | None


@frozen
class AgentUsage(View):
    """The usage of an agent."""

    own: Spent
    """That of its own runs."""
    subtree: Spent
    """That of its own runs and of all agents below it."""


@frozen
class AgentWorktree(View):
    """A git worktree of the workspace's repository."""

    path: str
    branch: str
    base: str
    """The commit at which the branch began."""
    state: str | None
    """Its end: `committed`, `removed`, `kept`, `merged`, `discarded`, `restored`; null while it is in use."""


@frozen
class AgentView(View):
    """An agent: the execution context of a session."""

    agent_id: str
    session_id: str
    parent: str | None
    """The agent that spawned it; null for the agent of a session that a user created."""
    root: str
    """The agent at the top of its tree."""
    name: str
    """Its name, unique among the children of its parent."""
    path: str
    """The names from the root to it: `root/reviewer`."""
    nickname: str | None
    agent: str | None
    """The agent file that it was made from."""
    status: standing.Status
    waiting_on: standing.WaitingOn | None
    """The first thing that holds it while it waits, or that it expects while it is idle (`task`, `agent`, `timer`)."""
    depth: int
    retention: str
    """`retain`, or `close_on_settle`."""
    detached: bool
    """Whether it continues if the run that spawned it is cancelled."""
    isolation: str
    """`shared`: it works in its parent's workspace; `worktree`: in a git worktree of its own."""
    worktree: AgentWorktree | None
    spawned_by_run: str | None
    spawn_request_id: str | None
    spawned_at: str | None
    settled_at: str | None
    closed_at: str | None
    result: AgentResult | None
    """Its result, when it has settled."""
    unfinished: tuple[dict[str, str], ...]
    """The open items after its answer: `{kind, id, title}`."""
    usage: AgentUsage
    children: int
    """The number of agents that it spawned."""
    mailbox_pending: int
    n: int


def _shown(result: Result) -> AgentResult:
    error = result.error
    failure = AgentFailure(code=error.code, message=error.message, retryable=error.retryable) if error else None
    return AgentResult(status=result.status, output=result.output, error=failure)


def view(agent: Agent) -> AgentView:
    """Return the agent as the API and its Record show it."""
    result, tree = agent.result, agent.worktree
    return AgentView(
        agent_id=agent.agent_id,
        session_id=agent.session_id,
        parent=agent.parent,
        root=agent.root,
        name=agent.name,
        path=agent.path,
        nickname=agent.nickname,
        agent=agent.agent,
        status=agent.status,
        waiting_on=agent.waiting_on,
        depth=agent.depth,
        retention=agent.retention,
        detached=agent.detached,
        isolation=agent.isolation,
        worktree=None if tree is None else AgentWorktree(path=tree.path, branch=tree.branch, base=tree.base,
                                                         state=agent.worktree_state),
        spawned_by_run=agent.spawned_by_run,
        spawn_request_id=agent.spawn_request_id,
        spawned_at=agent.spawned_at,
        settled_at=agent.settled_at,
        closed_at=agent.closed_at,
        result=_shown(result) if result is not None else None,
        unfinished=agent.unfinished,
        usage=AgentUsage(own=agent.own, subtree=spent.total(agent.own, agent.below)),
        children=agent.children,
        mailbox_pending=agent.mailbox_pending,
        n=agent.n,
    )  # fmt: skip


def _derive(tables: Tables) -> None:
    for session in tables[Session].values():
        tables[Agent].setdefault(session.agent_id, root(session))


NOUN = Noun(
    name="agent", cls=Agent, folded=FOLDED, fold=fold, keep=always, view=view, derive=_derive,
    record="agent.yaml", recorded=lambda agent: agent.is_child or agent.children > 0,
    filters=("root", "parent", "path"),
)  # fmt: skip


# --- reading ----------------------------------------------------------------------------------------------------------


def of_session(state: State, session_id: str) -> Agent:
    """Return the agent of a loaded session. Raises NotFound."""
    return state.get(Agent, state.get(Session, session_id).agent_id)


def find_in(state: State, session_id: str | None) -> Agent | None:
    """Return the agent of a session if it is loaded."""
    session = state.find(Session, session_id) if session_id is not None else None
    return state.find(Agent, session.agent_id) if session is not None else None


def open_runs(state: State, agent: Agent) -> Mapping[str, Run]:
    """Return the runs of a loaded agent that have not ended, by id."""
    return {id: run for id in agent.runs if (run := state.find(Run, id)) is not None}
