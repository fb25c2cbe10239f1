"""`approvals.required: 2`: nothing that one person leaves lifts an ask. And a check judges like a new session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kheish.config import Config
from kheish.daemon.inspector import Inspector
from kheish.daemon.workspaces import Workspaces
from kheish.domain.approvals import Approval
from kheish.domain.permissions.rules import PermissionsFile, effective_mode, scopes
from kheish.domain.runs import Status
from tests.runtime.conftest import it  # noqa: F401 - a fixture
from tests.runtime.harness import Live, call, living

DONE = {"text": "done"}


def require(live: Live, required: int, **more: Any) -> None:
    live.state.definitions.permissions = PermissionsFile.model_validate({"approvals": {"required": required}, **more})


@pytest.mark.found("S14")
@pytest.mark.parametrize(("required", "status"), [(1, Status.COMPLETED), (2, Status.WAITING_FOR_APPROVAL)])
async def test_a_rule_that_one_left_in_the_session(required: int, status: Status, tmp_path: Path) -> None:
    async with living(tmp_path, permission_rules=[{"tool": "bash", "decision": "allow"}]) as live:
        require(live, required)
        live.script(call("bash", command="echo hi"), DONE)
        assert (await live.ask()).status is status


@pytest.mark.found("S14")
@pytest.mark.parametrize(("required", "status"), [(1, Status.COMPLETED), (2, Status.WAITING_FOR_APPROVAL)])
async def test_a_command_that_one_asked_to_check_completion_by(it: Live, required: int, status: Status) -> None:  # noqa: F811
    require(it, required)
    it.script(DONE)
    run = await it.ask(completion=({"command": "true"},))
    assert run.status is status
    assert [one.required for one in it.state.loaded(Approval)] == ([2] if required == 2 else [])


@pytest.mark.parametrize(
    ("file", "session", "counts"),
    [
        ("default", "accept_edits", "default"),
        ("default", "bypass", "default"),
        ("accept_edits", "bypass", "accept_edits"),
        ("accept_edits", "accept_edits", "accept_edits"),
        ("bypass", "bypass", "bypass"),
        ("default", "plan", "plan"),
        ("default", "dont_ask", "dont_ask"),
        ("plan", "accept_edits", "default"),
    ],
)
def test_a_freer_mode_that_one_chose(file: Any, session: Any, counts: str) -> None:
    two = PermissionsFile.model_validate({"mode": file, "approvals": {"required": 2}})
    assert effective_mode(two, session) == counts
    assert effective_mode(PermissionsFile(mode=file), session) == session


def test_rules_that_ask_or_deny_still_count_and_keep_their_numbers() -> None:
    rules = [{"tool": "a", "decision": "allow"}, {"tool": "b", "decision": "deny"}]
    two = PermissionsFile.model_validate({"approvals": {"required": 2}, "rules": [{"tool": "c", "decision": "allow"}]})
    [(_, of_file), (_, of_session)] = scopes(two, [*rules, {"tool": "d", "decision": "ask", "network": True}])
    assert [rule.tool for rule in of_file if rule] == ["c"], "an admin's rules stand"
    assert [rule and (rule.tool, rule.network) for rule in of_session] == [None, ("b", False), ("d", False)]


@pytest.mark.found("S18")
async def test_a_check_without_a_session_judges_by_the_workspace_of_a_new_one(
    it: Live,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("elsewhere", "given", "configured"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    config = Config.model_validate({"workspace": str(tmp_path / "configured")})
    given = Workspaces(it.state.root, it.state.hidden, lambda: config, tmp_path / "given")
    configured = Workspaces(it.state.root, it.state.hidden, lambda: config, None)
    assert await given.presumed() == tmp_path / "given"
    assert await configured.presumed() == tmp_path / "configured"
    require(it, 1, rules=[{"tool": "write_file", "match": "docs/**", "decision": "allow"}])
    inspector = Inspector(it.state, it.agent, configured)
    for path, decision in ((tmp_path / "configured/docs/a", "allow"), (tmp_path / "elsewhere/docs/a", "ask")):
        verdict = await inspector.check("write_file", {"path": str(path), "content": ""}, None)
        assert verdict["decision"] == decision
    (tmp_path / "configured/src").mkdir()
    (tmp_path / "configured/docs").symlink_to("src")
    linked = await inspector.check("write_file", {"path": "docs/a", "content": ""}, None)
    assert linked["decision"] == "ask", "links are followed, as in a run"
