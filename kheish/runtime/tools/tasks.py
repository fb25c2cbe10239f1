"""Session tasks: `task_create`, `task_get`, `task_list`, `task_update`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Literal

import orjson
from pydantic import Field

from kheish.domain.events import Spilled
from kheish.domain.mailboxes import recipients
from kheish.domain.sessions.session import Session
from kheish.domain.tasks import verbs
from kheish.domain.tasks.task import FINAL, Task, view
from kheish.domain.tasks.verbs import Author, Change, Fields, Owner
from kheish.errors import KheishError
from kheish.runtime.tools.base import Arguments, Context, Effect, Replay, Result, Tool, ToolError
from kheish.runtime.tools.interact import derived
from kheish.runtime.tools.mailbox import sender
from kheish.state import encoding

_Status = Literal["pending", "in_progress", "blocked", "completed", "failed", "cancelled"]
_SHOWN = 50
#: characters of a description or an output that `task_get` shows
_TEXT = 8000


class TaskCreate(Arguments):
    title: str = Field(min_length=1, max_length=verbs.TITLE_CHARACTERS, description="Unique among active tasks.")
    description: str | None = Field(None, description="The work, and the condition under which it is done.")
    blocked_by: tuple[str, ...] | None = Field(None, description="Ids of the tasks that come first.")
    owner: str | None = Field(
        None, max_length=400, description="The agent that does it (id, name, path or session); left out: you."
    )
    metadata: dict[str, Any] | None = Field(None, description="Your own data about it.")


class TaskUpdate(Arguments):
    task_id: str = Field(min_length=1, max_length=128)
    title: str | None = Field(None, min_length=1, max_length=verbs.TITLE_CHARACTERS)
    description: str | None = None
    status: _Status | None = Field(None, description="completed, failed and cancelled are final.")
    blocked_by: tuple[str, ...] | None = Field(None, description="Replaces the list of tasks that come first.")
    owner: str | None = Field(None, max_length=400, description="Another agent gets a message about it.")
    output: str | None = Field(None, description="What came of it.")
    metadata: dict[str, Any] | None = Field(None, description="Replaces your own data about it.")


class TaskGet(Arguments):
    task_id: str = Field(min_length=1, max_length=128)


class TaskList(Arguments):
    status: _Status | None = Field(None, description="Only tasks with this status; left out: all that have not ended.")


async def _owner(name: str | None, context: Context) -> Owner | None:
    if name is None:
        return None
    session_id = await recipients.resolve(context.state, name, caller=context.session_id)
    async with context.state.using(session_id):
        return Owner(agent_id=context.state.get(Session, session_id).agent_id, session_id=session_id)


def _author(context: Context) -> Author:
    return Author(sender=sender(context), agent_id=context.agent_id, run_id=context.run_id)


async def _create(arguments: TaskCreate, context: Context) -> Result:
    state, task_id = context.state, derived("task", context.key)
    try:
        owner = await _owner(arguments.owner, context)
        fields = Fields(
            title=arguments.title,
            description=arguments.description,
            blocked_by=arguments.blocked_by,
            owner=owner or Owner(agent_id=context.agent_id, session_id=context.session_id),
            metadata=arguments.metadata,
        )
        await verbs.recall(state, context.session_id, arguments.blocked_by or ())
        async with state.using(owner.session_id if owner is not None else context.session_id):
            change = verbs.create(state, context.session_id, task_id, fields, _author(context))
    except KheishError as error:
        raise ToolError(error.detail) from error
    return _result(change, f"{task_id}: {arguments.title}")


async def _update(arguments: TaskUpdate, context: Context) -> Result:
    state = context.state
    doc = await _find(arguments.task_id, context)
    try:
        owner = await _owner(arguments.owner, context)
        fields = Fields(
            title=arguments.title,
            description=arguments.description,
            status=arguments.status,
            blocked_by=arguments.blocked_by,
            owner=owner,
            output=arguments.output,
            metadata=arguments.metadata,
        )
        await verbs.recall(state, context.session_id, arguments.blocked_by or ())
        if doc["status"] in FINAL:
            raise verbs.ended_conflict(arguments.task_id, doc["status"])
        async with state.using(owner.session_id if owner is not None else context.session_id):
            change = verbs.update(state, arguments.task_id, fields, _author(context))
    except KheishError as error:
        raise ToolError(error.detail) from error
    return _result(change, f"{arguments.task_id} is updated.")


def _result(change: Change, content: str) -> Result:
    return Result(content=content, detail={"task_id": change.task_id}, drafts=change.drafts, uses=change.session_ids)


async def _find(task_id: str, context: Context) -> Mapping[str, Any]:
    doc = await context.state.recall(Task, task_id)
    if doc is None or doc["session_id"] != context.session_id:
        raise ToolError(f"There is no task {task_id!r} in this session.")
    return doc


async def _get(arguments: TaskGet, context: Context) -> Result:
    doc = dict(await _find(arguments.task_id, context))
    for name in ("description", "output"):
        text = doc[name]
        if isinstance(text, dict):
            path = context.state.get(Session, context.session_id).path
            text = await context.state.payloads.text(path, Spilled(**text))
        if text is not None and len(text) > _TEXT:
            text = f"{text[:_TEXT]}\n[… {len(text) - _TEXT} more characters]"
        doc[name] = text
    shown = orjson.dumps(doc, option=orjson.OPT_INDENT_2).decode()
    return Result(content=shown, detail={"task_id": arguments.task_id, "status": doc["status"]})


async def _list(arguments: TaskList, context: Context) -> Result:
    known = context.state.table(Task, context.session_id).values()
    if arguments.status in FINAL:
        docs = await _ended(arguments.status, context)
    else:
        wanted = [one for one in known if one.status == arguments.status or (not arguments.status and not one.is_final)]
        docs = [encoding.plain(view(one)) for one in wanted]
    lines = [_line(doc) for doc in docs[-_SHOWN:]]
    if len(docs) > _SHOWN:
        lines.insert(0, f"[{len(docs) - _SHOWN} older ones are left out]")
    return Result(content="\n".join(lines) or "There are no such tasks.", detail={"tasks": len(docs)})


async def _ended(status: str | None, context: Context) -> list[dict[str, Any]]:
    state = context.state
    await state.caught_up()
    page = await asyncio.to_thread(
        state.index.things, "task", limit=_SHOWN, session=context.session_id, statuses=(str(status),)
    )
    return page.items[::-1]


def _line(doc: Mapping[str, Any]) -> str:
    words = [doc["task_id"], doc["status"], doc["title"]]
    if doc["blocked_by"]:
        words.append(f"(after {', '.join(doc['blocked_by'])})")
    if doc["owner"]:
        words.append(f"[{doc['owner']}]")
    if doc.get("waits_for_input"):
        words.append("— it waits for input")
    return " ".join(words)


TOOLS = (
    Tool(
        name="task_create",
        description=(
            "Add a task to the session's tasks, for work that others do, that waits for other work, or that is to "
            "survive this run. For the steps of your own current work, todo_write is enough."
        ),
        arguments=TaskCreate,
        effect=Effect.COORDINATION,
        replay=Replay.SAFE,
        run=_create,
    ),
    Tool(
        name="task_get",
        description="Return a task of this session with all its fields; also a background command.",
        arguments=TaskGet,
        effect=Effect.READ,
        replay=Replay.SAFE,
        run=_get,
    ),
    Tool(
        name="task_list",
        description="List the session's tasks that have not ended, or those with a status.",
        arguments=TaskList,
        effect=Effect.READ,
        replay=Replay.SAFE,
        run=_list,
    ),
    Tool(
        name="task_update",
        description="Change a task: its status, output, owner, title, or the tasks that come first.",
        arguments=TaskUpdate,
        effect=Effect.COORDINATION,
        replay=Replay.SAFE,
        run=_update,
    ),
)
