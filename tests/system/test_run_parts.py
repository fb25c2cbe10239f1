"""Completion requirements, remembered answers, patches and taint, from outside: HTTP, CLI, a real kill."""

from __future__ import annotations

import pytest

from tests.support.daemon import bash, call, until
from tests.system.conftest import Fresh

DONE = {"text": "done"}


@pytest.mark.demand(2)
def test_a_check_goes_on_through_a_kill_and_runs_once(fresh: Fresh) -> None:
    daemon = fresh(routes={"quick": [DONE]})
    daemon.client.sessions.create("s", route="quick")
    command = "echo one >> checked; while [ ! -e go ]; do sleep 0.02; done"
    body = {"content": "go", "completion": ["it is well", {"command": command}]}
    run = daemon.http("POST", "/v1/sessions/s/runs", body).json()["run_id"]
    until((daemon.workspace / "checked").exists, what="the check runs")

    daemon.restart()
    (daemon.workspace / "go").touch()

    done = daemon.run(run)
    assert done["status"] == "completed" and done["settings"]["completion"] == body["completion"]
    assert (daemon.workspace / "checked").read_text() == "one\n"
    kinds = daemon.kinds("s")
    assert [kinds.count(kind) for kind in ("completion.started", "tool.started", "completion.checked")] == [1, 1, 1]


def test_what_is_unmet_fails_after_two_reminders_and_nonsense_is_refused(fresh: Fresh) -> None:
    daemon = fresh(routes={"quick": [DONE]})
    daemon.client.sessions.create("s", route="quick")
    refused = daemon.http("POST", "/v1/sessions/s/runs", {"content": "go", "completion": [{"comand": "x"}]})
    assert (refused.status_code, refused.json()["errors"][0]["path"]) == (400, "/completion/0")
    body = {"content": "go", "completion": [{"workspace_file": "report.md"}]}
    done = daemon.run(daemon.http("POST", "/v1/sessions/s/runs", body).json()["run_id"])
    assert (done["status"], done["error"]["code"]) == ("failed", "completion_unsatisfied")
    assert daemon.kinds("s").count("model.requested") == 3


def test_an_answer_is_remembered_as_a_pattern_by_the_command_line(fresh: Fresh) -> None:
    turns = [bash("ls -l"), bash("ls -a"), bash("id -u"), DONE]
    daemon = fresh(routes={"looks": turns}, permissions={"mode": "default"})
    daemon.client.sessions.create("s", route="looks")
    run = daemon.client.runs.start("s", "go").run_id
    [first] = daemon.run(run, "waiting_for_approval")["pending_approvals"]
    shown = daemon.cli("approvals", "show", first)
    assert "--remember pattern: every command `ls *`" in shown.stdout
    done = daemon.cli("approvals", "allow", first, "--remember", "pattern")
    assert done.returncode == 0, done.stderr

    asked = until(lambda: list(daemon.client.approvals.list(status="pending")["items"]), what="the next")
    assert [one["arguments"] for one in asked] == [{"command": "id -u"}], "`ls -a` did not ask"
    [rule] = daemon.http("GET", "/v1/sessions/s").json()["permission_rules"]
    assert (rule["match"], rule["decision"]) == ("ls *", "allow")


def test_a_patch_of_several_files_is_asked_about_and_applied(fresh: Fresh) -> None:
    patch = "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-x\n+y\n--- /dev/null\n+++ b/new/g\n@@ -0,0 +1 @@\n+z\n"
    daemon = fresh(routes={"patches": [{"tool_calls": [call("apply_patch", patch=patch)]}, DONE]}, permissions={})
    (daemon.workspace / "f").write_text("x\n")
    daemon.client.sessions.create("s", route="patches")
    run = daemon.client.runs.start("s", "go").run_id
    [asked] = daemon.run(run, "waiting_for_approval")["pending_approvals"]
    daemon.client.approvals.allow(asked)
    assert daemon.run(run)["status"] == "completed"
    assert (daemon.workspace / "f").read_text() + (daemon.workspace / "new/g").read_text() == "y\nz\n"


def test_a_fork_is_as_tainted_as_the_conversation_that_it_begins_with(fresh: Fresh) -> None:
    rules = {"rules": [{"tool": "bash", "decision": "allow"}], "taint": "ask"}
    daemon = fresh(routes={"twice": [bash("echo one"), DONE], "calm": [DONE]}, permissions=rules)
    for name in ("twice", "calm"):
        daemon.client.sessions.create(name, route=name)
        daemon.run(daemon.client.runs.start(name, "go").run_id)
        daemon.http("POST", f"/v1/sessions/{name}/fork", {"session_id": f"{name}-1"})
        daemon.http("POST", f"/v1/sessions/{name}-1/fork", {"session_id": f"{name}-2"})
    tainted = {one["session_id"]: one["tainted_by"] for one in daemon.http("GET", "/v1/sessions").json()["items"]}
    assert {name for name, by in tainted.items() if by == "bash"} == {"twice", "twice-1", "twice-2"}
    assert {name for name, by in tainted.items() if by is None} == {"calm", "calm-1", "calm-2"}
    run = daemon.client.runs.start("twice-2", "go").run_id
    assert daemon.run(run, "waiting_for_approval")["status"] == "waiting_for_approval"
