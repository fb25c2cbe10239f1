"""A project's own state: whether it is active, and how many tasks it has, by status and by member.

It is a fold of `journals/projects/<id>`. The file says who takes part; this says what has happened.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, fields
from typing import TYPE_CHECKING, Any

from kheish.domain import events
from kheish.domain.events import Entry, changed, frozen
from kheish.domain.events.projects import PROJECTS as PROJECTS, ProjectState
from kheish.domain.projects import task as tasks
from kheish.domain.projects.task import ProjectTask
from kheish.domain.shown import View
from kheish.state.noun import Noun, Tables, always

if TYPE_CHECKING:
    from kheish.state.state import State


@frozen
class Project:
    """A project as recorded in the journal. `counts` are tasks by status, `owners` open tasks by member, `claimed` the
    claims on tasks."""

    project_id: str
    digest: str
    state: ProjectState
    file_state: ProjectState  # as the file last said
    made: int
    n: int
    reason: str | None = None
    is_removed: bool = False
    counts: dict[str, int] = field(default_factory=dict)
    owners: dict[str, int] = field(default_factory=dict)
    claimed: int = 0
    set_by: str = "daemon"

    @property
    def total(self) -> int:
        """The number of its tasks, also of those that have ended."""
        return sum(self.counts.values())


_OWN = (events.ProjectSet, events.ProjectStateChanged, events.ProjectRemoved)


def fold(tables: Tables, entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed. It runs before the fold of tasks."""
    event: Any = entry.event
    table: dict[str, Project] = tables[Project]
    id, old = event.project, table.get(event.project)
    if isinstance(event, events.ProjectSet):
        table[id] = _fold_set(old, event, entry)
        return (id,)
    if old is None:
        return ()
    match event:
        case events.ProjectStateChanged(state=state, reason=reason):
            table[id] = changed(old, n=entry.n, state=state, reason=reason)
        case events.ProjectRemoved():
            table[id] = changed(old, n=entry.n, is_removed=True)
        case _:
            table[id] = changed(old, n=entry.n, **_recount(old, tables[ProjectTask], entry))
    return (id,)


def _fold_set(old: Project | None, event: events.ProjectSet, entry: Entry) -> Project:
    new: dict[str, Any] = {"digest": event.digest, "file_state": event.file_state, "is_removed": False,
                           "n": entry.n, "set_by": entry.actor}  # fmt: skip
    if event.state is not None:
        new |= {"state": event.state, "reason": None}
    if old is None:
        return Project(project_id=event.project, made=entry.n, **{"state": event.file_state, **new})
    return changed(old, **new)


def _recount(old: Project, table: Mapping[str, ProjectTask], entry: Entry) -> dict[str, Any]:
    """Return the counts after an entry of a task."""
    counts, owners, claimed = Counter(old.counts), Counter(old.owners), old.claimed
    event = entry.event
    if isinstance(event, events.ProjectTaskCreated) and event.was is not None:
        counts[event.was] -= 1
    for key, task in tasks.changes(table, entry).items():
        for one, sign in ((table.get(key), -1), (task, 1)):
            if one is None or (one.status == "deleted"):
                continue
            if one.is_open or one is task:
                counts[one.status] += sign
            owners.update(dict.fromkeys(owners_of(one), sign))
            claimed += sign * (one.claim is not None)
    return {
        "counts": {name: count for name, count in counts.items() if count},
        "owners": {name: count for name, count in owners.items() if count},
        "claimed": claimed,
    }


def owners_of(task: ProjectTask) -> set[str]:
    """Return the members that own a task, if it is open: its assignee, and a holder that is a member."""
    holder = task.claim.by if task.claim is not None and task.claim.member else None
    return {one for one in (task.assignee, holder) if one is not None} if task.is_open else set()


@frozen
class ProjectView(View):
    """A project's own state."""

    project_id: str
    state: ProjectState
    digest: str
    file_state: ProjectState
    reason: str | None
    is_removed: bool
    counts: dict[str, int]
    owners: dict[str, int]
    claimed: int
    set_by: str
    made: int
    n: int


def view(project: Project) -> ProjectView:
    """Return the project as the index has it."""
    return ProjectView(**{one.name: getattr(project, one.name) for one in fields(ProjectView)})


def read(doc: Mapping[str, Any]) -> Project:
    """Return the project in a document of the index."""
    return Project(**doc)


NOUN = Noun(
    name="project",
    cls=Project,
    folded=frozenset({*_OWN, *tasks.FOLDED}),
    fold=fold,
    keep=always,
    view=view,
    status=lambda project: "removed" if project.is_removed else project.state,
    read=read,
)


async def newest(state: State, project_ids: Sequence[str]) -> list[dict[str, Any] | None]:
    """Return the newest document of each project; None for one that is not applied yet."""
    recent = [state.find(Project, id) for id in project_ids]
    changes = [state.unjournaled.get((Project, id)) for id in project_ids]

    def load() -> list[dict[str, Any] | None]:
        docs = []
        for id, value, change in zip(project_ids, recent, changes, strict=True):
            now = value or (change.value if change is not None else None)
            docs.append(state.document(NOUN, now) if now else state.index.thing(NOUN.name, id))
        return docs

    return await asyncio.to_thread(load)
