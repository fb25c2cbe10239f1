"""A run with real tools from its submission to the commit that tells of it."""

from __future__ import annotations

import pytest

from tests.support.daemon import Daemon, bash, call, git
from tests.system.conftest import Fresh

FIX = [
    {"text": "Let me look.", "tool_calls": [call("read_file", path="app.py"), call("grep_search", pattern="retrun")]},
    {"tool_calls": [call("edit_file", path="app.py", old_string="retrun", new_string="return")]},
    bash("cat app.py"),
    {"text": "Fixed: {{last_result}}"},
]


def test_files_are_edited_and_git_tells_the_story(fresh: Fresh) -> None:
    shared = fresh()
    (shared.workspace / "app.py").write_text("def f():\n    retrun 1\n")
    shared.client.definitions("routes").put("fix", {"driver": "scripted", "script": {"turns": FIX}})
    shared.client.sessions.create("fix-it", route="fix", permission_mode="accept_edits")
    shared.quiet()

    run = shared.client.runs.start("fix-it", "mend the typo", wait="20s")

    assert run.status == "completed", run.data
    assert run.output == "Fixed: def f():\n    return 1"
    assert (shared.workspace / "app.py").read_text() == "def f():\n    return 1\n"
    shared.quiet()
    assert 'run completed: fix-it "mend the typo"' in git(shared.root, "log", "--format=%s")
    assert f"Kheish-Run: {run.run_id}" in git(shared.root, "log", "--format=%B")
    assert git(shared.root, "fsck", "--full", "--no-dangling") == ""
    record = next(shared.root.glob(f"sessions/*/fix-it/runs/{run.run_id}.yaml")).read_text()
    assert "status: completed" in record


def test_an_output_contract_gets_its_repairs(shared: Daemon) -> None:
    turns = [{"text": "no JSON"}, {"text": '{"count": "three"}'}, {"text": '{"count": 3}'}]
    shared.client.definitions("routes").put("contract", {"driver": "scripted", "script": {"turns": turns}})
    schema = {"type": "object", "properties": {"count": {"type": "integer"}}, "required": ["count"]}
    shared.client.sessions.create("contract", route="contract", output_contract=schema)

    run = shared.client.runs.start("contract", "count", wait="20s")

    assert (run.status, run.output) == ("completed", '{"count": 3}')
    assert shared.kinds("contract").count("run.nudged") == 2


def test_three_repairs_are_all(shared: Daemon) -> None:
    shared.client.sessions.create("stubborn", route="hello", output_contract={"type": "object"})

    run = shared.client.runs.start("stubborn", "you", wait="20s")

    assert run.status == "failed"
    assert run.data["error"] is not None
    assert run.data["error"]["code"] == "output_contract_unsatisfied"
    assert shared.kinds("stubborn").count("model.responded") == 4


@pytest.mark.demand(14)
def test_a_money_limit_asks_and_a_turn_limit_ends(shared: Daemon) -> None:
    turns = [bash("echo 1"), bash("echo 2"), {"text": "done"}]
    script = {"turns": [{**turn, "usage": {"input_tokens": 100, "output_tokens": 0}} for turn in turns]}
    shared.client.definitions("routes").put("spends", {"driver": "scripted", "script": script})
    shared.client.sessions.create("spends", route="spends")

    asked = shared.client.runs.start("spends", "go", budget={"tokens": 150}, wait="20s")
    ended = shared.client.sessions.create("ends", route="spends") and shared.client.runs.start(
        "ends", "go", budget={"turns": 1}, wait="20s"
    )

    assert asked.status == "waiting_for_approval", asked.data
    approval = shared.client.approvals.get(asked.data["pending_approvals"][0])
    assert (approval["tool"], approval["arguments"]["limit"]) == ("budget", "tokens")
    shared.client.approvals.allow(approval["approval_id"])
    assert shared.run(asked.run_id)["status"] == "completed"
    assert ended.data["error"] is not None and ended.data["error"]["code"] == "limit_exceeded"


def test_pause_starts_nothing_and_resume_goes_on(shared: Daemon) -> None:
    shared.client.sessions.create("paused", route="hello")
    shared.client.pause("hello")

    first = shared.client.runs.start("paused", "a")
    second = shared.client.runs.start("paused", "b")
    other = shared.client.sessions.create("not-paused", route="ledger") and shared.client.runs.start(
        "not-paused", "meanwhile", wait="20s"
    )

    assert other.status == "completed"
    assert [first.refresh().status, second.refresh().data["queue_position"]] == ["queued", 2]
    shared.client.resume("hello")
    assert shared.run(second.run_id)["output"] == "hello b"


def test_cancel_interrupt_and_end(shared: Daemon) -> None:
    """A cancelled run is stopped at once; an interrupted one when the command that it is at has ended."""
    for name, seconds in (("long", 60), ("short", 1)):
        script = {"turns": [bash(f"sleep {seconds}"), {"text": "slept"}]}
        shared.client.definitions("routes").put(name, {"driver": "scripted", "script": script})
    shared.client.sessions.create("halted", route="long")
    first = shared.client.runs.start("halted", "1")
    second = shared.client.runs.start("halted", "2")
    shared.run(first.run_id, "running")

    second.cancel()
    first.cancel()
    third = shared.client.runs.start("halted", "3", route="short")
    shared.run(third.run_id, "running")
    shared.client.sessions.end("halted", force=True)

    assert shared.run(first.run_id)["status"] == "cancelled"
    assert shared.run(second.run_id)["status"] == "cancelled"
    assert shared.run(third.run_id)["status"] == "interrupted"
    refused = shared.http("POST", "/v1/sessions/halted/runs", {"content": "late"})
    assert (refused.status_code, refused.json()["code"]) == (409, "session_ended")


def test_a_parked_run_lets_the_next_go_ahead(shared: Daemon) -> None:
    shared.client.sessions.create("parks", route="asks", while_waiting="park")
    parked = shared.client.runs.start("parks", "first", wait="20s")
    ahead = shared.client.runs.start("parks", "second", route="hello", wait="20s")

    assert parked.status == "waiting_for_approval"
    assert ahead.output == "hello second"
    shared.client.approvals.deny(parked.data["pending_approvals"][0], reason="no")
    assert "no" in (shared.run(parked.run_id)["output"] or "")


@pytest.mark.demand(15)
def test_the_daemons_secrets_are_not_visible_to_commands(shared: Daemon) -> None:
    script = {"turns": [bash("printenv"), {"text": "{{last_result}}"}]}
    shared.client.definitions("routes").put("env", {"driver": "scripted", "script": script})
    shared.client.sessions.create("env", route="env")

    run = shared.client.runs.start("env", "show", wait="20s")

    assert run.status == "completed", run.data
    assert "PATH=" in (run.output or "")
    for secret in ("sk-very-secret", "hunter2", shared.token):
        assert secret not in (run.output or "")
        assert secret not in "".join(map(str, shared.journal("env")))


@pytest.mark.parametrize("path", ["../outside.txt", "{outside}", "link/outside.txt"])
def test_file_tools_stay_in_the_workspace(shared: Daemon, path: str) -> None:
    outside = shared.root.parent / "outside.txt"
    outside.write_text("not yours")
    link = shared.workspace / "link"
    if not link.is_symlink():
        link.symlink_to(shared.root.parent)
    name = f"leaves-{abs(hash(path))}"
    where = path.format(outside=outside)
    turns = [{"tool_calls": [call("read_file", path=where), call("write_file", path=where, content="mine")]}]
    script = {"turns": [*turns, {"text": "{{last_result}}"}]}
    shared.client.definitions("routes").put(name, {"driver": "scripted", "script": script})
    shared.client.sessions.create(name, route=name, permission_rules=[{"tool": "write_file", "decision": "allow"}])

    run = shared.client.runs.start(name, "go", wait="20s")
    for approval in run.data["pending_approvals"]:
        shared.client.approvals.allow(approval)

    assert shared.run(run.run_id)["status"] == "completed"
    assert outside.read_text() == "not yours"
    results = [one["data"] for one in shared.journal(name) if one["kind"] == "tool.finished"]
    assert [one["is_error"] for one in results] == [True, True]
    assert not any("not yours" in str(one["content"]) for one in results)
