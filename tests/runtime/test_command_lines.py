"""Command lines that rules allow run as the rules read them; what a person or a mode allows runs as it is written."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kheish.config import Config
from kheish.daemon.inspector import Inspector
from kheish.daemon.workspaces import Workspaces
from kheish.domain import approvals
from kheish.domain.approvals import Approval
from kheish.domain.runs import Status
from tests.runtime.harness import Live, call

DONE = {"text": "{{last_result}}"}
RULES = [
    {"tool": "bash", "match": match, "decision": "allow"}
    for match in ("git status*", "printf *", "echo *", "cat *", "cd *", "ls*")
]


def permit(it: Live, *rules: dict[str, Any], mode: str = "default") -> None:
    it.allow(rules=[*RULES, *rules], mode=mode)


@pytest.mark.parametrize(
    ("command", "runs", "output"),
    [
        ("printf %s, a b", None, "a,b,"),
        ('echo  it\\\'s "$HOME" | cat # x', "echo 'it'\"'\"'s' \"$HOME\" | cat", None),
        ("printf %s, *", None, "b,docs,"),
        ("cd docs\nls", "cd docs; ls", "a"),
        ("echo x > docs/b && cat docs/b", "echo x >docs/b && cat docs/b", "x"),
    ],
)
async def test_a_line_that_patterns_allow_runs_as_it_was_read(
    it: Live, command: str, runs: str | None, output: str | None
) -> None:
    (it.workspace / "docs").mkdir()
    (it.workspace / "docs/a").touch()
    (it.workspace / "b").touch()
    (it.workspace / "-v").touch()
    permit(it, {"tool": "write_file", "match": "docs/**", "decision": "allow"})
    it.script(call("bash", command=command), DONE)

    run = await it.ask()

    [decided], [started] = it.data("permission.decided"), it.data("tool.started")
    assert (run.status, decided["decision"], decided["as_read"]) == (Status.COMPLETED, "allow", True)
    assert started["arguments"]["command"] == command and started["note"].get("runs") == runs
    assert output is None or run.output == output


@pytest.mark.parametrize("tool", ["bash", "shell_task_start"])
async def test_what_a_person_allows_runs_as_it_was_shown(it: Live, tool: str) -> None:
    permit(it)
    it.script(call(tool, command="for x in 1 2; do echo $x; done > f"), DONE)
    run = await it.ask()
    [asked] = it.state.loaded(Approval)
    assert asked.arguments["command"].startswith("for x") and ("not plain" in asked.why) is (tool == "bash")

    approvals.resolve(it.state, asked.approval_id, "allow", by="ann", via="api")
    await it.rest(run.run_id)
    await it.until(lambda: (it.workspace / "f").exists() and (it.workspace / "f").read_text() == "1\n2\n")

    assert "runs" not in it.data("tool.started")[0]["note"]


@pytest.mark.parametrize("target", ["docs/l", "g/config", "docs/s/y", "docs/../docs/l"])
@pytest.mark.parametrize("mode", ["default", "accept_edits"])
async def test_a_redirection_through_a_link_is_not_allowed(it: Live, target: str, mode: str) -> None:
    for folder in ("docs", "src", ".git"):
        (it.workspace / folder).mkdir()
    for link, leads in (("docs/l", "../src/y"), ("docs/s", "../src"), ("g", ".git")):
        (it.workspace / link).symlink_to(leads)
    permit(it, {"tool": "write_file", "match": "**", "decision": "allow"}, mode=mode)
    it.script(call("bash", command=f"echo x > {target}"), DONE)

    run = await it.ask()

    assert run.status is Status.WAITING_FOR_APPROVAL
    assert "through a link" in it.data("permission.decided")[0]["why"]


async def test_a_denied_folder_is_denied_through_a_link(it: Live) -> None:
    (it.workspace / "src").mkdir()
    (it.workspace / "l").symlink_to("src/y")
    denied = {"tool": "write_file", "match": "src/**", "decision": "deny"}
    it.allow(rules=[{"tool": "bash", "decision": "allow"}, denied])
    it.script(call("bash", command="echo x > l"), call("bash", command="echo x > m"), DONE)

    await it.ask()

    assert [one["decision"] for one in it.data("permission.decided")] == ["deny", "allow"]
    assert not (it.workspace / "src/y").exists() and (it.workspace / "m").exists()


async def test_a_check_tells_what_would_run_in_bounded_time(it: Live) -> None:
    permit(it)
    inspector = Inspector(it.state, it.agent, Workspaces(it.state.root, it.state.hidden, Config, it.workspace))

    allowed = await inspector.check("bash", {"command": "echo  'a'  # b"}, None)
    asked = await inspector.check("bash", {"command": "echo $(ls)"}, None)
    async with asyncio.timeout(10):
        long = await inspector.check("bash", {"command": "echo " + "a|" * 35_000 + "a"}, None)

    assert (allowed["decision"], allowed["runs"]) == ("allow", "echo a")
    assert (asked["decision"], asked["runs"]) == ("ask", None)
    assert (long["decision"], long["runs"]) == ("ask", None) and "longer than" in long["why"]
