"""The verbs of session tasks: create, update, stop, end. Those that reach an agent's mailbox return drafts for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any, Literal

import orjson

from kheish.domain import events
from kheish.domain.agents import agent as agents
from kheish.domain.events import Draft, Idempotency, ShellEnding, Spilled, Text, frozen
from kheish.domain.events.mailboxes import Sender
from kheish.domain.events.tasks import BlockKind, TaskStatus
from kheish.domain.mailboxes import letters
from kheish.domain.mailboxes.letters import Letter
from kheish.domain.sessions import session as sessions
from kheish.domain.sessions.session import Session
from kheish.domain.tasks.task import FINAL, Task
from kheish.errors import Fault, Invalid, TaskBlocked, TaskCycle, TaskExists, TaskStateConflict, TooMany
from kheish.texts import is_blank, is_line

if TYPE_CHECKING:
    from kheish.state.state import State

#: active tasks of a session; all of them are in memory
ACTIVE = 1000
TITLE_CHARACTERS = 200
TEXT_BYTES = 256 * 1024
METADATA_BYTES = 16 * 1024
BLOCKERS = 100
#: of a background command's output, what a task_result has
TAIL_CHARACTERS = 6000


@frozen
class Owner:
    """The agent that a task is assigned to, and its session."""

    agent_id: str
    session_id: str


@frozen
class Fields:
    """The values that callers set of a task; None: left as it is. `owner` is set together with `unassigned` False."""

    title: str | None = None
    description: str | None = None
    status: TaskStatus | None = None
    block_kind: BlockKind | None = None
    owner: Owner | None = None
    unassigned: bool = False
    blocked_by: tuple[str, ...] | None = None
    metadata: dict[str, Any] | None = None
    output: str | None = None


@frozen
class Author:
    """The author of a change: an agent in a run of its session, or a user."""

    sender: Sender
    agent_id: str | None = None
    run_id: str | None = None


@frozen
class Change:
    """The drafts of a change, and the task's id. `session_ids`: those that the drafts need loaded."""

    task_id: str
    drafts: tuple[Draft, ...]
    session_ids: tuple[str, ...] = field(default=())


async def recall(state: State, session_id: str, task_ids: tuple[str, ...]) -> None:
    """Recall tasks that may have left memory, so that verbs find them."""
    for task_id in task_ids[:BLOCKERS]:
        await state.recall(Task, task_id)


def create(
    state: State, session_id: str, task_id: str, given: Fields, by: Author, key: Idempotency | None = None
) -> Change:
    """Return the change that creates a task in a loaded session; tasks in `blocked_by` were recalled.

    Raises NotFound, SessionEnded, Invalid, TaskExists, TaskBlocked, TooMany.
    """
    sessions.accepting(state, session_id)
    _check(given)
    if given.title is None:
        raise Invalid("/title: is missing.", errors=[Fault("/title", "is missing")])
    if sum(1 for one in state.table(Task, session_id).values() if not one.is_final) >= ACTIVE:
        raise TooMany(f"The session {session_id!r} has {ACTIVE} active tasks; complete or cancel some.")
    _check_title(state, session_id, given.title)
    blocked_by = given.blocked_by or ()
    waits_for = _waits_for(state, session_id, blocked_by)
    status, kind = _status(given, waits_for, "pending")
    created = events.TaskCreated(
        task_id=task_id,
        title=given.title,
        description=given.description or "",
        status="pending" if status in FINAL else status,
        owner=given.owner.agent_id if given.owner is not None else None,
        blocked_by=blocked_by,
        waits_for=waits_for,
        block_kind=kind,
        metadata=given.metadata or {},
        output=given.output,
        idempotency=key,
    )
    drafts = [created.on(session_id, by.run_id, by=by.sender.actor)]
    if status in FINAL:
        drafts.append(_ended(task_id, status, None).on(session_id, by.run_id, by=by.sender.actor))
    about = {"task_id": task_id, "title": given.title, "description": given.description or ""}
    return _with_assignment(state, session_id, Change(task_id=task_id, drafts=tuple(drafts)), given, about, by)


def update(state: State, task_id: str, given: Fields, by: Author) -> Change:
    """Return the change of a task in memory that has not ended; tasks in `blocked_by` were recalled.

    Raises NotFound, Invalid, TaskExists, TaskCycle, TaskBlocked, TaskStateConflict.
    """
    task = state.get(Task, task_id)
    _check(given)
    if task.is_final:
        raise ended_conflict(task_id, task.status)
    if task.shell is not None and (given.status, given.output, given.blocked_by) != (None, None, None):
        raise TaskStateConflict(
            f"{task_id} is a background command: its status and output come from the command. Stop it instead."
        )
    if given.title is not None and given.title != task.title and task.shell is None:
        _check_title(state, task.session_id, given.title)
    waits_for = None
    if given.blocked_by is not None:
        waits_for = _waits_for(state, task.session_id, given.blocked_by)
        _check_cycle(state, task, given.blocked_by)
    status, kind = _next_status(task, given, task.waits_for if waits_for is None else waits_for)
    updated = events.TaskUpdated(
        task_id=task_id,
        title=given.title,
        description=given.description,
        status=None if status is None or status in FINAL else status,  # type: ignore[arg-type]  # the others remain
        block_kind=kind,
        owner=given.owner.agent_id if given.owner is not None else None,
        has_no_owner=given.unassigned,
        blocked_by=given.blocked_by,
        waits_for=waits_for,
        metadata=given.metadata,
        output=given.output,
    )
    actor = by.sender.actor
    drafts = (
        [updated.on(task.session_id, by.run_id, by=actor)] if updated != events.TaskUpdated(task_id=task_id) else []
    )
    if status in FINAL:
        drafts.append(_ended(task_id, status, None).on(task.session_id, by.run_id, by=actor))
    described = _beginning(task.description) if given.description is None else given.description
    about = {"task_id": task_id, "title": given.title or task.title, "description": described}
    is_new = given.owner is not None and given.owner.agent_id != task.owner
    change = Change(task_id=task_id, drafts=tuple(drafts))
    return _with_assignment(state, task.session_id, change, given, about, by) if is_new else change


def ended_conflict(task_id: str, status: str) -> TaskStateConflict:
    """Return the error that an ended task is to change."""
    return TaskStateConflict(f"The task {task_id} is {status}, and changes no more; create another.", status_now=status)


def stop(state: State, task_id: str, *, by: str, reason: str | None = None) -> Task:
    """Request the end of a background command, or cancel another task; an ended one stays as it is. Raises NotFound."""
    task = state.get(Task, task_id)
    if task.shell is None and not task.is_final:
        state.append(_ended(task_id, "cancelled", None).on(task.session_id, by=by))
    elif not task.is_final and not task.stop_requested:
        request = events.TaskStopRequested(task_id=task_id, reason=reason)
        state.append(request.on(task.session_id, task.run_id, by=by))
    return state.get(Task, task_id)


def end(state: State, task_id: str, output: str, ending: ShellEnding) -> Task:
    """Record the end of a background command, in one group with the message to its session; a recorded end stays as it
    is. Raises NotFound."""
    task = state.get(Task, task_id)
    if not task.is_final:
        status = "cancelled" if ending.stopped else "completed" if ending.exit_status == 0 else "failed"
        ended = events.TaskEnded(task_id=task_id, status=status, output=output, ending=ending)  # type: ignore[arg-type]
        drafts = [ended.on(task.session_id, task.run_id)]
        if notice_for(state, task, ending) == "post":
            drafts.append(result(state, task, status, output, ending))
        state.append(*drafts)
    return state.get(Task, task_id)


def notice_for(state: State, task: Task, ending: ShellEnding) -> Literal["post", "none"]:
    """Return what becomes of the end of a background command: a message to its session, or nothing.

    An agent that stopped its command itself has that from the call: only then is there no request to stop. A child
    agent that has answered gets no further run, unless it asked for it: the output is part of its result.
    """
    agent = agents.find_in(state, task.session_id)
    has_answered = agent is not None and agent.is_child and agent.answer is not None and not agent.runs
    is_own_stop = ending.stopped and not task.stop_requested
    is_over = state.get(Session, task.session_id).ended_at is not None
    if not task.notify or is_own_stop or is_over or (has_answered and task.notify != "run"):
        return "none"
    return "post"


def result(state: State, task: Task, status: str, output: str, ending: ShellEnding) -> Draft:
    """Return the message of a background command's end to its own session."""
    cut = len(output) - TAIL_CHARACTERS
    tail = output if cut <= 0 else f"[… {cut} characters before; task_output reads them …]\n{output[cut:]}"
    payload: dict[str, Any] = {
        "task_id": task.task_id,
        "title": task.title,
        "status": status,
        "exit_status": ending.exit_status,
        "signal": ending.signal,
        "timed_out": ending.timed_out,
        "stopped": ending.stopped,
        "lost": ending.lost,
        "output": tail,
    }
    letter = Letter(
        type="task_result",
        sender=Sender(actor="daemon", name=task.task_id, session_id=task.session_id),
        payload=payload,
        message_id=f"msg_{task.task_id.removeprefix('task_')}",
        unattended=task.unattended,
    )
    return letters.draft(state, task.session_id, letter)


def note_wait(state: State, task_id: str, waits: bool, line: str) -> None:
    """Record that a background command seems to wait at a prompt, or does not any more."""
    task = state.find(Task, task_id)
    if task is not None and not task.is_final and task.waits_for_input != waits:
        state.append(events.TaskWaited(task_id=task_id, waits=waits, line=line).on(task.session_id, task.run_id))


# --- checks -----------------------------------------------------------------------------------------------------------


def _check(given: Fields) -> None:
    faults = [Fault(path, fault) for path, fault in _faults(given)]
    if faults:
        raise Invalid("; ".join(f"{fault.path}: {fault.message}" for fault in faults) + ".", errors=faults)


def _faults(given: Fields) -> Iterator[tuple[str, str]]:
    title = given.title
    if title is not None and (is_blank(title) or len(title) > TITLE_CHARACTERS):
        yield "/title", f"must have 1 to {TITLE_CHARACTERS} characters"
    elif title is not None and not is_line(title):
        odd = next(one for one in title if not one.isprintable())
        yield "/title", f"must be one line of visible characters, without {odd!a}"
    for name in ("description", "output"):
        text = getattr(given, name)
        if text is not None and len(text.encode()) > TEXT_BYTES:
            yield f"/{name}", f"has more than {TEXT_BYTES // 1024} KiB"
    if given.metadata is not None and len(orjson.dumps(given.metadata)) > METADATA_BYTES:
        yield "/metadata", f"has more than {METADATA_BYTES // 1024} KiB"
    blocked_by = given.blocked_by or ()
    if len(blocked_by) > BLOCKERS:
        yield "/blocked_by", f"has more than {BLOCKERS} tasks"
    if len({*blocked_by}) < len(blocked_by):
        yield "/blocked_by", "names a task more than once"
    if given.block_kind is not None and given.status != "blocked":
        yield "/block_kind", "belongs to the status blocked"


def _check_title(state: State, session_id: str, title: str) -> None:
    """Raise TaskExists for the title of an active task; titles of background commands do not count."""
    for task in state.table(Task, session_id).values():
        if task.title == title and task.shell is None and not task.is_final:
            raise TaskExists(f"The active task {task.task_id} has the title {title!r}.", task_id=task.task_id)


def _waits_for(state: State, session_id: str, blocked_by: tuple[str, ...]) -> tuple[str, ...]:
    """Return the tasks that are not completed. Raises Invalid for unknown ones."""
    docs = {id: state.recalled(Task, id) for id in blocked_by}
    faults = [
        Fault(f"/blocked_by/{at}", f"there is no task {id!r} in this session")
        for at, (id, doc) in enumerate(docs.items())
        if doc is None or doc["session_id"] != session_id
    ]
    if faults:
        raise Invalid("; ".join(f"{fault.path}: {fault.message}" for fault in faults) + ".", errors=faults)
    return tuple(id for id, doc in docs.items() if doc is not None and doc["status"] != "completed")


def _check_cycle(state: State, task: Task, blocked_by: tuple[str, ...]) -> None:
    """Raise TaskCycle if a task in `blocked_by` waits, over any others, for the task itself."""
    table = state.table(Task, task.session_id)
    paths: list[tuple[str, ...]] = [(id,) for id in blocked_by]
    known: set[str] = set()
    while paths:
        path = paths.pop()
        if path[-1] == task.task_id:
            way = " waits for ".join((task.task_id, *path))
            raise TaskCycle(f"The tasks would wait for each other: {way}.", tasks=list(path))
        if path[-1] not in known and path[-1] in table:
            known.add(path[-1])
            paths += [(*path, other) for other in table[path[-1]].blocked_by]


def _status(given: Fields, waits_for: tuple[str, ...], default: TaskStatus) -> tuple[TaskStatus, BlockKind | None]:
    """Return the status that a caller asks for, or that follows from the tasks before it. Raises TaskBlocked."""
    status = given.status or ("blocked" if waits_for else default)
    if waits_for and status in ("in_progress", "completed"):
        raise TaskBlocked(f"It waits for {', '.join(waits_for)}; complete them, or remove them.", tasks=list(waits_for))
    if status == "pending" and waits_for:
        status = "blocked"
    if status != "blocked":
        return status, None
    return status, given.block_kind or ("dependency" if waits_for else "needs_input")


def _next_status(task: Task, given: Fields, waits_for: tuple[str, ...]) -> tuple[TaskStatus | None, BlockKind | None]:
    """Return the new status of a task; None if it stays as it is."""
    if given.status is None and given.blocked_by is None:
        return None, None
    is_held = task.status == "blocked" and task.block_kind in ("dependency", "dependency_failed")
    default: TaskStatus = "pending" if is_held else task.status
    status, kind = _status(given, waits_for, default)
    return (None, None) if (status, kind) == (task.status, task.block_kind) else (status, kind)


def _ended(task_id: str, status: str, output: Text | None) -> events.TaskEnded:
    return events.TaskEnded(task_id=task_id, status=status, output=output)  # type: ignore[arg-type]  # a final one


def _with_assignment(
    state: State, session_id: str, change: Change, given: Fields, about: Mapping[str, Any], by: Author
) -> Change:
    """Return the change with the message to the agent that gets the task; none to an agent that takes it itself."""
    if given.owner is None or given.owner.agent_id == by.agent_id or given.status in FINAL:
        return change
    payload = {**about, "session_id": session_id}
    letter = Letter(type="task_assignment", sender=by.sender, payload=payload)
    posted = letters.draft(state, given.owner.session_id, letter)
    return Change(
        task_id=change.task_id, drafts=(*change.drafts, posted), session_ids=(session_id, given.owner.session_id)
    )


def _beginning(text: Text | None) -> str:
    """Return a text, or the beginning of one that has a file of its own."""
    return text.preview if isinstance(text, Spilled) else text or ""
