"""Request bodies and answers of agents."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from kheish.api.http.answer import Answer
from kheish.api.http.bodies import Body, Few, Key, Name, Reason
from kheish.api.submissions import AssetItem, Budget, TextItem
from kheish.config import Duration
from kheish.domain.permissions.rules import Mode
from kheish.domain.personas import Carried
from kheish.domain.scopes import CapabilityScope, CredentialScope, Glob
from kheish.domain.workers.definition import Choice


class Tools(Body):
    """The tools of a child: globs; deny wins."""

    allow: list[Glob] | None = None
    """The only tools; null: its parent's."""
    deny: list[Glob] = Field(default_factory=list)
    """Tools that it lacks."""


class Instructions(Body):
    """Instructions for a child."""

    mode: Literal["append", "replace"] = "append"
    """Whether they follow the instructions of its persona, or replace them."""
    text: Annotated[str, Field(min_length=1, max_length=200_000)]


class SpawnAgent(Body):
    """A request for a child: `prompt`, or `items`. It can only narrow what its parent has."""

    name: Name
    """Its name, unique among the children of its parent."""
    prompt: Annotated[str, Field(min_length=1)] | None = None
    """The task, as one text."""
    items: (
        Annotated[list[Annotated[TextItem | AssetItem, Field(discriminator="type")]], Field(max_length=1000)] | None
    ) = None
    """The task, in parts."""
    agent: Name | None = None
    """An agent file: a persona's id, or a file of the workspace's `.claude/agents`."""
    instructions: Instructions | None = None
    """Instructions besides those of its file or persona."""
    context: Carried | None = None
    """The parent's messages that it begins with: `none`, `last:N` or `all`."""
    route: Name | None = None
    """`route` or `route/model`; without it, the route of its parent's run."""
    model: Annotated[str, Field(min_length=1, max_length=300)] | None = None
    """A model, instead of the route's."""
    generation: Few | None = None
    """The provider's own settings, such as temperature."""
    tools: Tools | None = None
    """Its tools."""
    permission_mode: Mode | None = None
    """Its permission mode."""
    capability_scope: CapabilityScope | None = None
    """The names that it sees."""
    credential_scope: CredentialScope | None = None
    """The routes, connectors and accounts that it may use."""
    budget: Budget | None = None
    """The budget of all its runs."""
    isolation: Literal["shared", "worktree"] | None = None
    """`worktree`: a git worktree of its own."""
    finish: Literal["keep", "commit", "discard"] = "commit"
    """The treatment of its worktree when it has settled."""
    worker: Choice | None = None
    """The worker that its tools run on: `big`, or `{labels: [gpu]}`; without it, its parent's."""
    cwd: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """Its folder, in its parent's workspace."""
    retention: Literal["retain", "close_on_settle"] = "retain"
    """Whether it is closed when it has settled."""
    detached: bool = False
    """Whether it continues if the run that spawned it is cancelled."""
    timeout: Duration | None = None
    """Its work is stopped after this time: `15m`."""
    spawn_request_id: Key | None = None
    """The same id gives the same child. It may also be sent as the header Idempotency-Key."""

    @model_validator(mode="after")
    def _one_of_both(self) -> SpawnAgent:
        if (self.prompt is None) == (self.items is None):
            raise ValueError("send either prompt or items")
        return self


class CloseAgent(Body):
    """A request to close an agent for good."""

    cascade: bool = True
    """Close the agents below it, too; without it, an agent with live children is left alone (409)."""
    reason: Reason | None = None
    """The reason, for the journal."""


class ChangeWorktree(Body):
    """A decision about an agent's worktree."""

    action: Literal["merge", "discard"]
    """`merge` its branch into the workspace's own, or `discard` its work."""


class AgentChanges(Body):
    """Changes of an agent's record."""

    nickname: Annotated[str, Field(max_length=200)] | None = None
    """A name for people."""
    retention: Literal["retain", "close_on_settle"] | None = None
    """Whether it is closed when it has settled."""


class Closed(Answer):
    """The agents that were closed, and the runs that were stopped, the innermost first."""

    closed: list[str]
    cancelled_runs: list[str]


class Quota(Answer):
    """A quota of agents."""

    name: str
    used: int
    limit: int | None
    """The most; null: it does not apply here."""


class Quotas(Answer):
    """The quotas of agents, for an agent if a session is named."""

    session_id: str | None
    agent_id: str | None
    quotas: list[Quota]
    limits: dict[str, Any]
    """The settings `agents` of kheish.yaml."""


class Explained(Answer):
    """The child that a spawn would create; it was not created."""

    allowed: bool
    name: str
    path: str
    parent: str
    depth: int
    permission_mode: str
    route: str | None
    workspace: str
    isolation: str
    worker: str | None = None
    """The worker that its tools run on; null: the daemon's machine."""
    persona: str | None
    skills: list[str] | None
    """The only skills that it sees; null: all."""
    budget: dict[str, Any] | None
    capability_scope: list[dict[str, Any]]
    """The scopes that all hold."""
    credential_scope: list[dict[str, Any]]
    quotas: list[Quota]


class Tree(Answer):
    """An agent with the agents below it, `children` in the order of their spawn."""

    agent: dict[str, Any]
    children: list[dict[str, Any]]


class WorktreeRow(Answer):
    """A worktree: of an agent, or an orphan that no agent has."""

    agent_id: str | None
    path: str
    branch: str | None
    state: str | None
    orphan: bool


class WorktreeDiff(Answer):
    """The worktree of an agent, with its changes."""

    agent_id: str
    path: str
    branch: str
    base: str
    state: str | None
    exists: bool
    diff: str
    """The changes since the base, and untracked files as lines that begin with `??`."""
