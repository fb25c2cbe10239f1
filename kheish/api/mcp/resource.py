"""MCP servers by HTTP: their files with their state and tools, and calls of their tools without an agent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import orjson
from falcon.asgi import Request, Response
from pydantic import Field

from kheish import ids
from kheish.api import definitions
from kheish.api.definitions import Definitions, DefinitionView
from kheish.api.http import media
from kheish.api.http.answer import Answer
from kheish.api.http.bodies import Body
from kheish.api.http.operation import bind, post
from kheish.api.mcp import trusting
from kheish.api.services import Services
from kheish.domain import trusts
from kheish.domain.definitions import KINDS, Definition
from kheish.domain.events import frozen
from kheish.domain.shown import View
from kheish.runtime.mcp import direct

KIND = KINDS["mcp"]


@frozen
class NegotiatedView(View):
    """The protocol that both sides speak."""

    version: str
    era: Literal["legacy", "modern"]
    server: str | None
    """The server's name and version, by its own word."""


@frozen
class McpToolView(View):
    """A tool of a server."""

    name: str
    """The name that models see."""
    true_name: str
    """The name that rules and scopes match: `mcp__<server>__<tool>`."""
    effect: Literal["read", "write", "effect", "coordination"]
    problem: str | None
    """The reason why it is left out, or why its annotations do not count."""


@frozen
class McpServerDetailsView(DefinitionView):
    """An MCP server: the fields of its file, and the following. `tools` has the tools that it lists, instead of the
    file's globs."""

    of_now = True

    state: Literal["idle", "starting", "ready", "failing", "untrusted", "disabled"]
    """idle: it starts when a run needs it."""
    negotiated: NegotiatedView | None
    tools: list[McpToolView]
    """The tools as last listed; empty before its first start."""
    select: list[str]
    """The globs of the file (`tools`)."""
    last_error: str | None
    """The reason why it fails, or does not start."""


class CallTool(Body):
    """A call of a tool without an agent."""

    arguments: dict[str, Any] = Field(default_factory=dict, max_length=1000)
    """The arguments of the tool."""
    session: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """The session whose connection is used, for a server with `per: session`."""


class ConnectServer(Body):
    """A request to start a server."""

    session: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """The session whose connection is started, for a server with `per: session`."""


class ToolAnswer(Answer):
    """The result of a call."""

    server: str
    tool: str
    is_error: bool
    content: str
    """The result as a model gets it."""
    detail: dict[str, Any]
    """Its parts, and structured content."""


class McpFiles(Definitions):
    """The files, each with the state of its server."""

    added = ("state", "negotiated", "select", "last_error")

    async def stored(self, id: str, by: str) -> None:
        found = self._state.definitions.get(KIND.name, id)
        if commands := found.value.commands:
            name = f"{trusting.FOLDER}{id}"
            await trusts.trust(self._state, name, found.digest, by=by, commands=commands, via="api")

    async def _added(self, found: Sequence[Definition]) -> list[dict[str, Any]]:
        return [await self._services.mcp.servers.view(one) for one in found]

    def _without_added(self, raw: bytes, id: str | None) -> bytes:
        """Return JSON without the fields that only answers have; `select` replaces the tools of an answer."""
        kept = super()._without_added(raw, id)
        try:
            given, value = orjson.loads(raw), orjson.loads(kept)
        except (ValueError, RecursionError):
            return kept
        tools = value.get("tools") if isinstance(value, dict) else None
        if not isinstance(tools, list) or not isinstance(given.get("select"), list):
            return kept
        if any(isinstance(one, dict) for one in tools) or not tools:
            value["tools"] = given["select"]
        return orjson.dumps(value)


class McpServers:
    """The resource of the paths below `/v1/mcp/{id}` that other Definitions do not have."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._state = services.state

    async def call_mcp_tool(self, req: Request, resp: Response, id: str, tool: str) -> None:
        """Call a tool by its own name, or the name that models see, on the caller's authority."""
        body, tool = await media.read(req, CallTool), tool.replace("%2F", "/")  # a server may name its tools so
        self._state.definitions.get(KIND.name, ids.check_slug(id, "id"))
        result = await direct.call(
            self._state,
            self._services.mcp.servers,
            id,
            tool,
            body.arguments,
            session_id=body.session,
            by=req.context.principal,
        )
        media.send(resp, _answer(id, tool, result), n=self._state.n)

    async def connect_mcp_server(self, req: Request, resp: Response, id: str) -> None:
        """Start a server, and answer with it when it is ready or has failed."""
        body = await media.read(req, ConnectServer)
        found = self._state.definitions.get(KIND.name, ids.check_slug(id, "id"))
        await direct.connect(self._services.mcp.servers, id, body.session)
        await McpFiles(self._services, KIND).get_definition(req, resp, found.id)


def _answer(id: str, tool: str, result: Any) -> Mapping[str, Any]:
    return {
        "server": id,
        "tool": tool,
        "is_error": result.is_error,
        "content": result.content,
        "detail": dict(result.detail),
    }


ONE = "/v1/mcp/{id}"
OPERATIONS = (
    *definitions.operations(KIND, McpFiles, McpServerDetailsView),
    *bind(
        McpServers,
        post(
            f"{ONE}/connect",
            McpServers.connect_mcp_server,
            "Start an MCP server, and show it when it is ready or has failed.",
            ConnectServer,
            McpServerDetailsView,
            problems=(404, 409),
        ),
        post(
            f"{ONE}/tools/{{tool}}/call",
            McpServers.call_mcp_tool,
            "Call a tool of an MCP server without an agent.",
            CallTool,
            ToolAnswer,
            problems=(404, 409, 502),
        ),
    ),
)
