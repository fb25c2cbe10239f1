"""Requests about the tasks of projects."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from kheish.api.http.answer import Answer
from kheish.api.http.bodies import Body, Name, Reason
from kheish.domain.projects import verbs

Title = Annotated[str, Field(min_length=1, max_length=verbs.TITLE_CHARACTERS)]
Text = Annotated[str, Field(max_length=verbs.TEXT_BYTES)]
Output = Annotated[str, Field(max_length=verbs.OUTPUT_BYTES)]
Tasks = Annotated[list[Name], Field(max_length=verbs.BLOCKERS)]
Ttl = Annotated[str, Field(max_length=20)]


class CreateProjectTask(Body):
    """A task of a project."""

    title: Title
    """The work, in one line."""
    task_id: Name | None = None
    """An id of your choice (a-z, 0-9, `.`, `_`, `-`), unique in the project; without it, one is generated."""
    description: Text | None = None
    """All that an agent needs for it."""
    assignee: Name | None = None
    """The member that is to do it."""
    blocked_by: Tasks = Field(default_factory=list)
    """The tasks that come first."""
    parent: Name | None = None
    """The task that it is a part of."""


class ChangeProjectTask(Body):
    """Changes of a task; a field that is left out stays as it is. With `claim_id` they are those of its holder."""

    title: Title | None = None
    description: Text | None = None
    assignee: Name | None = None
    """Another member; null: none."""
    blocked_by: Tasks | None = None
    """All tasks that come first, in place of those before."""
    parent: Name | None = None
    """Another task that it is a part of; null: none."""
    status: Literal["pending", "blocked", "in_review", "completed", "failed", "cancelled"] | None = None
    """`pending` also unblocks it, rejects its result, and opens one that has ended again."""
    block_kind: Literal["needs_input", "capability", "transient"] | None = None
    """With the status `blocked`: why (needs_input)."""
    reason: Reason | None = None
    """With a status: the reason."""
    output: Output | None = None
    """With a status that ends it: the result."""
    claim_id: Name | None = None
    """The claim of its holder. Without it, a task with a holder can only be cancelled."""

    @model_validator(mode="after")
    def _of_a_status(self) -> ChangeProjectTask:
        if self.block_kind is not None and self.status != "blocked":
            raise ValueError("block_kind belongs to the status blocked")
        if self.status is None and (self.output is not None or self.reason is not None):
            raise ValueError("output and reason belong to a status")
        return self


class StartProjectTask(Body):
    """A request to start a task; it has no fields."""


class ClaimProjectTask(Body):
    """A request to work on a task: by an outside holder, or by an agent that is a member."""

    holder: Name | None = None
    """The name of an outside holder, such as `ci-7`."""
    agent: Name | None = None
    """A member, its agent or its session: its claim ends with its present run, if it has one and `ttl` is left out."""
    ttl: Ttl | None = None
    """The time after which the claim lapses, unless its holder extends it (`5m`; `5s` to `24h`)."""

    @model_validator(mode="after")
    def _one_holder(self) -> ClaimProjectTask:
        if (self.holder is None) == (self.agent is None):
            raise ValueError("name the holder, or the agent")
        return self


class ExtendProjectTask(Body):
    """A heartbeat of an outside holder."""

    claim_id: Name
    ttl: Ttl | None = None
    """The time from now (`5m`). A claim that lasts longer stays as long."""


class ReleaseProjectTask(Body):
    """The end of work without a result."""

    claim_id: Name
    reason: Reason | None = None
    """The reason, which the next holder sees."""


class CompleteProjectTask(Body):
    """The end of a task by its holder."""

    claim_id: Name
    output: Output | None = None
    """The result."""
    status: Literal["completed", "in_review", "failed", "cancelled"] = "completed"
    """`completed` becomes `in_review` where the project has `review: true`."""
    reason: Reason | None = None
    """The reason of a failure."""


class HeldTask(Answer):
    """A claim that was made or extended."""

    claim_id: str
    """The id that each later change by the holder has to name."""
    attempt: int
    by: str
    run_id: str | None
    """The run whose end ends the claim."""
    expires_at: str | None
    """The time at which it lapses; null for the claim of a run."""
    project: str
    task_id: str
