"""Session tasks: the tracked work in a session. Currently each is a background command (`shell_task_start`).

A command belongs to its session, not to the run that started it: it continues when that run ends, is cancelled or
waits, and across restarts of the daemon. It ends by itself, by its timeout, by `task_stop`, or with its session.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from kheish.domain import events
from kheish.domain.events import Entry, ShellEnding, ShellTask, Text, changed, frozen
from kheish.domain.events.tasks import TaskStatus
from kheish.domain.shown import View
from kheish.state.noun import Noun

if TYPE_CHECKING:
    from kheish.state.state import State

#: the final statuses of a task
FINAL = frozenset({"completed", "failed", "cancelled"})


@frozen
class Task:
    """A task as recorded in the journal."""

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

    @property
    def is_final(self) -> bool:
        return self.status in FINAL


FOLDED = (events.TaskCreated, events.TaskStopRequested, events.TaskEnded)


def fold(table: dict[str, Task], entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    assert entry.session is not None
    match entry.event:
        case events.TaskCreated(task_id=id) as event:
            table[id] = Task(
                task_id=id,
                session_id=entry.session,
                run_id=entry.run,
                title=event.title,
                description=event.description,
                status=event.status,
                owner=event.owner,
                blocked_by=event.blocked_by,
                created_at=entry.at,
                made=entry.n,
                n=entry.n,
                shell=event.shell,  # nosec B604  # a field of a task, not subprocess's `shell`
            )
            return (id,)
        case events.TaskStopRequested(task_id=id) if id in table:
            table[id] = changed(table[id], stop_requested=True, n=entry.n)
            return (id,)
        case events.TaskEnded(task_id=id, status=status, output=output, ending=ending) if id in table:
            over = {"status": status, "output": output, "ending": ending, "ended_at": entry.at, "n": entry.n}
            table[id] = changed(table[id], **over)
            return (id,)
        case _:
            return ()


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
    blocked_by: tuple[str, ...]
    output: Text | None
    """The output of a background command, once it has ended."""
    created_at: str
    ended_at: str | None
    n: int
    shell: TaskShellView | None
    """The background command; null for other tasks."""


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
    )


NOUN = Noun(
    name="task",
    cls=Task,
    folded=frozenset(FOLDED),
    fold=lambda tables, entry: fold(tables[Task], entry),
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


def stop(state: State, task_id: str, *, by: str, reason: str | None = None) -> Task:
    """Request the end of a background command; an ended one stays as it is. Raises NotFound."""
    task = state.get(Task, task_id)
    if not task.is_final and not task.stop_requested:
        request = events.TaskStopRequested(task_id=task_id, reason=reason)
        state.append(request.on(task.session_id, task.run_id, by=by))
    return state.get(Task, task_id)


def end(state: State, task_id: str, output: str, ending: ShellEnding) -> Task:
    """Record the end of a background command; a recorded end stays as it is. Raises NotFound."""
    task = state.get(Task, task_id)
    if not task.is_final:
        status = "cancelled" if ending.stopped else "completed" if ending.exit_status == 0 else "failed"
        ended = events.TaskEnded(task_id=task_id, status=status, output=output, ending=ending)  # type: ignore[arg-type]
        state.append(ended.on(task.session_id, task.run_id))
    return state.get(Task, task_id)
