"""The tasks extension (`io.modelcontextprotocol/tasks`): a run or a Flow is a task with its own id."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import HEADER_MISMATCH, INVALID_PARAMS, MISSING_REQUIRED_CLIENT_CAPABILITY
from pydantic import Field

from kheish.errors import Invalid, KheishError, NotFound
from kheish.protocols import access as accesses, work as works
from kheish.protocols.access import Access
from kheish.protocols.mcp import answers
from kheish.protocols.mcp.exchange import TASKS, elicitation, has_tasks
from kheish.protocols.work import Open, Work

#: milliseconds between two questions of a client for a task that works, and for one that waits for its user
_POLL, _POLL_USER = 2000, 5000
_NAME_HEADER = "mcp-name"
_STATUSES = {"waiting": "input_required", "completed": "completed", "failed": "completed", "cancelled": "cancelled"}


class OfTask(types.RequestParams):
    """The task of a request."""

    task_id: str = Field(max_length=128)


class Update(OfTask):
    """Answers for a task."""

    input_responses: dict[str, Any] = Field(max_length=200)


def made(work: Work) -> dict[str, Any]:
    """Return the result of a call that made a task."""
    return {"resultType": "task", **_base(work), "status": "working"}


def _base(work: Work) -> dict[str, Any]:
    return {
        "taskId": work.id,
        "status": _STATUSES.get(work.stage, "working"),
        "statusMessage": work.summary,
        "createdAt": work.began,
        "lastUpdatedAt": work.changed,
        "ttlMs": None,
        "pollIntervalMs": _POLL if work.stage == "working" else _POLL_USER,
    }


def described(work: Work, waits: Open | None) -> dict[str, Any]:
    """Return a task in full: with its result, or with what it asks of the user."""
    doc = _base(work)
    match work.stage:
        case "completed" | "failed":
            result = answers.of_work(work)
            return {**doc, "result": result.model_dump(by_alias=True, mode="json", exclude_none=True)}
        case "waiting" if waits is not None:
            asked = {form.key: elicitation(form) for form in waits.forms}
            requests = {
                key: one.model_dump(by_alias=True, mode="json", exclude_none=True) for key, one in asked.items()
            }
            return {**doc, "inputRequests": requests, "statusMessage": _message(work, waits.notes)}
        case "blocked":
            return {**doc, "statusMessage": "blocked: a user has to act, for example attach evidence"}
    return doc


def _message(work: Work, notes: Sequence[str]) -> str:
    return " ".join([f"{work.summary}; a user answers here, in the console, or by `kheish inbox`.", *notes])


async def get(access: Access, context: ServerRequestContext[Any, Any], params: OfTask) -> dict[str, Any]:
    """Return a task. Raises MCPError."""
    _require(context, params)
    try:
        work = await works.read(access, params.task_id)
        return described(work, await _open(access, work))
    except KheishError as error:
        raise _described(error) from error


async def _open(access: Access, work: Work) -> Open | None:
    """Return the forms of a task that waits; none for a caller who may not answer."""
    if work.stage != "waiting":
        return None
    if not (await accesses.rights(access)).may_answer:
        return Open(notes=("This token may not answer.",))
    return await works.decisions(access, work)


async def update(access: Access, context: ServerRequestContext[Any, Any], params: Update) -> dict[str, Any]:
    """Send a user's answers to what a task asks now; other keys are ignored. Raises MCPError."""
    _require(context, params)
    try:
        work = await works.read(access, params.task_id)
        waits = await _open(access, work)
        faults = []
        for form in waits.forms if waits is not None else ():
            content = _content(params.input_responses.get(form.key))
            if content is None:
                continue
            try:
                await works.decide(access, form, content)
            except ValueError as fault:
                faults.append(f"{form.key}: {fault}")
    except KheishError as error:
        raise _described(error) from error
    if faults:
        raise MCPError(code=INVALID_PARAMS, message=f"The answers cannot be used: {'; '.join(faults)}")
    return {}


def _content(given: Any) -> Mapping[str, Any] | None:
    """Return what a user filled in; None for a form that was left, declined or not shown."""
    if not isinstance(given, Mapping) or given.get("action") != "accept":
        return None
    content = given.get("content")
    return content if isinstance(content, Mapping) else {}


async def cancel(access: Access, context: ServerRequestContext[Any, Any], params: OfTask) -> dict[str, Any]:
    """Stop the run or Flow of a task; one that has ended stays as it is. Raises MCPError."""
    _require(context, params)
    try:
        work = await works.read(access, params.task_id)
        if not work.is_final:
            await asyncio.shield(works.cancel(access, params.task_id, "cancelled by an MCP client"))
    except KheishError as error:
        raise _described(error) from error
    return {}


def _require(context: ServerRequestContext[Any, Any], params: OfTask) -> None:
    """Check that the client follows tasks and, over HTTP, that the header for routers names the same task. Raises
    MCPError."""
    if not has_tasks(context):
        raise MCPError(
            code=MISSING_REQUIRED_CLIENT_CAPABILITY,
            message="Missing required client capability",
            data={"requiredCapabilities": {"extensions": {TASKS: {}}}},
        )
    request: Any = context.request
    if request is not None and request.headers.get(_NAME_HEADER) != params.task_id:
        raise MCPError(code=HEADER_MISMATCH, message=f"The header {_NAME_HEADER} must be the task's id.")


def _described(error: KheishError) -> MCPError:
    """Return an error of the daemon as one of the protocol."""
    code = INVALID_PARAMS if isinstance(error, NotFound | Invalid) else types.INTERNAL_ERROR
    return MCPError(code=code, message=error.detail, data={"code": error.code})
