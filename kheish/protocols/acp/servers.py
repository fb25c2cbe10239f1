"""MCP servers that an editor passes: refused, or added to the daemon after its user has agreed (`acp.client_mcp`).

Agreement does what `kheish mcp import` does, with the token of the caller, so it needs an admin's.
"""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from acp.exceptions import RequestError
from acp.schema import AllowedOutcome, PermissionOption, ToolCallUpdate

from kheish.client import mcp_import, requests
from kheish.client.mcp_import import Imported
from kheish.errors import KheishError, NotFound
from kheish.protocols.access import Access
from kheish.store.git.textconv import one_line

if TYPE_CHECKING:
    from acp.interfaces import Client

_KIND = "mcp"
_PATIENCE = 5.0  # seconds
_OPTIONS = (
    PermissionOption(option_id="allow", name="Add it to Kheish", kind="allow_once"),
    PermissionOption(option_id="deny", name="Do not add it", kind="reject_once"),
)


async def may_ask(access: Access) -> bool:
    """Return whether kheish.yaml lets editors offer servers."""
    try:
        async with asyncio.timeout(_PATIENCE):
            config: Any = await access.send(requests.config())
    except (KheishError, TimeoutError):
        return False
    return bool((config.get("acp") or {}).get("client_mcp") == "ask")


async def offer(access: Access, editor: Client, session_id: str, servers: Sequence[Any]) -> list[str]:
    """Ask the user about servers that the daemon lacks, and add those that are agreed to; return what there is to say.

    Secrets among their values go to slots before.
    """
    if not servers:
        return []
    if not await may_ask(access):
        names = ", ".join(one.name for one in servers)
        return [f"MCP servers of the editor are not used: {names}. See `kheish mcp`, and `acp.client_mcp`."]
    try:
        return [said for one in _read(servers) if (said := await _one(access, editor, session_id, one)) is not None]
    except (RequestError, ConnectionError) as error:
        return [f"MCP servers of the editor are not used: the editor did not answer ({type(error).__name__})."]


def _read(servers: Sequence[Any]) -> list[Imported]:
    """Return the servers as those of another program's file."""
    found: dict[str, dict[str, Any]] = {}
    for one in servers:
        given = one.model_dump(by_alias=True, exclude_none=True)
        pairs = {key: {pair["name"]: pair["value"] for pair in given.get(key) or ()} for key in ("env", "headers")}
        known = {key: given[key] for key in ("command", "args", "url", "type") if key in given}
        found[one.name] = known | {key: value for key, value in pairs.items() if value}
    return mcp_import.read(json.dumps({"mcpServers": found}))


async def _one(access: Access, editor: Client, session_id: str, one: Imported) -> str | None:
    if one.refusal is not None:
        return f"The editor's MCP server {one.id} is not used: {one.refusal}."
    try:
        await access.send(requests.get_definition(_KIND, one.id))
        return None
    except NotFound:
        pass
    except KheishError as error:
        return f"The editor's MCP server {one.id} is not used: {error.detail}"
    if not await _agrees(editor, session_id, one):
        return f"The editor's MCP server {one.id} is not added."
    try:
        for slot, value in one.secrets.items():
            await access.send(requests.put_secret(slot, value, f"for the MCP server {one.id}", if_none_match="*"))
        await access.send(requests.put_definition(_KIND, one.id, one.file, if_none_match="*"))
    except KheishError as error:
        return f"The editor's MCP server {one.id} could not be added: {error.detail}"
    return f"The MCP server {one.id} was added ({_KIND}/{one.id}.yaml)."


async def _agrees(editor: Client, session_id: str, one: Imported) -> bool:
    if "command" in one.file:
        what = f"a command that runs unconfined: {shlex.join([one.file['command'], *one.file['args']])}"
    else:
        what = str(one.file["url"])
    shown = ToolCallUpdate(
        tool_call_id=f"mcp-{one.id}",
        title=one_line(f"Add the MCP server {one.id} to Kheish, for all sessions: {what}"),
        status="pending",
        raw_input={"server": one.id, **one.file},
    )
    answer = await editor.request_permission(session_id=session_id, tool_call=shown, options=list(_OPTIONS))
    return isinstance(answer.outcome, AllowedOutcome) and answer.outcome.option_id == "allow"
