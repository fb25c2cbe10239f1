"""Progress of projects: files are applied, tasks follow their runs, delays end, owners get notices, answers apply.

It finds its work in the index (tasks in progress and blocked) and in entries, so that it is the same after a restart as
live. Each step looks at the task and the world as they are, so that a second look finds nothing to do. Its cost depends
on the work in progress, not on the number of tasks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any

from kheish import ids
from kheish.authoring.problems import Problems
from kheish.daemon.reactors.base import Reactor, in_stream
from kheish.domain import events
from kheish.domain.events import Entry
from kheish.domain.mailboxes import letters
from kheish.domain.mailboxes.letters import DAEMON, Letter
from kheish.domain.projects import following, holders, text, verbs
from kheish.domain.projects.project import PROJECTS
from kheish.domain.projects.task import ProjectTask, key_of
from kheish.domain.projects.view import NOUN, status_of
from kheish.domain.questions import Question
from kheish.domain.runs import Run
from kheish.errors import Damaged, KheishError, NotFound, StoreFailed, TaskBlocked
from kheish.runtime.projects import work
from kheish.state import pins
from kheish.state.encoding import Recorded
from kheish.state.state import State

log = logging.getLogger(__name__)

Name = tuple[str, str]  # a project and a task
_PAGE = 200
_AGAIN = 10.0  # seconds after a failure that may pass
_LATER = 60.0  # seconds until a start that another task of its agent delays
_OF_RUNS = (
    events.RunWaiting,
    events.RunRequeued,
    events.RunResumed,
    events.RunStarted,
    events.RunCompleted,
    events.RunFailed,
    events.RunCancelled,
    events.RunInterrupted,
)
#: entries that leave the status of a task as it is
_UNMOVED = (events.ProjectTaskUpdated, events.ProjectTaskExtended, events.ProjectTaskOwnerTold)
_RETRY = (OSError, KheishError)


class Projects(Reactor):
    """The tasks whose runs, delays and questions are under way."""

    reacts_to = in_stream(PROJECTS) | {
        events.DefinitionChanged,
        events.QuestionAnswered,
        events.SessionDeleted,
        events.DaemonResumed,
        *_OF_RUNS,
    }

    def __init__(self, state: State, problems: Problems) -> None:
        self._state = state
        self._problems = problems
        self._due: dict[Name, float] = {}  # when to look at a task again
        self._questions: dict[str, Name] = {}
        self._asked: dict[Name, str] = {}
        self._turns: dict[str, asyncio.Lock] = {}  # by project: one step at a time
        self._under_way: set[asyncio.Task[None]] = set()
        self._is_ready = False

    # --- starting -----------------------------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Learn who holds which task, before runs continue: their ends would be missed later."""
        for doc in await self._open("in_progress", "blocked"):
            holders.of(self._state).learn(doc)

    async def start(self) -> None:
        """Apply the files, and look at all tasks that something holds."""
        self._is_ready = True
        await self._state.caught_up(timeout=60)
        known = set(self._state.definitions.by_kind[PROJECTS])
        for doc in await self._pages("project", ("active", "paused", "completed", "archived")):
            if doc["project_id"] not in known:
                self._spawn(doc["project_id"], self._apply(doc["project_id"], "person"))
        for id in known:
            self._spawn(id, self._apply(id, "person"))
        for doc in await self._open("in_progress", "blocked"):
            self._learn(doc)
            if (doc["claim"] or {}).get("run_id") or doc["question_id"] or doc["untold"]:
                self._look((doc["project"], doc["task_id"]))

    async def _open(self, *statuses: str) -> list[dict[str, Any]]:
        """Return the tasks with these statuses, of all projects that ever had a file."""
        found = await self._pages("project", ("active", "paused", "completed", "archived"))
        named = [status_of(doc["project_id"], status) for doc in found for status in statuses]
        docs: list[dict[str, Any]] = []
        for at in range(0, len(named), _PAGE):
            docs += await self._pages(NOUN.name, named[at : at + _PAGE])
        return docs

    async def _pages(self, noun: str, statuses: Sequence[str]) -> list[dict[str, Any]]:
        docs: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            page = await asyncio.to_thread(
                self._state.index.things, noun, limit=_PAGE, cursor=cursor, statuses=statuses
            )
            docs += page.items
            cursor = page.next_cursor
            if cursor is None:
                return docs

    def _learn(self, doc: dict[str, Any]) -> None:
        name = (doc["project"], doc["task_id"])
        if doc["question_id"] is not None:
            self._questions[doc["question_id"]], self._asked[name] = name, doc["question_id"]
        if doc["retry_at"] is not None:
            self._due[name] = ids.seconds_of(doc["retry_at"])

    # --- reacting -----------------------------------------------------------------------------------------------------

    def heard(self, batch: Sequence[Recorded]) -> None:
        """React to edited files, to runs that hold a task, to answers, and to the tasks' own entries."""
        for item in batch:
            self._react(item.entry)

    def _react(self, entry: Entry) -> None:
        event: Any = entry.event
        match event:
            case events.DefinitionChanged(definition="projects", id=id) if self._is_ready:
                self._spawn(id, self._apply(id, entry.actor))
            case events.QuestionAnswered(question_id=id) if id in self._questions:
                self._look(self._questions[id])
            case events.SessionDeleted():
                for name in list(holders.of(self._state).by_run.values()):
                    self._look(name)
            case events.DaemonResumed(route=None) if self._is_ready:
                for name in list(self._due):
                    self._look(name)
            case _ if isinstance(event, _OF_RUNS) and entry.run in holders.of(self._state).by_run:
                self._look(holders.of(self._state).by_run[entry.run])
            case _ if event.stream == PROJECTS and hasattr(event, "task_id"):
                self._react_to_task(event, (event.project, event.task_id))

    def _react_to_task(self, event: Any, name: Name) -> None:
        asked = None
        if not isinstance(event, _UNMOVED):
            asked = self._asked.pop(name, None)
            self._due.pop(name, None)
        match event:
            case events.ProjectTaskReleased(question_id=str() as id):
                self._questions[id], self._asked[name] = name, id
            case events.ProjectTaskReleased(retry_at=str() as at):
                self._due[name] = ids.seconds_of(at)
            case events.ProjectTaskClaimed(run_id=str()):
                self._look(name)  # its run may have ended meanwhile
            case events.ProjectTaskEnded(status=status) if status != "completed":
                task = self._state.find(ProjectTask, key_of(*name))
                for other in task.blocks if task is not None else ():
                    self._look((name[0], other))
            case events.ProjectTaskCreated(failed=failed) if failed:
                self._look(name)
            case events.ProjectTaskUpdated(changes=changes) if changes.keys() & {"failed", "assignee"}:
                self._look(name)
        if asked is not None and self._asked.get(name) != asked:
            self._questions.pop(asked, None)
            self._spawn(name[0], self._withdraw(asked))

    async def tick(self, now: str) -> None:
        """Look at the tasks whose time has come."""
        seconds = ids.seconds_of(now)
        if None in self._state.paused:
            return
        for name in [name for name, at in self._due.items() if at <= seconds]:
            del self._due[name]
            self._look(name)

    # --- acting -------------------------------------------------------------------------------------------------------

    def _look(self, name: Name) -> None:
        if self._is_ready:
            self._spawn(name[0], self._advance(name), name)

    def _spawn(self, project: str, work: Coroutine[Any, Any, None], name: Name | None = None) -> None:
        task = asyncio.create_task(self._guard(project, work, name), name=f"project {project}")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _guard(self, project: str, work: Coroutine[Any, Any, None], name: Name | None) -> None:
        """Await a step of one project; its foreseen errors leave the others alone."""
        async with self._turns.setdefault(project, asyncio.Lock()):
            try:
                await work
            except StoreFailed:
                return  # the daemon ends; the next one finds the same
            except Damaged as error:
                self._problems.damaged(f"journals/{PROJECTS}/{project}", error.detail)
            except _RETRY as error:
                log.warning("project %s: %s", project, error)
                if name is not None:
                    self._due[name] = self._state.clock() + _AGAIN

    async def _apply(self, id: str, by: str) -> None:
        async with pins.owner(self._state, PROJECTS, id):
            found = self._state.definitions.by_kind[PROJECTS].get(id)
            if found is None:
                verbs.remove(self._state, id, by=by)
            else:
                verbs.set_file(self._state, id, found.value, found.digest, by=by)

    async def _advance(self, name: Name) -> None:
        """Take the steps that are due for a task."""
        state, project = self._state, name[0]
        if project not in state.definitions.by_kind[PROJECTS]:
            return
        async with AsyncExitStack() as used:
            await used.enter_async_context(pins.owner(state, PROJECTS, project))
            task = state.find(ProjectTask, key_of(*name))
            if task is None or not task.is_open:
                return
            held, session_id = _held_by(task), task.claim.session_id if task.claim is not None else None
            await self._load(used, session_id)
            run = await self._run(held) if held is not None else None
            asked = await self._document(Question, task.question_id) if task.question_id is not None else None
            place = await used.enter_async_context(work.using(state, project, "daemon"))
            task = state.find(ProjectTask, key_of(*name))
            if task is None or _held_by(task) != held:
                return  # its newest entry leads here again
            verbs.append(state, *following.follow(state, place, task, run))
            if asked is not None:
                verbs.append(state, *following.answered(task, asked))
        if task.untold:
            await self._tell(name)
        if following.after_delay(task, state.clock()):
            await self._end_delay(name, task)

    async def _load(self, used: AsyncExitStack, session_id: str | None) -> None:
        """Load the session of a run, for a question to a person; it may have been deleted."""
        if session_id is not None:
            try:
                await used.enter_async_context(self._state.using(session_id))
            except NotFound:
                log.info("the session %s was deleted", session_id)

    async def _run(self, run_id: str) -> dict[str, Any] | None:
        doc = await self._document(Run, run_id)
        if doc is not None and isinstance(doc["output"], dict):  # a payload of its own
            async with self._state.using(doc["session_id"]):
                path = self._state.sessions[doc["session_id"]].path
                doc["output"] = await self._state.payloads.text(path, events.Spilled(**doc["output"]))
        return doc

    async def _document(self, cls: type, id: str) -> dict[str, Any] | None:
        """Return the newest document of a thing; None for one that is gone."""
        value = self._state.find(cls, id)
        change = self._state.unjournaled.get((cls, id))
        value = value if value is not None or change is None else change.value
        if value is not None:
            return self._state.document(self._state.nouns.by_class[cls], value)
        await self._state.caught_up()
        return await asyncio.to_thread(self._state.index.thing, self._state.nouns.by_class[cls].name, id)

    async def _end_delay(self, name: Name, task: ProjectTask) -> None:
        """Start a task again that a limit of a provider had stopped, or let it be claimed."""
        state = self._state
        if task.restarts:
            try:
                await work.start(state, *name, by="daemon")
                return
            except TaskBlocked as error:
                if error.extra.get("tasks"):  # its agent works on another task first
                    self._due[name] = state.clock() + _LATER
                    return
            except KheishError as error:
                log.info("the task %s is not started again: %s", key_of(*name), error.detail)
        async with work.using(state, name[0], "daemon", name[1]):
            now = state.find(ProjectTask, key_of(*name))
            if now is not None:
                verbs.append(state, *following.after_delay(now, state.clock()))

    async def _tell(self, name: Name) -> None:
        """Notify the assignee of a task that a task before it failed, in one group with the note of it."""
        state = self._state
        async with AsyncExitStack() as used:
            place = await used.enter_async_context(work.using(state, name[0], "daemon", name[1]))
            task = state.find(ProjectTask, key_of(*name))
            member = place.file.member(task.assignee) if task is not None else None
            session_id = member.session_id if member is not None else None
            await self._load(used, session_id)
            task = state.find(ProjectTask, key_of(*name))
            if task is None or not task.untold:
                return
            told = [events.ProjectTaskOwnerTold(project=name[0], task_id=name[1]).on()]
            if session_id is not None and session_id in state.sessions and task.failed:
                notice = Letter(type="notice", sender=DAEMON, payload=text.dependency_failed(task))
                told.insert(0, letters.draft(state, session_id, notice))
            verbs.append(state, *told)

    async def _withdraw(self, question_id: str) -> None:
        """Withdraw the question about a task that continues in another way."""
        async with pins.thing(self._state, Question, question_id) as ended:
            question = self._state.find(Question, question_id) if ended is None else None
            if question is not None and question.status == "pending":
                cancelled = events.QuestionAnswered(question_id=question_id, outcome="cancelled", by="daemon")
                self._state.append(cancelled.on(question.session_id))

    async def close(self) -> None:
        """Take no more steps, and wait for those under way."""
        self._is_ready = False
        await asyncio.gather(*self._under_way, return_exceptions=True)


def _held_by(task: ProjectTask) -> str | None:
    """Return the run that holds a task."""
    return task.claim.run_id if task.claim is not None else None
