"""Clients of the daemon's own MCP server: the official SDK's, over HTTP and stdio, and requests of one message."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import httpx2
import mcp_types as types
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from tests.support.daemon import Daemon

MODERN = "2026-07-28"
TASKS = "io.modelcontextprotocol/tasks"
Fill = Callable[[types.ElicitRequestFormParams], Mapping[str, Any] | None]


def allows(params: types.ElicitRequestFormParams) -> Mapping[str, Any] | None:
    """A user who allows every call, and chooses the first option of every question."""
    content: dict[str, Any] = {}
    for name, field_ in params.requested_schema["properties"].items():
        values = field_.get("enum") or [one["const"] for one in field_.get("oneOf", [])]
        if values:
            content[name] = values[0]
    return content


@dataclass
class User:
    """The user of a client: `fill` returns what is written into a form, or None for a form that is declined."""

    fill: Fill = allows
    forms: list[Any] = field(default_factory=list)

    async def __call__(self, context: Any, params: Any) -> types.ElicitResult:
        self.forms.append(params)
        content = self.fill(params)
        return types.ElicitResult(action="decline") if content is None else types.ElicitResult(
            action="accept", content=dict(content)
        )  # fmt: skip


@asynccontextmanager
async def over_http(
    daemon: Daemon, mode: str = "auto", user: Any = None, token: str = "", heard: Any = None
) -> AsyncIterator[Client]:
    headers = {"authorization": f"Bearer {token or daemon.token}"}
    async with httpx2.AsyncClient(headers=headers, timeout=90, trust_env=False) as http:
        transport = streamable_http_client(f"{daemon.url}/mcp", http_client=http)
        async with Client(transport, mode=mode, elicitation_callback=user, message_handler=heard) as client:
            yield client


@asynccontextmanager
async def over_stdio(daemon: Daemon, mode: str = "auto", user: Any = None, heard: Any = None) -> AsyncIterator[Client]:
    words = ["-m", "kheish.cli.main", "--state-root", str(daemon.root), "mcp", "serve"]
    server = StdioServerParameters(command=sys.executable, args=words, env=daemon.environment())
    async with Client(server, mode=mode, elicitation_callback=user, message_handler=heard) as client:
        yield client


async def tool(client: Client, name: str, **arguments: Any) -> dict[str, Any]:
    """The result of a tool that succeeds."""
    result = await client.call_tool(name, arguments)
    assert not result.is_error, result
    return dict(result.structured_content)


def modern(
    daemon: Daemon, method: str, params: Mapping[str, Any], *, token: str = "", tasks: bool = False, forms: bool = True
) -> Any:
    """The answer to one request of the version without handshake: its `result` or `error`."""
    capabilities: dict[str, Any] = {"elicitation": {"form": {}}} if forms else {}
    if tasks:
        capabilities["extensions"] = {TASKS: {}}
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": capabilities,
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    }
    headers = {"accept": "application/json, text/event-stream", "mcp-protocol-version": MODERN, "mcp-method": method}
    if name := params.get("name") or params.get("taskId") or params.get("uri"):
        headers["mcp-name"] = str(name)
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
    return answered(post(daemon, body, headers, token))


def post(daemon: Daemon, body: Any, headers: Mapping[str, str], token: str = "") -> httpx.Response:
    full = {"authorization": f"Bearer {token or daemon.token}", **headers}
    return httpx.post(f"{daemon.url}/mcp", json=body, headers=full, timeout=90, trust_env=False, verify=False)


def answered(response: httpx.Response) -> Any:
    """The message of an answer, whether it came as JSON or as a stream."""
    text = response.text
    if response.headers.get("content-type", "").startswith("text/event-stream"):
        text = [line for line in text.splitlines() if line.startswith("data:")][-1].removeprefix("data:")
    return json.loads(text)


def token(daemon: Daemon, name: str, role: str, **limits: Any) -> str:
    return str(daemon.client.tokens.create(name, role, **limits)["token"])
