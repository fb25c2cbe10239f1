"""Changes of projects and tasks by callers: set, pause, archive; create, change, delete.

A verb needs the project loaded (`pins.owner`), and the tasks that it names recalled (`recall`), since those that have
ended are not in memory. Changes by the holder of a task are in `claims`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kheish import ids
from kheish.domain import events, keys
from kheish.domain.events import Draft, changed, frozen
from kheish.domain.events.projects import ProjectState
from kheish.domain.keys import Key
from kheish.domain.projects import holders
from kheish.domain.projects.definition import ProjectFile
from kheish.domain.projects.project import PROJECTS, Project
from kheish.domain.projects.task import FINAL, ProjectTask, key_of
from kheish.errors import (
    Fault,
    Invalid,
    NotFound,
    TaskBlocked,
    TaskClaimed,
    TaskCycle,
    TaskExists,
    TaskStateConflict,
    TooMany,
)
from kheish.texts import is_blank, is_line

if TYPE_CHECKING:
    from kheish.state.state import State

#: open tasks of a project; all of them are in memory
OPEN = 20_000
TITLE_CHARACTERS = 200
TEXT_BYTES = 8 * 1024
OUTPUT_BYTES = 12 * 1024
BLOCKERS = 100
_FOLDER = "projects-tasks"


@frozen
class Place:
    """A project under change: its id, its file, the caller, what had tainted an agent that calls, the person of a
    token, and the session of an agent."""

    project: str
    file: ProjectFile
    by: str
    tainted_by: str | None = None
    person: str | None = None
    session_id: str | None = None


async def recall(state: State, project: str, task_ids: Iterable[str]) -> None:
    """Recall tasks that may have left memory, so that verbs find them."""
    for task_id in list(task_ids)[: BLOCKERS + 2]:
        await state.recall(ProjectTask, key_of(project, task_id))


# --- projects ---------------------------------------------------------------------------------------------------------


def find(state: State, project: str) -> Project | None:
    """Return a loaded project; None if it was never set."""
    return state.table(Project, f"{PROJECTS}/{project}").get(project)


def get(state: State, project: str) -> Project:
    """Return a loaded project. Raises NotFound."""
    found = find(state, project)
    if found is None or found.is_removed:
        raise NotFound(f"There is no project {project!r}.")
    return found


def set_file(state: State, project: str, file: ProjectFile, digest: str, *, by: str) -> Project:
    """Apply the file of a project; one that is applied already changes nothing."""
    old = find(state, project)
    if old is not None and old.digest == digest and not old.is_removed:
        return old
    is_same = old is not None and not old.is_removed and old.file_state == file.state
    event = events.ProjectSet(
        project=project, digest=digest, state=None if is_same else file.state, file_state=file.state
    )
    state.append(event.on(by=by))
    return get(state, project)


def remove(state: State, project: str, *, by: str) -> None:
    """Record that the file of a project is gone."""
    found = find(state, project)
    if found is not None and not found.is_removed:
        state.append(events.ProjectRemoved(project=project).on(by=by))


def set_state(state: State, project: str, wanted: ProjectState, *, by: str, reason: str | None = None) -> Project:
    """Pause, resume, complete or archive a project; runs that work on its tasks continue. Raises NotFound."""
    if get(state, project).state != wanted:
        state.append(events.ProjectStateChanged(project=project, state=wanted, reason=reason).on(by=by))
    return get(state, project)


def check_active(state: State, project: str) -> None:
    """Raise TaskStateConflict unless tasks of a project may be started and claimed."""
    found = get(state, project)
    if found.state != "active":
        raise TaskStateConflict(
            f"The project {project!r} is {found.state}; resume it: kheish projects resume {project}.",
            project_state=found.state,
        )


# --- tasks ------------------------------------------------------------------------------------------------------------


def document(state: State, project: str, task_id: str) -> Mapping[str, Any]:
    """Return the newest document of a recalled task. Raises NotFound."""
    doc = state.recalled(ProjectTask, key_of(project, task_id))
    if doc is None or doc["status"] == "deleted":
        raise NotFound(f"There is no task {task_id!r} in the project {project!r}.")
    return doc


def open_task(state: State, project: str, task_id: str) -> ProjectTask:
    """Return a task that has not ended. Raises NotFound, TaskStateConflict."""
    task = state.find(ProjectTask, key_of(project, task_id))
    if task is not None and task.is_open:
        return task
    doc = document(state, project, task_id)
    raise TaskStateConflict(
        f"The task {task_id!r} is {doc['status']}; open it again: kheish projects tasks update {project} {task_id} "
        "--status pending.",
        status_now=doc["status"],
    )


def append(state: State, *drafts: Draft) -> None:
    """Append events of tasks, and note who holds which."""
    registry = holders.of(state)
    for entry in state.append(*drafts) if drafts else ():
        registry.note(entry.event)


def create(
    state: State, place: Place, task_id: str | None, given: Mapping[str, Any], key: Key | None = None
) -> ProjectTask:
    """Create a task. Raises NotFound, Invalid, TaskExists, TaskCycle, TaskStateConflict, TooMany."""
    event = changed(created(state, place, task_id, given), idempotency=keys.sent(key))
    append(state, event.on(by=place.by))
    return open_task(state, place.project, event.task_id)


def created(state: State, place: Place, task_id: str | None, given: Mapping[str, Any]) -> events.ProjectTaskCreated:
    """Return the event that creates a task, for a larger group. Raises as `create`."""
    project = place.project
    if get(state, project).state == "archived":
        raise TaskStateConflict(f"The project {project!r} is archived; it takes no more tasks.")
    task_id = ids.check_slug(task_id, "task_id") if task_id is not None else ids.new("task")
    doc = state.recalled(ProjectTask, key_of(project, task_id))
    if doc is not None:
        known = (
            f"The task {task_id!r} of the project {project!r} was deleted, and ids are never reused"
            if doc["status"] == "deleted"
            else f"The project {project!r} has a task {task_id!r} ({doc['status']})"
        )
        raise TaskExists(f"{known}; choose another id.", task_id=task_id)
    if sum(count for status, count in get(state, project).counts.items() if status not in FINAL) >= OPEN:
        raise TooMany(f"The project {project!r} has {OPEN} open tasks; complete or cancel some.")
    _check(place, given)
    if task_id in given.get("blocked_by", ()):
        raise TaskCycle(f"The task {task_id!r} would wait for itself.", tasks=[task_id])
    waits_for, failed = before(state, project, given.get("blocked_by", ()))
    _check_parent(state, project, task_id, given.get("parent"))
    return events.ProjectTaskCreated(
        project=project,
        task_id=task_id,
        path=f"{state.folder(_FOLDER, project)}/{task_id}.yaml",
        title=given["title"],
        description=given.get("description") or "",
        assignee=given.get("assignee"),
        blocked_by=tuple(given.get("blocked_by", ())),
        waits_for=waits_for,
        failed=failed,
        parent=given.get("parent"),
        tainted_by=place.tainted_by,
    )


def update(state: State, place: Place, task_id: str, given: Mapping[str, Any]) -> list[Draft]:
    """Return the change of an open task's own fields. Raises NotFound, Invalid, TaskCycle, TaskStateConflict."""
    task = open_task(state, place.project, task_id)
    _check(place, given)
    changes = {name: value for name, value in given.items() if getattr(task, name) != value}
    if "blocked_by" in changes:
        if task.claim is not None:
            raise TaskStateConflict(f"{task.claim.by} works on the task {task_id!r}; what comes first stays as it is.")
        _check_cycle(state, task, changes["blocked_by"])
        changes["waits_for"], changes["failed"] = before(state, place.project, changes["blocked_by"])
    if "parent" in changes:
        _check_parent(state, place.project, task_id, changes["parent"])
    updated = events.ProjectTaskUpdated(project=place.project, task_id=task_id, changes=changes)
    return [updated.on(by=place.by)] if changes else []


def delete(state: State, place: Place, task_id: str) -> None:
    """Delete a task that no other waits for, and that has no holder. Raises NotFound, TaskStateConflict,
    TaskClaimed."""
    doc = document(state, place.project, task_id)
    waiting = [name for name in doc["blocks"] if _waits(state, place.project, name)]
    if waiting:
        raise TaskStateConflict(
            f"The task {task_id!r} cannot be deleted: {_verb(waiting, 'wait')} for it. Change their blocked_by, or "
            "cancel the task instead.",
            tasks=waiting,
        )
    if doc["claim"] is not None and doc["status"] not in FINAL:
        raise TaskClaimed(f"{doc['claim']['by']} works on the task {task_id!r}.", claimed_by=doc["claim"]["by"])
    again = [reopened(state, doc).on(by=place.by)] if doc["status"] in FINAL else []
    append(state, *again, events.ProjectTaskDeleted(project=place.project, task_id=task_id).on(by=place.by))


def _waits(state: State, project: str, task_id: str) -> bool:
    task = state.find(ProjectTask, key_of(project, task_id))
    return task is not None and task.is_open


def reopened(
    state: State, doc: Mapping[str, Any], reason: str | None = None, *, failures: int = 0
) -> events.ProjectTaskCreated:
    """Return the event that opens an ended task again, with all that it was; the tasks before it were recalled.
    `failures` are the attempts that still count."""
    same = ("project", "task_id", "path", "title", "description", "assignee", "parent", "thread", "run_id",
            "session_id", "output", "created_at", "created_by", "made", "tainted_by")  # fmt: skip
    known = [name for name in doc["blocked_by"] if _exists(state, doc["project"], name)]
    waits_for, failed = before(state, doc["project"], known)
    return events.ProjectTaskCreated(
        **{name: doc[name] for name in same},
        blocked_by=tuple(known),
        waits_for=waits_for,
        failed=failed,
        blocks=tuple(doc["blocks"]),
        attempt=doc["attempt"] + 1,
        was=doc["status"],
        reason=reason,
        failures=failures,
    )


def _exists(state: State, project: str, task_id: str) -> bool:
    doc = state.recalled(ProjectTask, key_of(project, task_id))
    return doc is not None and doc["status"] != "deleted"


def claimed(task: ProjectTask) -> TaskClaimed:
    """Return the error that another holder has a task."""
    assert task.claim is not None
    return TaskClaimed(
        f"{task.claim.by} has claimed the task {task.task_id!r} (attempt {task.claim.attempt}).",
        claimed_by=task.claim.by,
        run_id=task.claim.run_id,
        expires_at=task.claim.expires_at,
    )


def _verb(names: Sequence[str], verb: str) -> str:
    """Return the first of these tasks with a verb in their number."""
    return f"{', '.join(names[:5])} {verb if len(names) > 1 else f'{verb}s'}"


def blocked(task: ProjectTask) -> TaskBlocked:
    """Return the error that something holds a task up, with what it is."""
    tasks = [*task.failed, *task.waits_for]
    if task.failed:
        why = f"{', '.join(task.failed[:5])} failed or was cancelled, and comes first"
    elif task.waits_for:
        why = f"{_verb(task.waits_for, 'come')} first"
    else:
        why = f"it is blocked ({task.block_kind}{f': {task.reason}' if task.reason else ''})"
    return TaskBlocked(f"The task {task.task_id!r} cannot begin: {why}.", tasks=tasks, block_kind=task.block_kind)


# --- checks -----------------------------------------------------------------------------------------------------------


def before(state: State, project: str, names: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the recalled tasks that are not completed, and those that failed or were cancelled. Raises Invalid for
    unknown ones."""
    docs = {name: state.recalled(ProjectTask, key_of(project, name)) for name in names}
    unknown = [
        Fault(f"/blocked_by/{at}", f"there is no task {name!r} in the project")
        for at, name in enumerate(docs)
        if not _exists(state, project, name)
    ]
    if unknown:
        raise Invalid("; ".join(f"{one.path}: {one.message}" for one in unknown) + ".", errors=unknown)
    statuses = {name: doc["status"] for name, doc in docs.items() if doc is not None}
    failed = tuple(name for name, status in statuses.items() if status in ("failed", "cancelled"))
    return tuple(name for name, status in statuses.items() if status not in FINAL), failed


def _check(place: Place, given: Mapping[str, Any]) -> None:
    faults = []
    title, names = given.get("title", "-"), given.get("blocked_by", ())
    if not (isinstance(title, str) and not is_blank(title) and is_line(title) and len(title) <= TITLE_CHARACTERS):
        faults.append(Fault("/title", f"must be one line of 1 to {TITLE_CHARACTERS} characters"))
    if len((given.get("description") or "").encode()) > TEXT_BYTES:
        faults.append(Fault("/description", f"has more than {TEXT_BYTES // 1024} KiB; write a file, and name it here"))
    if len(names) > BLOCKERS or len({*names}) < len(names):
        faults.append(Fault("/blocked_by", f"must be at most {BLOCKERS} different tasks"))
    if given.get("assignee") is not None and place.file.member(given["assignee"]) is None:
        known = ", ".join(one.member for one in place.file.members[:20]) or "none"
        faults.append(Fault("/assignee", f"{given['assignee']!r} is no member of the project; members: {known}"))
    if faults:
        raise Invalid("; ".join(f"{one.path}: {one.message}" for one in faults) + ".", errors=faults)


def _check_cycle(state: State, task: ProjectTask, names: Iterable[str]) -> None:
    """Raise TaskCycle if a task in `blocked_by` waits, over any others, for the task itself."""
    paths: list[tuple[str, ...]] = [(name,) for name in names]
    known: set[str] = set()
    while paths:
        path = paths.pop()
        if path[-1] == task.task_id:
            way = " waits for ".join((task.task_id, *path))
            raise TaskCycle(f"The tasks would wait for each other: {way}.", tasks=list(path))
        other = state.find(ProjectTask, key_of(task.project, path[-1]))
        if path[-1] not in known and other is not None:
            known.add(path[-1])
            paths += [(*path, name) for name in other.blocked_by]


def _check_parent(state: State, project: str, task_id: str, parent: str | None) -> None:
    """Raise Invalid for an unknown parent, TaskCycle for a task that would be above itself."""
    seen, name = {task_id}, parent
    while name is not None:
        if name in seen:
            raise TaskCycle(f"The task {name!r} would be above itself.", tasks=sorted(seen))
        seen.add(name)
        doc = state.recalled(ProjectTask, key_of(project, name))
        if name == parent and not _exists(state, project, name):
            fault = Fault("/parent", f"there is no task {name!r} in the project")
            raise Invalid(f"{fault.path}: {fault.message}.", errors=[fault])
        name = doc["parent"] if doc is not None else None
