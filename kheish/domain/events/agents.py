"""Events of agents: sessions that an agent spawned (sidechains), their end, and the waits for them."""

from __future__ import annotations

from dataclasses import field
from typing import Any, Literal

from kheish.domain.events.models import Spent
from kheish.domain.events.runs import Idempotency, RunError
from kheish.state.event import Event, Text, frozen

Ended = Literal["settled", "failed", "cancelled"]


@frozen
class Worktree:
    """A git worktree of the workspace's repository, on a branch of its own that begins at `base`."""

    path: str
    branch: str
    base: str
    repository: str
    finish: Literal["keep", "commit", "discard"] = "commit"


@frozen
class AgentSpawned(Event):
    """The first event of a child after its session's creation. Ids and names are those of its place in the tree."""

    kind = "agent.spawned"
    name: str
    path: str
    parent: str
    parent_session: str
    root: str
    root_session: str
    depth: int
    agent: str | None = None
    retention: Literal["retain", "close_on_settle"] = "retain"
    detached: bool = False
    isolation: Literal["shared", "worktree"] = "shared"
    worktree: Worktree | None = None
    spawned_by_run: str | None = None
    spawn_request_id: str | None = None
    deadline: str | None = None
    tainted_by: str | None = None


@frozen
class ChildSpawned(Event):
    """A child of the session's agent; the run is the run that spawned it."""

    kind = "agent.child_spawned"
    agent_id: str
    session_id: str
    name: str
    detached: bool = False
    idempotency: Idempotency | None = None


@frozen
class ChildResumed(Event):
    """A settled child that has work again."""

    kind = "agent.child_resumed"
    agent_id: str
    session_id: str
    name: str
    detached: bool = False


@frozen
class ChildSettled(Event):
    """The end of a child, in its parent's journal. `spent` is the usage of its subtree since its last such event."""

    kind = "agent.child_settled"
    agent_id: str
    status: Ended | Literal["closed"]
    spent: Spent = Spent()
    tainted_by: str | None = None


@frozen
class AgentSettled(Event):
    """The end of a child's work: its run has ended, and nothing that it started is open. `reported` is the usage of its
    subtree."""

    kind = "agent.settled"
    spillable = ("output",)
    status: Ended
    output: Text | None = None
    error: RunError | None = None
    reported: Spent = Spent()


@frozen
class AgentClosed(Event):
    """The end of an agent for good; it accepts no more work."""

    kind = "agent.closed"
    reason: str | None = None
    reported: Spent = Spent()


@frozen
class AgentUpdated(Event):
    kind = "agent.updated"
    changes: dict[str, Any] = field(default_factory=dict)


@frozen
class WorktreeChanged(Event):
    """The end of a worktree: `committed` on its branch, `removed`, `kept` (with the reason), `merged`, `discarded`,
    or `restored` from its branch."""

    kind = "agent.worktree_changed"
    state: Literal["committed", "removed", "kept", "merged", "discarded", "restored"]
    commit: str | None = None
    reason: str | None = None


@frozen
class ClarificationAsked(Event):
    """A child's question to its parent, in the parent's journal; the run is the run that answers it."""

    kind = "agent.clarification_asked"
    agent_id: str
    tainted_by: str | None = None


@frozen
class WaitOpened(Event):
    """A call that waits for agents. `until` is the moment that ends it: all have settled, or all have answered."""

    kind = "agent.wait_opened"
    call_id: str
    agents: tuple[str, ...]
    until: Literal["settle", "answer"] = "settle"
    expires_at: str | None = None
    clarification: str | None = None  # the run in the parent that answers a question of this agent


@frozen
class WaitEnded(Event):
    """The end of a wait, with the status of each agent at that time."""

    kind = "agent.wait_ended"
    call_id: str
    outcome: Literal["done", "timeout", "answered", "declined", "cancelled", "interrupted", "expired"]
    statuses: dict[str, str] = field(default_factory=dict)
    tainted_by: str | None = None
