"""A task of a project as the API, the index and its Record show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from kheish.domain.events import frozen
from kheish.domain.events.projects import PROJECT_TASK, ProjectBlockKind, ProjectTaskStatus
from kheish.domain.projects.task import FOLDED, ProjectTask, TaskClaim, fold
from kheish.domain.shown import View
from kheish.state.noun import Noun


@frozen
class ProjectTaskView(View):
    """A task of a project."""

    internal = frozenset({"untold", "barred_session", "result_person", "made", "n"})

    task_id: str
    project: str
    title: str
    description: str
    status: ProjectTaskStatus
    """`deleted` occurs only in the Record of a task that was deleted."""
    assignee: str | None
    """The member that is to do it."""
    claim: TaskClaim | None
    blocked_by: tuple[str, ...]
    """The tasks that come first."""
    block_kind: ProjectBlockKind | None
    parent: str | None
    thread: str | None
    """Its thread in the project's default channel."""
    run_id: str | None
    """Its newest run."""
    output: str | None
    result_by: str | None
    """The caller or agent that gave the result that is, or was, in review: another one accepts it."""
    result_person: str | None
    """The person of that caller's token."""
    accepted_by: str | None
    """The caller that accepted the result."""
    waits_for: tuple[str, ...]
    """The tasks in `blocked_by` that are not completed."""
    failed: tuple[str, ...]
    """The tasks in `blocked_by` that failed or were cancelled."""
    blocks: tuple[str, ...]
    """The tasks that wait for it."""
    attempt: int
    """The number of the present claim, or of the next one."""
    failures: int
    """Attempts of runs that came to nothing, since it was unblocked."""
    delays: int
    """Attempts that a limit of a provider stopped, since it was unblocked."""
    reason: str | None
    """The reason of a block, a release, a rejection, or the end; of a task in progress, that of the attempt before."""
    retry_at: str | None
    """The time from which a task that a limit of a provider stopped can be claimed."""
    restarts: bool
    """Whether the daemon starts it again at `retry_at`."""
    question_id: str | None
    """The question that asks a person how to continue."""
    session_id: str | None
    """The session of its newest run."""
    created_at: str
    created_by: str
    ended_at: str | None
    barred_session: str | None
    """The session that gets it no earlier than `barred_until`."""
    barred_until: str | None
    untold: bool
    """Whether its assignee is still to be told that a task before it failed."""
    tainted_by: str | None
    """The tool that brought untrusted content to the agent that wrote its text."""
    lapsed: bool
    """Whether the time of its claim is over, so that it can be claimed."""
    path: str
    """Its Record."""
    made: int
    n: int


_SAME = tuple(one.name for one in fields(ProjectTaskView) if one.name != "lapsed")


def view(task: ProjectTask) -> ProjectTaskView:
    """Return the task as the index and its Record show it; the API adds whether its claim has lapsed."""
    return ProjectTaskView(lapsed=False, **{name: getattr(task, name) for name in _SAME})


def read(doc: Mapping[str, Any]) -> ProjectTask:
    """Return the task in a document of the index."""
    given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in doc.items()}
    del given["lapsed"]
    given["claim"] = TaskClaim(**doc["claim"]) if doc["claim"] is not None else None
    return ProjectTask(**given)


def status_of(project: str, status: str) -> str:
    """Return the status of a task in the index: a list of one status in one project costs what it returns."""
    return f"{project}/{status}"


NOUN = Noun(
    name=PROJECT_TASK,
    cls=ProjectTask,
    folded=frozenset(FOLDED),
    fold=lambda tables, entry: fold(tables[ProjectTask], entry),
    keep=lambda task: task.is_open,
    view=view,
    status=lambda task: status_of(task.project, task.status),
    filed=lambda task: task.path,
    filters=("assignee", "parent", "block_kind"),
    read=read,
)
