"""Session tasks: the tracked work in a session. A task is what an agent or a user plans, or a background command.

A background command belongs to its session, not to the run that started it: it continues when that run ends, is
cancelled or waits, and across restarts of the daemon. It ends by itself, by its timeout, by `task_stop`, or with its
session.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from typing import TYPE_CHECKING, Any

from kheish.domain import events
from kheish.domain.events import Entry, ShellEnding, ShellTask, Text, changed, frozen
from kheish.domain.events.tasks import BlockKind, Notify, TaskStatus
from kheish.domain.runs.run import Run, is_unattended
from kheish.domain.shown import View
from kheish.state.noun import Noun, Tables

if TYPE_CHECKING:
    from kheish.state.state import State

#: the final statuses of a task
FINAL = frozenset({"completed", "failed", "cancelled"})
_OF_OTHERS = frozenset({"dependency", "dependency_failed"})


@frozen
class Task:
    """A task as recorded in the journal. `waits_for` are the tasks in `blocked_by` that are not completed; `blocks` are
    the tasks that have this one in `blocked_by`."""

    task_id: str
    session_id: str
    run_id: str | None  # the run that created it
    title: str
    description: Text
    status: TaskStatus
    owner: str | None
    blocked_by: tuple[str, ...]
    created_at: str
    made: int
    n: int
    output: Text | None = None
    ended_at: str | None = None
    shell: ShellTask | None = None
    ending: ShellEnding | None = None
    stop_requested: bool = False
    waits_for: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    block_kind: BlockKind | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    notify: Notify = False
    waits_for_input: bool = False
    unattended: bool = False  # no person attends the run that created it

    @property
    def is_final(self) -> bool:
        return self.status in FINAL


FOLDED = (events.TaskCreated, events.TaskUpdated, events.TaskWaited, events.TaskStopRequested, events.TaskEnded)


def fold(tables: Tables, entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    table: dict[str, Task] = tables[Task]
    assert entry.session is not None
    match entry.event:
        case events.TaskCreated(task_id=id) as event:
            table[id] = _created(entry, event, is_unattended(tables[Run], entry))
            return (id, *_link(table, id, (), event.blocked_by, entry.n))
        case events.TaskUpdated(task_id=id) as event if id in table:
            before = table[id]
            table[id] = changed(before, n=entry.n, **_updated(event))
            return (id, *_link(table, id, before.blocked_by, table[id].blocked_by, entry.n))
        case events.TaskWaited(task_id=id, waits=waits) if id in table:
            table[id] = changed(table[id], waits_for_input=waits, n=entry.n)
            return (id,)
        case events.TaskStopRequested(task_id=id) if id in table:
            table[id] = changed(table[id], stop_requested=True, n=entry.n)
            return (id,)
        case events.TaskEnded(task_id=id, status=status, output=output, ending=ending) if id in table:
            kept = table[id].output if output is None else output
            over = {"status": status, "output": kept, "ending": ending, "ended_at": entry.at, "n": entry.n}
            table[id] = changed(table[id], waits_for_input=False, block_kind=None, **over)
            return (id, *_release(table, table[id], entry.n))
        case _:
            return ()


def _created(entry: Entry, event: events.TaskCreated, unattended: bool) -> Task:
    return Task(
        task_id=event.task_id,
        session_id=entry.session or "",
        run_id=entry.run,
        title=event.title,
        description=event.description,
        status=event.status,
        owner=event.owner,
        blocked_by=event.blocked_by,
        created_at=entry.at,
        made=entry.n,
        n=entry.n,
        output=event.output,
        shell=event.shell,  # nosec B604  # a field of a task, not subprocess's `shell`
        waits_for=event.waits_for,
        block_kind=event.block_kind,
        metadata=event.metadata,
        notify=event.notify,
        unattended=unattended,
    )


def _updated(event: events.TaskUpdated) -> dict[str, Any]:
    names = ("title", "description", "status", "owner", "blocked_by", "waits_for", "metadata", "output")
    fields = {name: value for name in names if (value := getattr(event, name)) is not None}
    if event.status is not None:
        fields["block_kind"] = event.block_kind
    if event.has_no_owner:
        fields["owner"] = None
    return fields


def _link(table: dict[str, Task], id: str, before: tuple[str, ...], after: tuple[str, ...], n: int) -> Iterable[str]:
    """Bring `blocks` of other tasks to a changed `blocked_by`; return the ids of those in memory."""
    changes = [other for other in {*before} ^ {*after} if other in table]
    for other in changes:
        rest = tuple(one for one in table[other].blocks if one != id)
        table[other] = changed(table[other], n=n, blocks=(*rest, id) if other in after else rest)
    return changes


def _release(table: dict[str, Task], ended: Task, n: int) -> Iterable[str]:
    """Bring the tasks that wait for an ended one to its end; return their ids."""
    waiting = [id for id in ended.blocks if id in table and ended.task_id in table[id].waits_for]
    for id in waiting:
        task = table[id]
        if ended.status != "completed":
            table[id] = changed(task, n=n, block_kind="dependency_failed" if _is_held(task) else task.block_kind)
            continue
        rest = tuple(one for one in task.waits_for if one != ended.task_id)
        free = {"status": "pending", "block_kind": None} if _is_held(task) and not rest else {}
        table[id] = changed(task, n=n, waits_for=rest, **free)
    return waiting


def _is_held(task: Task) -> bool:
    """Return whether a task is blocked by others."""
    return task.status == "blocked" and task.block_kind in _OF_OTHERS


@frozen
class TaskShellView(View):
    """A background command: its job, and its end."""

    job: str
    timeout: float | None
    """Seconds after which it is killed."""
    stop_requested: bool
    exit_status: int | None
    signal: int | None
    timed_out: bool
    stopped: bool
    lost: bool
    """Whether its runner was killed, so that its end is unknown."""
    output_bytes: int
    """The size of its full output in bytes."""
    truncated: bool
    """Whether `output` omits part of it."""
    duration: float | None
    exceeded: str | None = None
    """The limit that caused its kill: `processes` or `memory`."""
    ended: int = 0
    """The number of its processes that had to be killed."""
    left: int = 0
    """The number of its processes that could not be killed."""


@frozen
class TaskView(View):
    """A task of a session."""

    task_id: str
    session_id: str
    run_id: str | None
    """The run that created it."""
    title: str
    description: Text
    """For a background command: the command line."""
    status: TaskStatus
    owner: str | None
    """The agent that it is assigned to."""
    blocked_by: tuple[str, ...]
    output: Text | None
    """The result; of a background command: its output, once it has ended."""
    created_at: str
    ended_at: str | None
    n: int
    shell: TaskShellView | None
    """The background command; null for other tasks."""
    blocks: tuple[str, ...] = ()
    """The tasks that are blocked by this one."""
    block_kind: BlockKind | None = None
    """The reason of the status `blocked`."""
    metadata: dict[str, Any] = field(default_factory=dict)
    notify: Notify = False
    """Whether the end of a background command is posted to the mailbox of its session."""
    waits_for_input: bool = False
    """Whether a background command seems to wait at a prompt."""


def view(task: Task) -> TaskView:
    """Return the task as the API and its Record show it."""
    shell = None
    if task.shell is not None:
        ending = task.ending or ShellEnding()
        shell = TaskShellView(
            job=task.shell.job,
            timeout=task.shell.timeout,
            stop_requested=task.stop_requested,
            exit_status=ending.exit_status,
            signal=ending.signal,
            timed_out=ending.timed_out,
            stopped=ending.stopped,
            lost=ending.lost,
            output_bytes=ending.output_bytes,
            truncated=ending.truncated,
            duration=ending.duration,
            exceeded=ending.exceeded,
            ended=ending.ended,
            left=ending.left,
        )
    return TaskView(
        task_id=task.task_id,
        session_id=task.session_id,
        run_id=task.run_id,
        title=task.title,
        description=task.description,
        status=task.status,
        owner=task.owner,
        blocked_by=task.blocked_by,
        output=task.output,
        created_at=task.created_at,
        ended_at=task.ended_at,
        n=task.n,
        shell=shell,  # nosec B604 - a field of the view; nothing is started
        blocks=task.blocks,
        block_kind=task.block_kind,
        metadata=task.metadata,
        notify=task.notify,
        waits_for_input=task.waits_for_input,
    )


NOUN = Noun(
    name="task",
    cls=Task,
    folded=frozenset(FOLDED),
    fold=fold,
    keep=lambda task: not task.is_final,
    view=view,
    record="tasks/{id}.yaml",
)


def id_of(job: str) -> str:
    """Return the task id of a background command's job: the same call always has the same id, even after recovery."""
    return f"task_{job.removeprefix('job_')}"


def running(state: State, session_id: str) -> list[Task]:
    """Return the background commands of a loaded session that have not ended."""
    return [task for task in state.table(Task, session_id).values() if task.shell is not None and not task.is_final]
