"""The tasks of the projects that the agent's session takes part in: `project_list_tasks`, `project_claim_task`,
`project_update_task`, `project_create_task`.

A claim is journaled by its tool at once, and not with the call's result: it has to be decided and written without a
wait between. A repeated call has the same claim id, and so finds its claim.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Literal

from pydantic import Field

from kheish import ids
from kheish.domain.events import changed
from kheish.domain.projects import claims, verbs
from kheish.domain.projects.claims import Holder
from kheish.domain.projects.definition import ProjectFile, ProjectMember
from kheish.domain.projects.project import PROJECTS
from kheish.domain.projects.task import ProjectTask, has_lapsed
from kheish.domain.projects.verbs import Place
from kheish.domain.sessions.session import Session
from kheish.errors import KheishError
from kheish.runtime.projects import work
from kheish.runtime.tools.base import Arguments, Context, Effect, Replay, Result, Tool, ToolError
from kheish.runtime.tools.interact import derived
from kheish.texts import is_blank

_LISTED = 50
_PROJECT = "The project; may be left out if you take part in one only."
_TASK = "The id of the task."


class ListTasks(Arguments):
    project: str | None = Field(None, description=_PROJECT)
    status: Literal["pending", "in_progress", "blocked", "in_review"] | None = Field(
        None, description="Only tasks with this status; pending ones can be claimed."
    )
    mine: bool = Field(False, description="Only tasks that are assigned to you.")


class ClaimTask(Arguments):
    project: str | None = Field(None, description=_PROJECT)
    task_id: str = Field(min_length=1, max_length=128, description=_TASK)


class UpdateTask(Arguments):
    project: str | None = Field(None, description=_PROJECT)
    task_id: str = Field(min_length=1, max_length=128, description=_TASK)
    status: Literal["completed", "in_review", "failed", "blocked", "pending"] = Field(
        description="completed or in_review with your output; failed or blocked with a reason; pending gives it back."
    )
    output: str | None = Field(None, max_length=verbs.OUTPUT_BYTES, description="The result of the task.")
    reason: str | None = Field(None, max_length=2000, description="Why it failed, is blocked, or is given back.")
    block_kind: Literal["needs_input", "capability", "transient"] | None = Field(
        None, description="With blocked: a person is needed (the default), you cannot do it, or it may work later."
    )
    claim_id: str | None = Field(None, max_length=128, description="Your claim; left out: that of this run.")


class CreateTask(Arguments):
    project: str | None = Field(None, description=_PROJECT)
    task_id: str | None = Field(None, max_length=128, description="An id of your choice: a-z, 0-9, '.', '_', '-'.")
    title: str = Field(min_length=1, max_length=verbs.TITLE_CHARACTERS, description="What is to be done, in one line.")
    description: str | None = Field(None, max_length=verbs.TEXT_BYTES, description="All that it needs.")
    assignee: str | None = Field(None, max_length=128, description="The member that is to do it.")
    blocked_by: tuple[str, ...] = Field(default=(), max_length=verbs.BLOCKERS, description="Tasks that come first.")
    parent: str | None = Field(None, max_length=128, description="The task that it is a part of.")


# --- the agent's projects ---------------------------------------------------------------------------------------------


def _project(context: Context, named: str | None) -> str:
    """Return the project that a call is about. Raises ToolError."""
    known = work.projects_of(context.state, context.session_id)
    if named is None and len(known) == 1:
        return known[0]
    listed = ", ".join(known) or "none"
    if named is None:
        raise ToolError(f"Name the project; you take part in: {listed}.")
    if named not in known:
        raise ToolError(f"You do not take part in a project {named!r}; you take part in: {listed}.")
    return named


def _member(context: Context, file: ProjectFile) -> ProjectMember | None:
    return next((one for id in work.sessions_of(context.state, context.session_id)
                 if (one := file.member_of(id)) is not None), None)  # fmt: skip


def _holder(context: Context, file: ProjectFile) -> Holder:
    member = _member(context, file)
    return Holder(
        by=member.member if member is not None else context.session_id,
        is_member=member is not None,
        session_id=context.session_id,
        run_id=context.run_id,
    )


async def _list(arguments: ListTasks, context: Context) -> Result:
    project = _project(context, arguments.project)
    async with work.using(context.state, project, context.agent_id) as place:
        found = verbs.get(context.state, project)
        member = _member(context, place.file)
        rows = list(islice(_matching(arguments, context, project, member), _LISTED + 1))
    counts = ", ".join(f"{count} {status}" for status, count in sorted(found.counts.items())) or "no tasks"
    lines = [_line(task, ids.stamp(context.state.clock())) for task in rows[:_LISTED]]
    more = ["… and more; filter by status or mine."] if len(rows) > _LISTED else []
    me = f"; you are {member.member}" if member is not None else ""
    return Result(content="\n".join([f"Project {project} ({found.state}): {counts}{me}.", *lines, *more]))


def _matching(
    arguments: ListTasks, context: Context, project: str, member: ProjectMember | None
) -> Iterator[ProjectTask]:
    """Yield the open tasks, oldest first."""
    mine = member.member if member is not None else None
    return (
        task
        for task in context.state.table(ProjectTask, f"{PROJECTS}/{project}").values()
        if task.is_open
        and (arguments.status is None or task.status == arguments.status)
        and (not arguments.mine or (mine is not None and mine in (task.assignee, task.owner)))
    )


def _line(task: ProjectTask, now: str) -> str:
    notes = [task.status if task.block_kind is None else f"{task.status}: {task.block_kind}"]
    if task.waits_for or task.failed:
        notes.append(f"after {', '.join((*task.failed, *task.waits_for))}")
    if task.claim is not None:
        lapsed = " (lapsed: can be claimed)" if has_lapsed(task.claim, now) else ""
        notes.append(f"held by {task.claim.by}{lapsed}")
    if task.assignee is not None:
        notes.append(f"for {task.assignee}")
    return f"{task.task_id}: {task.title} [{'; '.join(notes)}]"


async def _claim(arguments: ClaimTask, context: Context) -> Result:
    project, state = _project(context, arguments.project), context.state
    try:
        async with work.using(state, project, context.agent_id, arguments.task_id) as place:
            holder = _holder(context, place.file)
            task = verbs.open_task(state, project, arguments.task_id)
            if task.assignee not in (None, holder.by):
                raise ToolError(f"{arguments.task_id} is assigned to {task.assignee}; choose another task.")
        doc = await work.claim(
            state, project, arguments.task_id, holder, by=context.agent_id, claim_id=derived("claim", context.key)
        )
    except KheishError as error:
        raise ToolError(error.detail) from error
    claim, task_id = doc["claim"], arguments.task_id
    text = f"You have the task {task_id} (claim {claim['claim_id']}, attempt {claim['attempt']}): {doc['title']}"
    described = f"\n\n{doc['description']}" if doc["description"] else ""
    before = f"\n\nThe attempt before this one: {doc['reason']}" if doc["reason"] and claim["attempt"] > 1 else ""
    rest = "\n\nEnd it with project_update_task before this run ends; otherwise it goes back to the others."
    detail = {"project": project, "task_id": task_id, "claim_id": claim["claim_id"], "attempt": claim["attempt"]}
    return Result(content=text + described + before + rest, detail=detail)


async def _update(arguments: UpdateTask, context: Context) -> Result:
    project, state, task_id = _project(context, arguments.project), context.state, arguments.task_id
    if arguments.status in ("failed", "blocked") and is_blank(arguments.reason or ""):
        raise ToolError(f"Give the reason why it is {arguments.status}.")
    try:
        async with work.using(state, project, context.agent_id, task_id) as place:
            claim_id = arguments.claim_id or _claim_of(context, place, task_id)
            if arguments.status in ("completed", "in_review", "failed"):
                own = changed(place, session_id=context.session_id)
                claims.complete(state, own, task_id, claim_id, arguments.output, arguments.status, arguments.reason)
            else:
                kind = (arguments.block_kind or "needs_input") if arguments.status == "blocked" else None
                claims.release(state, _tainted(context, place), task_id, claim_id, arguments.reason, kind)
            status = verbs.document(state, project, task_id)["status"]
    except (KheishError, ToolError) as error:
        if (again := await _repeated(arguments, context, project)) is not None:
            return again
        raise ToolError(error.detail if isinstance(error, KheishError) else str(error)) from error
    return Result(content=f"The task {task_id} is {status}.", detail={"project": project, "status": status})


def _claim_of(context: Context, place: Place, task_id: str) -> str:
    """Return the claim of the present run on a task. Raises ToolError."""
    doc = verbs.document(context.state, place.project, task_id)
    claim: dict[str, Any] | None = doc["claim"]
    if claim is None or claim["session_id"] != context.session_id or claim["run_id"] not in (None, context.run_id):
        who = f"{claim['by']} has it" if claim is not None else f"it is {doc['status']}"
        raise ToolError(f"You do not hold the task {task_id}: {who}. Claim it first with project_claim_task.")
    return str(claim["claim_id"])


async def _repeated(arguments: UpdateTask, context: Context, project: str) -> Result | None:
    """Return the result of a call that is repeated after a restart: its change is journaled already."""
    await verbs.recall(context.state, project, [arguments.task_id])
    try:
        doc = verbs.document(context.state, project, arguments.task_id)
    except KheishError:
        return None
    reached = {arguments.status, "in_review"} if arguments.status == "completed" else {arguments.status}
    is_its = doc["run_id"] == context.run_id and doc["output"] == arguments.output and doc["claim"] is None
    if not is_its or doc["status"] not in reached or doc["reason"] != arguments.reason:
        return None
    return Result(content=f"The task {arguments.task_id} is {doc['status']}.", detail={"project": project})


async def _create(arguments: CreateTask, context: Context) -> Result:
    project, state = _project(context, arguments.project), context.state
    task_id = arguments.task_id or derived("task", context.key)
    given = arguments.model_dump(exclude={"project", "task_id"}, exclude_none=True)
    try:
        async with work.using(state, project, context.agent_id, task_id, *work.named(given)) as place:
            if not _is_own(context, project, task_id, arguments.title):
                verbs.create(state, _tainted(context, place), task_id, given)
            status = verbs.document(state, project, task_id)["status"]
    except KheishError as error:
        raise ToolError(error.detail) from error
    content = f"The task {task_id} is created ({status})."
    return Result(content=content, detail={"project": project, "task_id": task_id})


def _is_own(context: Context, project: str, task_id: str, title: str) -> bool:
    """Return whether a repeated call finds the task that it created before a restart."""
    try:
        doc = verbs.document(context.state, project, task_id)
    except KheishError:
        return False
    return bool(doc["created_by"] == context.agent_id and doc["title"] == title)


def _tainted(context: Context, place: Place) -> Place:
    """Return the project with what has tainted the agent: others that read its words are tainted, too."""
    tainted_by = context.state.get(Session, context.session_id).tainted_by
    return changed(place, tainted_by=tainted_by, session_id=context.session_id)


async def _note_taint(arguments: ListTasks, context: Context) -> Mapping[str, Any]:
    """Return the note of a list with words of tainted agents."""
    project = _project(context, arguments.project)
    async with work.using(context.state, project, context.agent_id) as place:
        member = _member(context, place.file)
        rows = list(islice(_matching(arguments, context, project, member), _LISTED))
    return {"tainted": True} if any(task.tainted_by is not None for task in rows) else {}


def _tool(name: str, about: str, arguments: type[Arguments], run: Any, plan: Any = None) -> Tool:
    effect, replay = Effect.COORDINATION, Replay.SAFE
    return Tool(name=name, description=about, arguments=arguments, effect=effect, replay=replay, run=run, plan=plan)


TOOLS = (
    _tool(
        "project_list_tasks",
        "List the open tasks of a project, oldest first: what can be claimed, who works on what, and what waits for "
        "what.",
        ListTasks,
        _list,
        _note_taint,
    ),
    _tool(
        "project_claim_task",
        "Take a pending task of a project for this run. One agent gets it; the others learn the holder. You work on "
        "one task at a time.",
        ClaimTask,
        _claim,
    ),
    _tool(
        "project_update_task",
        "End your work on a task of a project: completed with the result, failed, blocked, or given back (pending).",
        UpdateTask,
        _update,
    ),
    _tool(
        "project_create_task",
        "Add a task to a project, with the tasks that come before it.",
        CreateTask,
        _create,
    ),
)
