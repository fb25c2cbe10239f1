"""The protocol of one connection, by the SDK: negotiation, lists, and calls, with plain data in and out.

Only a daemon that has an MCP server imports this module, in a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal

import mcp_types as types
from mcp.client.extension import ResultClaim
from mcp.client.session import ClientRequestContext, ClientSession
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost, listen
from mcp.shared.exceptions import MCPError
from mcp_types import CONNECTION_CLOSED, HEADER_MISMATCH, METHOD_NOT_FOUND, UNSUPPORTED_PROTOCOL_VERSION
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, LATEST_MODERN_VERSION, MODERN_PROTOCOL_VERSIONS
from pydantic import ConfigDict, ValidationError

from kheish import resources
from kheish.runtime.mcp.outcomes import Broken, Done, Era, NeedsInput, Negotiated, Outcome, RemoteTask, ServerError
from kheish.runtime.mcp.wire import Incoming, Outgoing, Wire

TASKS = "io.modelcontextprotocol/tasks"
#: pages of a list that are read
_PAGES = 50
#: waits for a server that answers with nothing but its state, and their number
_STATE_WAIT, _STATE_ROUNDS = 0.2, 100
_SHOWN = 1000
#: the beginnings of the SDK's messages about a request whose answer was lost
_LOST = ("Connection closed", "SSE stream ")
Ask = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
Progress = Any  # mcp.shared.dispatcher.ProgressFnT


class _Open(types.RequestParams):
    """Parameters of a method that the SDK does not know."""

    model_config = ConfigDict(extra="allow")


class _TaskRequest(types.Request[Any, str]):
    name_param = "taskId"


class _TaskMade(types.Result):
    """A task instead of a result."""

    model_config = ConfigDict(extra="allow")
    result_type: Literal["task"] = "task"


class _Any(types.Result):
    """A result of any form."""

    model_config = ConfigDict(extra="allow")


async def _unresolved(*_: Any) -> types.CallToolResult:
    """Refuse to resolve a task: its caller journals and follows it."""
    raise RuntimeError("tasks are followed by their caller")


_CLAIMS: dict[str, tuple[ResultClaim[Any], ...]] = {
    TASKS: (ResultClaim(result_type="task", model=_TaskMade, resolve=_unresolved),)
}


@asynccontextmanager
async def opened(
    streams: tuple[Any, Any], wire: Wire, *, ask: Ask, changed: Callable[[], None]
) -> AsyncIterator[ClientSession]:
    """Yield a session over the streams, before negotiation. `ask` answers a request for a user's input that comes
    during a call; `changed()` is called when the server's lists have changed."""

    async def elicit(
        context: ClientRequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult | types.ErrorData:
        answer = await ask(params.model_dump(by_alias=True, mode="json", exclude_none=True))
        return types.ElicitResult.model_validate(answer)

    async def on_message(message: Any) -> None:
        if isinstance(message, _CHANGES):
            changed()

    read, write = streams
    async with ClientSession(
        Incoming(read, wire),
        Outgoing(write, wire),
        elicitation_callback=elicit,
        message_handler=on_message,
        client_info=types.Implementation(name="kheish", version=resources.version()),
        extensions={TASKS: {}},
        result_claims=_CLAIMS,
    ) as session:
        yield session


_CHANGES = (
    types.ToolListChangedNotification,
    types.ResourceListChangedNotification,
    types.PromptListChangedNotification,
)


# --- negotiation ------------------------------------------------------------------------------------------------------


async def negotiate(
    session: ClientSession, protocol: Literal["auto", "legacy", "modern"], remembered: Era | None
) -> Negotiated:
    """Determine the version that both sides speak. `remembered` is the era of an earlier connection, so that nothing is
    probed. Raises ServerError."""
    era = remembered if protocol == "auto" else protocol
    try:
        if era == "legacy":
            await session.initialize()
        elif era == "modern":
            await session.discover()
        else:
            await _probe(session)
    except MCPError as error:
        raise _described(error) from error
    except (RuntimeError, ValidationError) as error:
        raise ServerError(f"it cannot be understood: {_short(error)}") from error
    is_modern = session.discover_result is not None
    info = session.server_info
    name = f"{info.name} {info.version}".strip() if info is not None else None
    version = session.protocol_version or ""
    return Negotiated(version=version, era="modern" if is_modern else "legacy", server=name or None)


async def _probe(session: ClientSession) -> None:
    """Find the era out: a server that does not answer as a modern one is greeted by the handshake. Raises MCPError."""
    version = LATEST_MODERN_VERSION
    for attempt in range(2):
        try:
            found = types.DiscoverResult.model_validate(await session.send_discover(version))
        except ValidationError:
            found = None
        except MCPError as error:
            if _is_lost(error):
                raise
            known = _supported(error)
            mutual = [one for one in MODERN_PROTOCOL_VERSIONS if one in known]
            if mutual and attempt == 0:
                version = mutual[-1]
                continue
            if known and not any(one in HANDSHAKE_PROTOCOL_VERSIONS for one in known):
                raise
            found = None
        if found is not None and any(one in found.supported_versions for one in MODERN_PROTOCOL_VERSIONS):
            session.adopt(found)
            return
        try:
            await session.initialize()
            return
        except MCPError as error:
            mutual = [one for one in MODERN_PROTOCOL_VERSIONS if one in _supported(error)]
            if not mutual or attempt:
                raise
            version = mutual[-1]  # it took the probe in the end: a server that starts slowly


def _supported(error: MCPError) -> list[str]:
    """Return the versions that a server names when it refuses one."""
    data = error.error.data if error.code == UNSUPPORTED_PROTOCOL_VERSION else None
    versions = data.get("supported") if isinstance(data, dict) else None
    return [one for one in versions if isinstance(one, str)] if isinstance(versions, list) else []


async def follow_changes(session: ClientSession, changed: Callable[[], None]) -> None:
    """Report changes of a modern server's lists until the connection ends; return if it does not announce any."""
    while True:
        try:
            async with listen(
                session, tools_list_changed=True, prompts_list_changed=True, resources_list_changed=True
            ) as events:
                async for _ in events:
                    changed()
            return
        except SubscriptionLost:
            changed()
            await asyncio.sleep(1.0)
        except (MCPError, ListenNotSupportedError, TimeoutError):
            return


# --- lists ------------------------------------------------------------------------------------------------------------


async def list_tools(session: ClientSession) -> list[dict[str, Any]]:
    """Return the tools of the server, each name once. Raises ServerError, Broken."""
    capabilities = session.server_capabilities
    if capabilities is not None and capabilities.tools is None:
        return []
    return await _listed(session.list_tools, "tools", "name")


async def list_resources(session: ClientSession) -> list[dict[str, Any]]:
    """Return resources and templates of resources. Raises ServerError, Broken."""
    if session.server_capabilities is None or session.server_capabilities.resources is None:
        return []
    found = await _listed(session.list_resources, "resources", "uri")
    with contextlib.suppress(ServerError):
        found += await _listed(session.list_resource_templates, "resourceTemplates", "uriTemplate")
    return found


async def list_prompts(session: ClientSession) -> list[dict[str, Any]]:
    """Return the prompts of the server. Raises ServerError, Broken."""
    if session.server_capabilities is None or session.server_capabilities.prompts is None:
        return []
    return await _listed(session.list_prompts, "prompts", "name")


async def _listed(request: Callable[..., Awaitable[Any]], key: str, name: str) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    cursor: str | None = None
    for _ in range(_PAGES):
        page = await _sent(request(params=types.PaginatedRequestParams(cursor=cursor) if cursor else None))
        data = page.model_dump(by_alias=True, mode="json", exclude_none=True)
        for one in data[key]:
            found.setdefault(one[name], one)
        cursor = data.get("nextCursor")
        if cursor is None:
            break
    return list(found.values())


# --- calls ------------------------------------------------------------------------------------------------------------


async def call_tool(
    session: ClientSession,
    name: str,
    arguments: Mapping[str, Any],
    progress: Progress,
    *,
    responses: Mapping[str, Any] | None = None,
    state: str | None = None,
) -> Outcome:
    """Call a tool; `responses` and `state` repeat a call that asked for input. Raises ServerError, Broken."""
    is_relisted = False
    for _ in range(_STATE_ROUNDS):
        try:
            result = await _sent(
                session.call_tool(
                    name,
                    dict(arguments),
                    progress_callback=progress,
                    input_responses=_responses(responses),
                    request_state=state,
                    allow_input_required=True,
                    allow_claimed=True,
                )
            )
        except _HeaderMismatch:
            if is_relisted:
                raise
            is_relisted = True
            await list_tools(session)  # its listed schema is stale; nothing was executed
            continue
        outcome = _outcome(result)
        if not isinstance(outcome, NeedsInput) or outcome.requests:
            return outcome
        responses, state = None, outcome.state
        await asyncio.sleep(_STATE_WAIT)
    raise ServerError("the server keeps asking to be asked again")


async def read_resource(session: ClientSession, uri: str) -> Outcome:
    """Read a resource. Raises ServerError, Broken."""
    return _outcome(await _sent(session.read_resource(uri, allow_input_required=True)))


async def get_prompt(session: ClientSession, name: str, arguments: Mapping[str, str]) -> Outcome:
    """Get a prompt with its arguments filled in. Raises ServerError, Broken."""
    return _outcome(await _sent(session.get_prompt(name, dict(arguments), allow_input_required=True)))


async def task(session: ClientSession, task_id: str) -> RemoteTask:
    """Return the state of a task. Raises ServerError, Broken."""
    return _task(await _task_request(session, "tasks/get", taskId=task_id))


async def answer_task(session: ClientSession, task_id: str, responses: Mapping[str, Any]) -> None:
    """Send the input that a task asked for. Raises ServerError, Broken."""
    await _task_request(session, "tasks/update", taskId=task_id, inputResponses=dict(responses))


async def cancel_task(session: ClientSession, task_id: str) -> None:
    """Ask the server to cancel a task. Raises ServerError, Broken."""
    await _task_request(session, "tasks/cancel", taskId=task_id)


async def _task_request(session: ClientSession, method: str, **params: Any) -> dict[str, Any]:
    request = _TaskRequest(method=method, params=_Open.model_validate(params))
    result = await _sent(session.send_request(request, _Any))
    return dict(result.model_dump(by_alias=True, mode="json", exclude_none=True))


def _responses(responses: Mapping[str, Any] | None) -> Any:
    if responses is None:
        return None
    return {key: types.ElicitResult.model_validate(value) for key, value in responses.items()}


def _outcome(result: Any) -> Outcome:
    data = result.model_dump(by_alias=True, mode="json", exclude_none=True)
    if isinstance(result, types.InputRequiredResult):
        return NeedsInput(requests=_requests(data.get("inputRequests")), state=data.get("requestState"))
    if isinstance(result, _TaskMade):
        return _task(data)
    return Done(result=data)


def _requests(given: Any) -> dict[str, Mapping[str, Any]]:
    return {str(key): one for key, one in given.items() if isinstance(one, dict)} if isinstance(given, dict) else {}


def _task(data: Mapping[str, Any]) -> RemoteTask:
    """Return a task that the server described. Raises ServerError."""
    doc = data["task"] if isinstance(data.get("task"), dict) else data
    task_id, status = doc.get("taskId"), doc.get("status")
    if not isinstance(task_id, str) or not task_id or not isinstance(status, str):
        raise ServerError("it described a task without an id or a status")
    poll, error, result = doc.get("pollIntervalMs", doc.get("pollInterval")), doc.get("error"), doc.get("result")
    return RemoteTask(
        task_id=task_id,
        status=status,
        message=str(doc.get("statusMessage") or "")[:_SHOWN],
        poll=min(max(poll / 1000, 0.1), 60.0) if isinstance(poll, int | float) else 1.0,
        requests=_requests(doc.get("inputRequests")),
        result=result if isinstance(result, dict) else None,
        error=str(error.get("message") or error)[:_SHOWN] if isinstance(error, dict) else None,
    )


# --- errors -----------------------------------------------------------------------------------------------------------


class _HeaderMismatch(ServerError):
    """The error that the client's view of a tool is stale."""


async def _sent(request: Awaitable[Any]) -> Any:
    """Return the result of a request. Raises ServerError, Broken."""
    import anyio

    try:
        return await request
    except MCPError as error:
        raise _described(error) from error
    except ValidationError as error:
        raise ServerError(f"the answer cannot be understood: {_short(error)}") from error
    except (anyio.ClosedResourceError, anyio.BrokenResourceError) as error:
        raise Broken("the connection is closed") from error
    except RuntimeError as error:
        raise ServerError(f"the answer cannot be used: {_short(error)}") from error


def _described(error: MCPError) -> Exception:
    """Return the error for one that the server, or the SDK in its name, answered with."""
    message = _short(error.error.message)
    if _is_lost(error):
        return Broken(message)
    if error.code == HEADER_MISMATCH:
        return _HeaderMismatch(message, not_executed=True)
    return ServerError(f"{message} (code {error.code})", not_executed=error.code == METHOD_NOT_FOUND)


def _is_lost(error: MCPError) -> bool:
    """Return whether no answer will come, in the SDK's words. Servers use the same code for errors of their own: those
    of the TypeScript SDK answer a request without a session with it."""
    return error.code == CONNECTION_CLOSED and error.error.message.startswith(_LOST)


def _short(error: object) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
