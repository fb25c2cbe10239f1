"""Personas: instruction texts written by users, and the immutable snapshots of them that sessions are bound to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from kheish.config import Duration
from kheish.domain.permissions.rules import Mode
from kheish.domain.routes import Slug
from kheish.domain.scopes import CapabilityScope, Glob
from kheish.domain.workers.definition import Choice
from kheish.ids import MOST

#: the quotas of kheish.yaml (`agents`) that a persona may narrow
QUOTAS = ("depth", "live_per_parent", "live_per_root", "spawns_per_run")


class AgentLimits(BaseModel):
    """Limits of an agent that is spawned from the file, which a request can only narrow; and quotas of all agents with
    the persona, which narrow those of kheish.yaml and also hold for the agents below."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    turns: int | None = Field(default=None, ge=1, le=MOST, description="Model turns of a run.")
    wall_time: Duration | None = Field(default=None, description="Active time of a run.")
    model_calls: int | None = Field(default=None, ge=1, le=MOST, description="Model calls of a run.")
    tokens: int | None = Field(default=None, ge=1, le=MOST, description="Input and output tokens of all its runs.")
    cost_usd: float | None = Field(default=None, gt=0, le=MOST, description="US dollars of all its runs.")
    depth: int | None = Field(
        default=None, ge=0, le=MOST, description="The deepest level at which it may spawn agents."
    )
    live_per_parent: int | None = Field(default=None, ge=0, le=MOST, description="Children that have not settled.")
    live_per_root: int | None = Field(
        default=None, ge=0, le=MOST, description="Agents of its tree that have not settled."
    )
    spawns_per_run: int | None = Field(default=None, ge=0, le=MOST, description="Agents that a run spawns.")

    @property
    def budget(self) -> dict[str, Any]:
        """The limits of runs that are set."""
        return self.model_dump(exclude=set(QUOTAS), exclude_none=True)

    @property
    def quotas(self) -> dict[str, int]:
        """The quotas that are set."""
        return self.model_dump(include=set(QUOTAS), exclude_none=True)


#: the parent's messages that a child begins with
Carried = Annotated[str, Field(pattern=r"^(none|all|last:[1-9][0-9]{0,3})$")]


class Persona(BaseModel):
    """`personas/<id>.md`: front matter, followed by the instruction text. A spawned agent may name it; the fields after
    `worker` apply to spawned agents only, except for the quotas among its limits."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    display_name: str | None = Field(default=None, description="The name shown to users; the default is its id.")
    capability_scope: CapabilityScope | None = Field(default=None, description="The names visible to the agent.")
    default_skills: list[str] = Field(default_factory=list, description="Skills that are loaded from the start.")
    memory: Literal["propose", "write"] = Field(
        default="propose", description="write: sessions with this persona may change its memory without a user."
    )
    metadata: dict[str, Any] = Field(default_factory=dict, description="Free-form data; stored, not interpreted.")
    worker: Choice | None = Field(
        default=None, description="The worker of sessions that are created with it: `big`, or `{labels: [gpu]}`."
    )
    description: str | None = Field(default=None, description="The tasks that the agent is for.")
    tools: list[Glob] | None = Field(default=None, description="The only tools of the agent; null: its parent's.")
    disallowed_tools: list[Glob] = Field(default_factory=list, description="Tools that the agent lacks.")
    route: str | None = Field(default=None, description="The route to a model (`route` or `route/model`).")
    model: str | None = Field(
        default=None, min_length=1, max_length=300, description="A model, instead of the route's."
    )
    permission_mode: Mode | None = Field(default=None, description="The widest permission mode of the agent.")
    limits: AgentLimits | None = Field(default=None, description="The widest limits of the agent.")
    skills: list[Slug] | None = Field(default=None, description="The only skills of the agent; null: its parent's.")
    isolation: Literal["shared", "worktree"] | None = Field(
        default=None, description="`worktree` gives the agent a git worktree of its own."
    )
    context: Carried | None = Field(
        default=None, description="The parent's messages that it begins with: none, last:N or all."
    )
    body: str = Field(min_length=1, description="The instruction text (the part below the front matter).")


#: the snapshot of a persona without a file
EMPTY: Mapping[str, Any] = {
    "persona_id": "", "display_name": "", "digest": "", "blob": None, "bound_at": None, "capability_scope": None,
    "default_skills": [], "skills": None, "quotas": {}, "metadata": {}, "body": "",
}  # fmt: skip


def snapshot(persona_id: str, persona: Persona, digest: str, at: str, *, blob: str | None = None) -> dict[str, Any]:
    """Return the snapshot that a session keeps at binding: the content, the file's sha256 and git blob id, and the
    time.

    Later edits of the file affect only later bindings; children inherit the snapshot.
    """
    return {
        "persona_id": persona_id,
        "display_name": persona.display_name or persona_id,
        "digest": digest,
        "blob": blob,
        "bound_at": at,
        "capability_scope": persona.capability_scope.model_dump() if persona.capability_scope else None,
        "default_skills": list(persona.default_skills),
        "skills": list(persona.skills) if persona.skills is not None else None,
        "quotas": persona.limits.quotas if persona.limits is not None else {},
        "memory": persona.memory,
        "metadata": dict(persona.metadata),
        "body": persona.body,
    }
