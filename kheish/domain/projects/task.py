"""The tasks of projects as recorded in the journal, and their fold.

Only open tasks are in memory; those that have ended are in the index. An event about one that has ended is preceded, in
its group, by a `project_task.created` that has the whole of it. Tasks know both the open tasks that they wait for and
those that wait for them, so that an end costs what depends on it, however many tasks there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kheish.domain import events
from kheish.domain.events import Entry, changed, frozen
from kheish.domain.events.projects import ProjectBlockKind, ProjectTaskStatus
from kheish.domain.shown import View

FINAL = frozenset({"completed", "failed", "cancelled"})
STATUSES: tuple[ProjectTaskStatus, ...] = (
    "pending",
    "in_progress",
    "blocked",
    "in_review",
    "completed",
    "failed",
    "cancelled",
)
#: kinds of blocks that follow from the tasks before a task
OF_OTHERS = frozenset({"dependency", "dependency_failed"})


@frozen
class TaskClaim(View):
    """The claim on a task."""

    shown_as = "ProjectTaskClaim"
    claim_id: str
    by: str
    """The member that holds it, or the name of an outside holder."""
    run_id: str | None
    """The run whose end ends the claim; null for an outside holder."""
    attempt: int
    expires_at: str | None
    """The time at which it lapses, unless its holder extends it; null for a run's claim."""
    claimed_at: str
    session_id: str | None
    started: bool
    """Whether the daemon started the run for the task."""
    member: bool
    """Whether `by` is a member."""
    made_by: str | None = None
    """The caller or agent that claimed it."""


@frozen
class ProjectTask:
    """A task. `waits_for` are the tasks in `blocked_by` that are not completed, `failed` those that failed; `blocks`
    are the open tasks that have this one in `blocked_by`. `run_id` and `session_id` are those of its newest run.
    `result_by` gave the result that is, or was, in review, by the token of `result_person`."""

    task_id: str
    project: str
    path: str
    title: str
    description: str
    status: ProjectTaskStatus
    created_at: str
    created_by: str
    made: int
    n: int
    assignee: str | None = None
    claim: TaskClaim | None = None
    blocked_by: tuple[str, ...] = ()
    waits_for: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    block_kind: ProjectBlockKind | None = None
    reason: str | None = None
    retry_at: str | None = None
    question_id: str | None = None
    parent: str | None = None
    thread: str | None = None
    attempt: int = 1
    failures: int = 0
    delays: int = 0
    restarts: bool = False
    run_id: str | None = None
    session_id: str | None = None
    output: str | None = None
    result_by: str | None = None
    result_person: str | None = None
    accepted_by: str | None = None
    ended_at: str | None = None
    barred_session: str | None = None
    barred_until: str | None = None
    untold: bool = False
    tainted_by: str | None = None

    @property
    def key(self) -> str:
        """The id in tables and in the index: names of tasks are unique within their project only."""
        return key_of(self.project, self.task_id)

    @property
    def is_open(self) -> bool:
        """Return whether it may still change."""
        return self.status not in FINAL and self.status != "deleted"

    @property
    def owner(self) -> str | None:
        """The member that is responsible for it: the holder, else the assignee."""
        return self.claim.by if self.claim is not None else self.assignee


def key_of(project: str, task_id: str) -> str:
    """Return the id of a task in tables and in the index."""
    return f"{project}/{task_id}"


def has_lapsed(claim: TaskClaim | None, now: str) -> bool:
    """Return whether the time of a claim is over."""
    return claim is not None and claim.expires_at is not None and claim.expires_at <= now


FOLDED = (
    events.ProjectTaskCreated,
    events.ProjectTaskUpdated,
    events.ProjectTaskClaimed,
    events.ProjectTaskExtended,
    events.ProjectTaskReleased,
    events.ProjectTaskBlocked,
    events.ProjectTaskUnblocked,
    events.ProjectTaskReviewed,
    events.ProjectTaskRejected,
    events.ProjectTaskEnded,
    events.ProjectTaskDeleted,
    events.ProjectTaskOwnerTold,
)
Table = Mapping[str, ProjectTask]


def fold(table: dict[str, ProjectTask], entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    news = changes(table, entry)
    table |= news
    return news


def changes(table: Table, entry: Entry) -> dict[str, ProjectTask]:
    """Return the new values of the tasks that an entry changes; the project's own fold compares them with the old."""
    event: Any = entry.event
    key = key_of(event.project, event.task_id)
    if isinstance(event, events.ProjectTaskCreated):
        task = opened(event, entry.n, entry.at, entry.actor)
        return {key: task, **_link(table, task, (), task.blocked_by, entry.n), **_reopen(table, task, entry.n)}
    old = table.get(key)
    if old is None or not old.is_open:
        return {}
    task = changed(old, n=entry.n, **_change(old, event, entry))
    news = {key: task}
    if isinstance(event, events.ProjectTaskUpdated):
        news |= _link(table, task, old.blocked_by, task.blocked_by, entry.n)
    elif isinstance(event, events.ProjectTaskDeleted):
        news |= _link(table, task, old.blocked_by, (), entry.n)
    elif isinstance(event, events.ProjectTaskEnded):
        news |= _release(table, task, entry.n)
    return news


def opened(event: events.ProjectTaskCreated, n: int, at: str, by: str) -> ProjectTask:
    """Return the task that an event creates, or opens again."""
    same = ("task_id", "project", "path", "title", "description", "assignee", "blocked_by", "waits_for", "failed",
            "blocks", "parent", "thread", "attempt", "run_id", "session_id", "output", "reason",
            "failures", "tainted_by")  # fmt: skip
    task = ProjectTask(
        **{name: getattr(event, name) for name in same},
        status="pending",
        created_at=event.created_at or at,
        created_by=event.created_by or by,
        made=event.made or n,
        n=n,
        untold=bool(event.failed) and event.assignee is not None,
    )
    return changed(task, **_waiting(task))


def _waiting(task: ProjectTask) -> dict[str, Any]:
    """Return the status of a task that nothing but the tasks before it holds up."""
    if task.failed:
        return {"status": "blocked", "block_kind": "dependency_failed"}
    if task.waits_for:
        return {"status": "blocked", "block_kind": "dependency"}
    return {"status": "pending", "block_kind": None}


def _change(old: ProjectTask, event: Any, entry: Entry) -> dict[str, Any]:
    at, by = entry.at, entry.actor
    match event:
        case events.ProjectTaskUpdated(changes=given):
            return _updated(old, given)
        case events.ProjectTaskClaimed():
            return _claimed(old, event, entry)
        case events.ProjectTaskExtended(expires_at=expires_at):
            return {"claim": changed(old.claim, expires_at=expires_at)}
        case events.ProjectTaskReleased():
            return _released(old, event)
        case events.ProjectTaskBlocked(block_kind=kind, reason=reason, retry_at=retry_at):
            return {"status": "blocked", "block_kind": kind, "reason": reason, "retry_at": retry_at}
        case events.ProjectTaskUnblocked(fresh=fresh, reason=reason):
            return {**_unblocked(old, is_fresh=fresh), "reason": reason}
        case events.ProjectTaskReviewed(output=output, reason=reason, person=person):
            given = {"output": output if output is not None else old.output, "reason": reason}
            return {**_over(), "status": "in_review", "result_by": by, "result_person": person, **given}
        case events.ProjectTaskRejected(reason=reason):
            given = {"result_by": None, "result_person": None}
            return {**_unblocked(old, is_fresh=True), **given, "reason": reason}
        case events.ProjectTaskEnded(status=status, output=output, reason=reason, accepted=accepted):
            kept: dict[str, Any] = {"output": output if output is not None else old.output, "reason": reason}
            kept |= {"accepted_by": by} if accepted else {}
            if status == "failed" and old.claim is not None and old.claim.run_id is not None:
                kept["failures"] = old.failures + 1
            return {**_over(), "status": status, "ended_at": at, "waits_for": (), "failed": (), **kept}
        case events.ProjectTaskDeleted():
            return {"status": "deleted", "ended_at": at, "waits_for": (), "failed": ()}
        case _:  # the owner was told
            return {"untold": False}


def _over() -> dict[str, Any]:
    """Return what the end of work on a task, or of a block, resets."""
    return {"claim": None, "block_kind": None, "reason": None, "retry_at": None, "restarts": False,
            "question_id": None, "untold": False}  # fmt: skip


def _updated(old: ProjectTask, given: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    task = changed(old, **fields)
    is_held_up = old.status == "pending" or (old.status == "blocked" and old.block_kind in OF_OTHERS)
    if "blocked_by" in fields and is_held_up:
        fields |= _waiting(task)
    is_news = bool(fields.keys() & {"failed", "assignee"}) and bool(task.failed) and task.assignee is not None
    return {**fields, "untold": is_news or old.untold}


def _claimed(old: ProjectTask, event: events.ProjectTaskClaimed, entry: Entry) -> dict[str, Any]:
    attempt = old.attempt + (old.claim is not None)  # that of a claim that has lapsed is over
    claim = TaskClaim(
        claim_id=event.claim_id, by=event.by, run_id=event.run_id, attempt=attempt, expires_at=event.expires_at,
        claimed_at=entry.at, session_id=event.session_id, started=event.started, member=event.member,
        made_by=entry.actor,
    )  # fmt: skip
    newest = {"run_id": event.run_id, "session_id": event.session_id} if event.run_id is not None else {}
    thread = {"thread": event.thread} if event.thread is not None else {}
    kept = {"reason": old.reason, "result_by": None, "result_person": None}  # the reason of the attempt before
    return {**_over(), **kept, **newest, **thread, "status": "in_progress", "claim": claim, "attempt": attempt}


def _released(old: ProjectTask, event: events.ProjectTaskReleased) -> dict[str, Any]:
    assert old.claim is not None
    same = ("reason", "retry_at", "restarts", "question_id", "failures", "delays")
    held = {name: getattr(event, name) for name in same}
    status = {"status": "blocked", "block_kind": event.block_kind} if event.block_kind is not None else _waiting(old)
    bar = {"barred_session": old.claim.session_id, "barred_until": event.barred_until} if event.barred_until else {}
    bar |= {"tainted_by": event.tainted_by} if event.tainted_by is not None else {}
    return {**held, **status, **bar, "claim": None, "attempt": old.attempt + 1}


def _unblocked(old: ProjectTask, *, is_fresh: bool) -> dict[str, Any]:
    status = {"status": "in_progress", "block_kind": None} if old.claim is not None else _waiting(old)
    counts = {"failures": 0, "delays": 0} if is_fresh else {}
    attempt = old.attempt + (old.status == "in_review")  # what a person rejected was an attempt
    return {**_over(), **status, **counts, "claim": old.claim, "untold": old.untold, "attempt": attempt}


# --- the tasks before and after ---------------------------------------------------------------------------------------


def _link(
    table: Table, task: ProjectTask, before: tuple[str, ...], after: tuple[str, ...], n: int
) -> dict[str, ProjectTask]:
    """Return the open tasks whose `blocks` a changed `blocked_by` changes."""
    news = {}
    for name in {*before} ^ {*after}:
        other = table.get(key_of(task.project, name))
        if other is not None and other.is_open:
            rest = tuple(one for one in other.blocks if one != task.task_id)
            blocks = (*rest, task.task_id) if name in after else rest
            news[other.key] = changed(other, n=n, blocks=blocks)
    return news


def _reopen(table: Table, task: ProjectTask, n: int) -> dict[str, ProjectTask]:
    """Return the open tasks that wait again for a task that is open again."""
    news = {}
    for other in _dependents(table, task):
        failed = tuple(one for one in other.failed if one != task.task_id)
        waits_for = (*(one for one in other.waits_for if one != task.task_id), task.task_id)
        news[other.key] = _moved(changed(other, n=n, failed=failed, waits_for=waits_for))
    return news


def _release(table: Table, ended: ProjectTask, n: int) -> dict[str, ProjectTask]:
    """Return the open tasks that waited for a task that has ended."""
    news = {}
    for other in _dependents(table, ended):
        waits_for = tuple(one for one in other.waits_for if one != ended.task_id)
        if ended.status == "completed":
            news[other.key] = _moved(changed(other, n=n, waits_for=waits_for))
            continue
        failed = (*(one for one in other.failed if one != ended.task_id), ended.task_id)
        untold = other.assignee is not None
        news[other.key] = _moved(changed(other, n=n, waits_for=waits_for, failed=failed, untold=untold))
    return news


def _dependents(table: Table, task: ProjectTask) -> Iterable[ProjectTask]:
    others = (table.get(key_of(task.project, name)) for name in task.blocks)
    return (one for one in others if one is not None and one.is_open and task.task_id in one.blocked_by)


def _moved(task: ProjectTask) -> ProjectTask:
    """Return a task with the status that follows from the tasks before it, if nothing else holds it up."""
    is_held_up = task.status == "pending" or (task.status == "blocked" and task.block_kind in OF_OTHERS)
    return changed(task, **_waiting(task)) if is_held_up else task
