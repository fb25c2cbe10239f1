"""Lists of servers that are read while their file changes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from kheish.domain.definitions import KINDS
from kheish.domain.mcp.server import McpServer
from kheish.runtime.mcp import servers as module
from kheish.runtime.mcp.connection import Listed
from kheish.runtime.mcp.servers import Servers


async def test_a_list_of_a_closed_connection_replaces_no_newer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = (
        SimpleNamespace(value=McpServer(command=name, sandbox="off"), digest=name, path=KINDS["mcp"].path("one"))
        for name in "ab"
    )
    files: dict[str, Any] = {"one": old}
    state = SimpleNamespace(definitions=SimpleNamespace(by_kind={"mcp": files}))
    reports = SimpleNamespace(add=lambda *_, **__: None, clear=lambda *_: None)
    around: Any = SimpleNamespace(state=state, reports=reports)
    servers = Servers(around, {}, {})
    servers.calling = lambda _: None  # type: ignore[assignment, return-value]

    async def close() -> None:
        """Close the connection."""

    first, second = (SimpleNamespace(remembered=None, close=close) for _ in range(2))
    lists = Listed(tools=[], left_out=(), has_resources=False, has_prompts=False, instructions=None)

    async def build(*_: Any) -> tuple[()]:
        if files["one"] is old:  # the file changes while the old list is checked
            files["one"] = new
            servers.definition_changed("one")
            servers._connections["one", None] = second  # type: ignore[assignment]
            await servers._listed(("one", None), new, second, lists)  # type: ignore[arg-type]
        return ()

    monkeypatch.setattr(module.building, "build", build)
    servers._connections["one", None] = first  # type: ignore[assignment]
    await servers._listed(("one", None), old, first, lists)  # type: ignore[arg-type]
    await servers.close()

    assert servers._known["one", None].digest == "b"
