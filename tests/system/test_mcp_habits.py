"""MCP servers with bad habits beside a good one: real processes of a stand-in server, behind a real daemon."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from kheish.errors import FetchFailed
from tests.support.daemon import Daemon, until
from tests.system.test_mcp import ALLOWED, alive, calls, pids, put, server


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon.fresh(tmp_path_factory.mktemp("habits"), permissions=ALLOWED) as daemon:
        put(daemon, "good", server(tmp_path_factory.mktemp("good")))
        yield daemon


def memory(daemon: Daemon) -> int:
    """The bytes of memory that the daemon has had at most."""
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) * 1024


def echo(daemon: Daemon, id: str = "good") -> str:
    return str(daemon.client.mcp.call_tool(id, "echo", arguments={"text": "on"})["content"])


def test_a_line_of_60_mb_is_refused_before_it_fills_the_memory(daemon: Daemon, tmp_path: Path) -> None:
    put(daemon, "floods", server(tmp_path, "banner", "bad"))
    assert echo(daemon, "floods") == echo(daemon) == "echo: on"
    before = memory(daemon)
    with pytest.raises(FetchFailed, match="max_message"):
        daemon.client.mcp.call_tool("floods", "flood")
    assert memory(daemon) - before < 30_000_000
    assert echo(daemon) == echo(daemon, "floods") == "echo: on"


def test_thousands_of_tools_with_long_names_are_found_by_a_search(daemon: Daemon, tmp_path: Path) -> None:
    put(daemon, "crowd", server(tmp_path, "thousands"))
    tools = daemon.client.mcp.connect_server("crowd")["tools"]
    usable = {one["true_name"]: one["name"] for one in tools if one["problem"] is None}
    assert len(usable) > 500 and len(set(usable.values())) == len(usable), "shortened names differ"
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in usable.values())
    name = usable[f"mcp__crowd__extra_42_{'x' * 60}"]
    search = {"tool_calls": [{"name": "tool_search", "arguments": {"query": "extra_42"}}]}
    daemon.http(
        "PUT", "/v1/routes/crowd", {"driver": "scripted", "script": {"turns": [search, *calls(name, text="x")]}}
    )
    daemon.client.sessions.create("crowd", route="crowd")
    run = daemon.client.runs.start("crowd", "go").wait(90)
    assert str(run.output).endswith(": x"), run.data
    daemon.client.mcp.delete("crowd")
    assert echo(daemon) == "echo: on"


def test_a_server_of_a_version_that_does_not_exist_is_left_alone(daemon: Daemon, tmp_path: Path) -> None:
    put(daemon, "future", server(tmp_path, "future"))
    found = daemon.client.mcp.connect_server("future")
    assert found["state"] == "failing" and "2031-01-01" in found["last_error"]
    assert echo(daemon) == "echo: on"


def test_a_server_that_heeds_no_signal_is_ended_with_its_children(daemon: Daemon, tmp_path: Path) -> None:
    put(daemon, "deaf", server(tmp_path, "deaf"))
    daemon.client.mcp.call_tool("deaf", "spawn")
    until(lambda: len(pids(tmp_path)) == 2, what="the server has a child in a session of its own")
    daemon.client.mcp.delete("deaf")
    until(lambda: not any(map(alive, pids(tmp_path))), what="both have ended")
    assert echo(daemon) == "echo: on"
