"""Calls of a server's tools without an agent, on the authority of a caller of the API."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kheish.domain import approvals, events
from kheish.domain.events import Draft
from kheish.domain.events.auth import Outcome as Outcomes
from kheish.errors import Conflict, Fault, FetchFailed, Invalid, NotFound
from kheish.runtime.mcp import results
from kheish.runtime.mcp.connection import CANCEL, Connection, OpenCall, State as ConnectionState
from kheish.runtime.mcp.found import Found
from kheish.runtime.mcp.outcomes import Broken, Done, NotConnected, Outcome, RemoteTask, ServerError
from kheish.runtime.mcp.servers import Servers
from kheish.runtime.tools import arguments as checking
from kheish.runtime.tools.base import Result, ToolError
from kheish.state.state import State

#: seconds for which a caller waits for a server to start
_PATIENCE = 30.0


async def call(
    state: State,
    servers: Servers,
    server_id: str,
    tool: str,
    arguments: Mapping[str, Any],
    *,
    session_id: str | None,
    by: str,
) -> Result:
    """Call a tool for a caller of the API; the audit has it. What the server asks the user is cancelled. Raises
    NotFound, Conflict, FetchFailed, Invalid."""
    connection = await connect(servers, server_id, session_id)
    found = next((one for one in servers.found(server_id) if tool in (one.own_name, one.name)), None)
    if found is None and connection.state is not ConnectionState.READY:
        raise Conflict(f"The MCP server {server_id} is not available: {connection.error or 'it is still starting'}.")
    if found is None or found.tool is None:
        why = f"it is {found.problem}" if found is not None else f"kheish mcp show {server_id} --output json"
        raise NotFound(f"The MCP server {server_id} has no usable tool {tool!r}: {why}.")
    try:
        given = await checking.parsed(found.tool, dict(arguments))
    except ToolError as error:
        raise Invalid(str(error), errors=[Fault("/arguments", str(error))]) from error
    state.append(_audited(found, "begun", by, arguments, session_id))
    await state.durable()
    outcome: Outcome | None = None
    try:
        async with asyncio.timeout(connection.server.timeout):
            call = OpenCall(session_id=session_id, ask=_cancelling)
            outcome = await connection.request(
                lambda sdk, session: sdk.call_tool(session, found.own_name, given, _silent), call=call
            )
    except TimeoutError as error:
        within = f"within {connection.server.timeout:g} s"
        raise FetchFailed(f"The MCP server {server_id} did not answer the call of {tool} {within}.") from error
    except (NotConnected, Broken, ServerError) as error:
        raise FetchFailed(f"The call of {tool} of the MCP server {server_id} failed: {error}.") from error
    finally:
        state.append(_audited(found, "done" if outcome is not None else "failed", by, arguments, session_id))
    if isinstance(outcome, Done):
        result = results.of(outcome.result, {"server": server_id, "tool": found.own_name})
        return replace(result, content=state.scrub(result.content.encode()).decode())
    what = f"a task ({outcome.task_id})" if isinstance(outcome, RemoteTask) else "a question to the user"
    raise Conflict(f"The tool {tool} answered with {what}, which only a call by an agent can follow.")


async def connect(servers: Servers, server_id: str, session_id: str | None) -> Connection:
    """Return the connection to a server, started, when it is ready or has failed. Raises Conflict, NotFound."""
    try:
        connection = await servers.connection(server_id, session_id)
    except NotConnected as error:
        raise Conflict(f"The MCP server {server_id} cannot be started: {error}.") from error
    connection.retry_at = 0.0
    connection.start()
    await connection.settled(max(connection.server.start_timeout, _PATIENCE))
    return connection


async def _cancelling(_: Mapping[str, Any]) -> Mapping[str, Any]:
    """Cancel what a server asks during a call without an agent."""
    return CANCEL


async def _silent(*_: Any) -> None:
    """Ignore progress."""


def _audited(found: Found, outcome: Outcomes, by: str, arguments: Mapping[str, Any], session_id: str | None) -> Draft:
    """Return the audit's entry for a call without an agent."""
    digest = approvals.digest_of(tool=found.true_name, arguments=arguments, folder="", executable=None)
    event = events.AuditRecorded(
        action="mcp",
        outcome=outcome,
        subject=by,
        target=found.true_name,
        session=session_id,
        run=None,
        request_digest=digest,
        response_digest=None,
    )
    return event.on(by=by)
