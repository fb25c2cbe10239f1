"""Background commands: they outlive call, run and daemon, and their end is journaled once."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.daemon import Daemon, allow, call, until
from tests.system.conftest import COMMANDS, Fresh

RULES = {
    "mode": "default",
    "rules": [
        *({"tool": "shell_task_start", "match": one, "decision": "allow"} for one in COMMANDS),
        {"tool": "task_stop", "decision": "allow"},
        *allow(*COMMANDS)["rules"],
    ],
}
SPEAK = "echo begun; sleep 1.5; echo done {{input}} >> ledger.txt; echo over"


def start(command: str, **more: Any) -> dict[str, Any]:
    return {"tool_calls": [call("shell_task_start", command=command, **more)]}


def routes(**scripts: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: [*turns, {"text": "{{last_result}}"}] for name, turns in scripts.items()}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that nobody kills; tests have sessions of their own names."""
    scripts = routes(
        speaks=[start(SPEAK, description="say two things")],
        starts=[start("printf 'one\\ntwo\\n'; sleep 60")],
        sleeps=[start("sleep 60")],
        asks=[start("id -u")],
    )
    with Daemon.fresh(tmp_path_factory.mktemp("tasks"), permissions=allow(*COMMANDS), routes=scripts) as daemon:
        yield daemon


def tasks(daemon: Daemon, session: str) -> list[dict[str, Any]]:
    return [dict(one) for one in daemon.client.sessions.tasks(session)["items"]]


def ended(daemon: Daemon, session: str) -> dict[str, Any]:
    """The session's one task when it is over."""
    return until(lambda: next((one for one in tasks(daemon, session) if one["ended_at"]), None), what="the end")


def go(daemon: Daemon, session: str, route: str, **more: Any) -> Any:
    daemon.client.sessions.create(session, route=route, permission_rules=RULES["rules"])
    return daemon.client.runs.start(session, "x", wait="20s", **more)


def test_a_background_command_goes_on_when_its_run_has_ended(served: Daemon) -> None:
    run = go(served, "outlives", "speaks")

    assert run.status == "completed" and "task_" in run.output, run.data
    (task,) = tasks(served, "outlives")
    assert (task["status"], task["title"], task["output"]) == ("in_progress", "say two things", None)
    task = ended(served, "outlives")
    assert (task["status"], task["shell"]["exit_status"], task["output"]) == ("completed", 0, "begun\nover\n")
    until(lambda: not served.jobs() and not list((served.root / ".git/kheish/jobs").iterdir()), what="its folder goes")
    served.quiet()
    record = next(served.root.glob(f"sessions/*/outlives/tasks/{task['task_id']}.yaml")).read_text()
    assert "status: completed" in record and "begun" in record
    listed = served.cli("tasks", "list", "outlives")
    assert "completed" in listed.stdout and "say two things" in listed.stdout


@pytest.mark.parametrize("down", [0.0, 2.5])
def test_a_killed_daemon_finds_it_again_or_learns_its_end(fresh: Fresh, down: float) -> None:
    daemon = fresh(routes=routes(speaks=[start(SPEAK)]))
    go(daemon, "s", "speaks")

    daemon.kill9()
    if down:
        until(lambda: not daemon.jobs(), what="the command ended while no daemon ran")
    daemon.start()

    task = ended(daemon, "s")
    assert (task["status"], task["output"]) == ("completed", "begun\nover\n")
    assert (daemon.workspace / "ledger.txt").read_text() == "done x\n"
    daemon.restart()
    assert daemon.kinds("s").count("task.ended") == 1


def test_output_is_read_while_it_runs_and_it_can_be_stopped(served: Daemon) -> None:
    go(served, "read", "starts")
    id = tasks(served, "read")[0]["task_id"]
    turns = [
        {"tool_calls": [call("task_output", task_id=id, offset=0, wait=20)]},
        {"tool_calls": [call("task_output", task_id=id, tail=1)]},
        {"tool_calls": [call("task_output", task_id="task_other")]},
        {"tool_calls": [call("task_stop", task_id=id)]},
        {"text": "stopped"},
    ]
    served.client.definitions("routes").put("reads", {"driver": "scripted", "script": {"turns": turns}})

    assert served.client.runs.start("read", "go", route="reads", wait="30s").output == "stopped"

    results = [one["data"]["content"] for one in served.journal("read") if one["kind"] == "tool.finished"]
    assert results[1].startswith(f"[{id}: running; bytes 0 to ") and "one\n" in results[1]
    assert results[2].endswith("\ntwo") and "one" not in results[2].partition("\n")[2]
    assert "There is no background command 'task_other'" in results[3] and id in results[3]
    task = ended(served, "read")
    assert (task["status"], task["shell"]["stopped"]) == ("cancelled", True)
    until(lambda: not served.jobs(), what="its processes are gone")


def test_a_session_does_not_end_over_its_commands_unless_forced(served: Daemon) -> None:
    go(served, "ends", "sleeps")

    refused = served.http("POST", "/v1/sessions/ends/end", {})
    assert (refused.status_code, refused.json()["code"]) == (409, "session_not_idle")
    assert tasks(served, "ends")[0]["task_id"] in refused.json()["detail"]
    served.client.sessions.end("ends", force=True)

    assert ended(served, "ends")["status"] == "cancelled"
    until(lambda: not served.jobs(), what="its processes are gone")


def test_starting_one_asks_as_bash_does(served: Daemon) -> None:
    run = go(served, "asked", "asks")

    assert run.status == "waiting_for_approval"
    approval = served.client.approvals.get(run.data["pending_approvals"][0])
    assert (approval["tool"], approval["arguments"]["command"]) == ("shell_task_start", "id -u")
    served.client.approvals.allow(approval["approval_id"])
    assert served.run(run.run_id)["status"] == "completed"
    assert ended(served, "asked")["output"].strip().isdigit()


def test_kills_at_any_moment_start_none_twice_and_end_each_once(fresh: Fresh) -> None:
    chance = random.Random(11)
    turns = [start("echo {{input}} >> ledger.txt; sleep 0.3; echo {{input}}")]
    daemon = fresh(routes=routes(notes=turns))
    for number in range(6):
        for part in range(2):
            session = f"s{number}-{part}"
            daemon.client.sessions.create(session, route="notes", permission_rules=RULES["rules"])
            daemon.client.runs.start(session, session)
        time.sleep(chance.random() * 0.5)
        daemon.restart()

    names = [f"s{number}-{part}" for number in range(6) for part in range(2)]
    for name in names:
        task = ended(daemon, name)
        assert (task["status"], task["output"]) == ("completed", f"{name}\n")
        assert daemon.kinds(name).count("task.created") == daemon.kinds(name).count("task.ended") == 1
    assert sorted((daemon.workspace / "ledger.txt").read_text().split()) == sorted(names)
    until(lambda: not list((daemon.root / ".git/kheish/jobs").iterdir()), what="no folder is left")


def test_a_killed_runner_leaves_an_end_that_nobody_knows(fresh: Fresh) -> None:
    daemon = fresh(routes=routes(sleeps=[start("echo begun; sleep 60")]))
    go(daemon, "s", "sleeps")
    jobs = daemon.root / ".git" / "kheish" / "jobs"
    until(lambda: list(jobs.glob("*/claim")), what="the command, begun: an earlier kill would only start it again")
    (runner,) = until(lambda: daemon.jobs() if len(daemon.jobs()) == 1 else None, what="the runner, past its fork")

    os.kill(runner, signal.SIGKILL)

    task = ended(daemon, "s")
    assert (task["status"], task["shell"]["lost"]) == ("failed", True)
    assert "may or may not have done its work" in task["output"]
