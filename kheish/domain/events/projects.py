"""Events of projects and their tasks: entries of the stream `projects`, where each project has a journal of its own."""

from __future__ import annotations

from typing import Any, Literal

from kheish.domain.events.runs import Idempotency
from kheish.state.event import Event, frozen

PROJECTS = "projects"
#: the kind of a run that the daemon starts for a task; also the noun of tasks, and the purpose of questions about them
PROJECT_TASK = "project_task"
ProjectState = Literal["active", "paused", "completed", "archived"]
ProjectTaskStatus = Literal[
    "pending", "in_progress", "blocked", "in_review", "completed", "failed", "cancelled", "deleted"
]
ProjectBlockKind = Literal["dependency", "dependency_failed", "needs_input", "capability", "transient", "attempts"]
ProjectTaskEnd = Literal["completed", "failed", "cancelled"]


@frozen
class _OfProject(Event):
    """The base of the entries of one project."""

    stream = PROJECTS
    owned_by = "project"
    journal_per_owner = True
    project: str


@frozen
class ProjectSet(_OfProject):
    """A project whose file was created or changed. `state` is None if the file does not change it."""

    kind = "project.set"
    digest: str
    state: ProjectState | None
    file_state: ProjectState


@frozen
class ProjectStateChanged(_OfProject):
    """A pause, its end, a completion, or the archive. The file stays as it is."""

    kind = "project.state_changed"
    headline = "project {state}: {project}"
    state: ProjectState
    reason: str | None = None


@frozen
class ProjectRemoved(_OfProject):
    """A project whose file was removed; it had no tasks."""

    kind = "project.removed"


@frozen
class _OfTask(_OfProject):
    """The base of the entries of one task."""

    task_id: str


@frozen
class ProjectTaskCreated(_OfTask):
    """A task, or one that had ended and is open again: `was` is its status before. `waits_for` are the tasks in
    `blocked_by` that are not completed, `failed` those that never will be; `blocks` are open tasks that wait for it."""

    kind = "project_task.created"
    headline = "project task created: {project}/{task_id} {title}"
    path: str  # its Record
    title: str
    description: str = ""
    assignee: str | None = None
    blocked_by: tuple[str, ...] = ()
    waits_for: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    parent: str | None = None
    thread: str | None = None
    attempt: int = 1
    was: ProjectTaskEnd | None = None
    run_id: str | None = None
    session_id: str | None = None
    output: str | None = None
    created_at: str | None = None  # of a task that is open again
    created_by: str | None = None
    made: int | None = None
    reason: str | None = None  # why it is open again
    failures: int = 0  # attempts that came to nothing and still count
    tainted_by: str | None = None  # what had tainted the agent that wrote it
    idempotency: Idempotency | None = None


@frozen
class ProjectTaskUpdated(_OfTask):
    """Changed fields of an open task."""

    kind = "project_task.updated"
    changes: dict[str, Any]


@frozen
class ProjectTaskClaimed(_OfTask):
    """A claim: from here on only its holder changes the task. A run's claim ends with the run, another at
    `expires_at`, unless its holder extends it. `member`: `by` is a member. `started`: the daemon started the
    run for the task."""

    kind = "project_task.claimed"
    headline = "project task claimed: {project}/{task_id} by {by}"
    claim_id: str
    by: str
    member: bool = True
    session_id: str | None = None
    run_id: str | None = None
    expires_at: str | None = None
    started: bool = False
    thread: str | None = None
    idempotency: Idempotency | None = None


@frozen
class ProjectTaskExtended(_OfTask):
    """A heartbeat of an outside holder."""

    kind = "project_task.extended"
    claim_id: str
    expires_at: str


@frozen
class ProjectTaskReleased(_OfTask):
    """The end of a claim without a result. `failures` are the attempts of runs that came to nothing so far, `delays`
    those that a limit of a provider stopped; `block_kind`: the task does not become pending. `restarts`: the daemon
    starts it again at `retry_at`. `barred_until`: the session that had it gets it no earlier."""

    kind = "project_task.released"
    claim_id: str
    reason: str | None = None
    failures: int = 0
    delays: int = 0
    block_kind: ProjectBlockKind | None = None
    retry_at: str | None = None
    restarts: bool = False
    question_id: str | None = None
    barred_until: str | None = None
    tainted_by: str | None = None


@frozen
class ProjectTaskBlocked(_OfTask):
    """A task that cannot continue for now; a claim on it stays."""

    kind = "project_task.blocked"
    block_kind: ProjectBlockKind
    reason: str | None = None
    retry_at: str | None = None


@frozen
class ProjectTaskUnblocked(_OfTask):
    """The end of a block; `fresh`: failed attempts no longer count."""

    kind = "project_task.unblocked"
    fresh: bool = False
    reason: str | None = None


@frozen
class ProjectTaskReviewed(_OfTask):
    """A result that a person has to accept: another one than its actor, or the person of that token."""

    kind = "project_task.review_requested"
    headline = "project task in review: {project}/{task_id}"
    output: str | None = None
    reason: str | None = None
    person: str | None = None


@frozen
class ProjectTaskRejected(_OfTask):
    """A result that a person did not accept; the task is worked on again."""

    kind = "project_task.rejected"
    headline = "project task rejected: {project}/{task_id}{because}"
    reason: str | None = None

    @property
    def because(self) -> str:
        """The beginning of the reason, if there is one."""
        return f": {' '.join(self.reason[:80].split())}" if self.reason else ""


@frozen
class ProjectTaskEnded(_OfTask):
    """The end of a task; `accepted`: a person accepted the result that was in review."""

    kind = "project_task.ended"
    headline = "project task {status}: {project}/{task_id}"
    status: ProjectTaskEnd
    output: str | None = None
    reason: str | None = None
    accepted: bool = False


@frozen
class ProjectTaskDeleted(_OfTask):
    """The removal of an open task; one that has ended is open again in the same group. Its id is never reused."""

    kind = "project_task.deleted"


@frozen
class ProjectTaskOwnerTold(_OfTask):
    """A note that the owner of a task has a notice that a task before it failed, in one group with the notice."""

    kind = "project_task.owner_told"


@frozen
class RunJoinedProject(Event):
    """A run that works on a task of a project: its cost counts there from here on, and what tainted the text of the
    task taints the session. An entry of the session."""

    kind = "run.joined_project"
    project: str
    task_id: str
    tainted_by: str | None = None
