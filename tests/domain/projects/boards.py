"""A project in a folder, with a clock that tests set, and what its callers do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kheish import ids
from kheish.domain.definitions import Definition
from kheish.domain.projects import claims, following, moving, verbs
from kheish.domain.projects.claims import Holder
from kheish.domain.projects.definition import ProjectFile
from kheish.domain.projects.project import PROJECTS, Project
from kheish.domain.projects.task import ProjectTask, TaskClaim, key_of
from kheish.domain.projects.verbs import Place
from kheish.domain.runs import Run
from kheish.state import pins
from tests.support.stateful import Played

NOW = 1_800_000_000.0
MEMBERS = [
    {"member": "ann", "kind": "human"},
    {"member": "one", "kind": "session"},
    {"member": "two", "kind": "agent", "session": "s2"},
]


class Board:
    """The project `p` with three members."""

    def __init__(self, root: Path, **fields: Any) -> None:
        self.now = NOW
        self.p = Played(root, clock=lambda: self.now)
        self.state = self.p.state
        self.by = "token:ann"  # the caller
        self.person: str | None = None
        self.set(**fields)

    def set(self, **fields: Any) -> None:
        """Put the file in force."""
        self.file = ProjectFile.model_validate({"members": MEMBERS, **fields})
        path, digest = "projects/p.yaml", repr(self.file)
        self.state.definitions.replace(
            {path: Definition(kind="projects", id="p", path=path, value=self.file, data={}, raw=b"", digest=digest)}
        )

    @property
    def place(self) -> Place:
        return Place(project="p", file=self.file, by=self.by, person=self.person)

    async def load(self, *task_ids: str) -> None:
        """Load the project, apply its file, and recall tasks."""
        async with pins.owner(self.state, PROJECTS, "p"):
            found = self.state.definitions.get("projects", "p")
            verbs.set_file(self.state, "p", self.file, found.digest, by="ann")
        await verbs.recall(self.state, "p", task_ids)

    async def create(self, task_id: str, title: str = "a title", **given: Any) -> ProjectTask:
        await self.load(task_id, *given.get("blocked_by", ()), *([given["parent"]] if "parent" in given else ()))
        return verbs.create(self.state, self.place, task_id, {"title": title, **given})

    async def update(self, task_id: str, **given: Any) -> ProjectTask:
        await self.load(task_id, *given.get("blocked_by", ()))
        verbs.append(self.state, *verbs.update(self.state, self.place, task_id, given))
        return self.task(task_id)

    async def move(self, task_id: str, status: Any, **more: Any) -> ProjectTask:
        doc = await self.state.recall(ProjectTask, key_of("p", task_id))
        await self.load(task_id, *(doc["blocked_by"] if doc is not None else ()))
        verbs.append(self.state, *moving.move(self.state, self.place, task_id, status, **more))
        return self.task(task_id)

    async def claim(self, task_id: str, by: str = "worker", **more: Any) -> TaskClaim:
        await self.load(task_id)
        return claims.claim(self.state, self.place, task_id, Holder(by=by, **more))

    async def claim_by_run(self, task_id: str, run: Run, member: str = "one") -> TaskClaim:
        return await self.claim(task_id, member, is_member=True, session_id=run.session_id, run_id=run.run_id)

    async def complete(self, task_id: str, claim_id: str, output: str | None = "done", **more: Any) -> None:
        await self.load(task_id)
        claims.complete(self.state, self.place, task_id, claim_id, output, **more)

    def follow(self, task_id: str) -> ProjectTask:
        """Do what the reactor does after an event of the task's run."""
        task = self.task(task_id)
        run = self.state.find(Run, (task.claim.run_id if task.claim is not None else None) or "")
        doc = self.state.document(self.state.nouns.by_class[Run], run) if run is not None else None
        verbs.append(self.state, *following.follow(self.state, self.place, task, doc))
        return self.task(task_id)

    def task(self, task_id: str) -> ProjectTask:
        return self.state.get(ProjectTask, key_of("p", task_id))

    @property
    def project(self) -> Project:
        return verbs.get(self.state, "p")

    @property
    def at(self) -> str:
        return ids.stamp(self.now)
