"""A daemon with two workers: phases of a Flow on both, results merged, and what people see of the machines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, bash, until
from tests.support.machines import Machines
from tests.support.released import release

COMMANDS = ("echo *", "cat *", "touch *", "sleep *", "env")
#: two phases on different machines, and one here that needs both results
PLAYBOOK: dict[str, Any] = {
    "title": "On two machines",
    "objective": "Each part is built where it belongs.",
    "roles": {name: {"purpose": "Builds.", "route": name} for name in ("one", "two", "join")},
    "phases": [
        {"id": "first", "instructions": "x", "role": "one", "worker": {"labels": ["linux", "big"]}},
        {"id": "second", "instructions": "x", "role": "two", "worker": "small", "needs": ["first"]},
        {"id": "join", "instructions": "x", "role": "join", "needs": ["second"]},
    ],
}
ROUTES: dict[str, Any] = {
    "one": [bash("cat given.txt > first.txt && echo $KHEISH_TEST_HOST $HOME > where.txt"), {"text": "first"}],
    "two": [bash("cat first.txt > second.txt && echo two >> second.txt"), {"text": "second"}],
    "cut": [bash("touch begun; sleep 60"), {"text": "cut"}],
    "join": [bash("cat first.txt second.txt"), {"text": "{{last_result}}"}],
}


def worker(address: str, *labels: str, **more: Any) -> dict[str, Any]:
    return {"carrier": "ssh", "address": address, "labels": list(labels), "sandbox": "off", **more}


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Machines:
    return Machines(tmp_path_factory.mktemp("machines"))


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, machines: Machines) -> Iterator[Daemon]:
    rules = [{"tool": "bash", "match": one, "decision": "allow"} for one in COMMANDS]
    with Daemon.fresh(
        tmp_path_factory.mktemp("workers"),
        permissions={"mode": "default", "rules": [*rules, {"tool": "*", "decision": "allow"}]},
        routes=ROUTES,
        config={"default_route": "one"},
        settings=machines.environment,
    ) as made:
        made.write("workers/large.yaml", worker("me@large", "linux", "big"))
        made.write("workers/small.yaml", worker("small", "linux"))
        until(lambda: len(made.client.workers.list()["items"]) == 2)
        yield made


def test_a_flow_whose_phases_run_on_two_workers(daemon: Daemon, machines: Machines) -> None:
    (daemon.workspace / "given.txt").write_text("given\n")
    release(daemon, "both", PLAYBOOK)
    flow_id = daemon.client.flows.start("both")["flow_id"]

    def ended() -> Any:
        found = daemon.client.flows.get(flow_id)
        return found if found["status"] in ("succeeded", "failed") else None

    flow = until(ended, what="the Flow")
    assert flow["status"] == "succeeded", flow
    assert (daemon.workspace / "second.txt").read_text() == "given\ntwo\n"
    assert machines.workspaces("large") and machines.workspaces("small")
    assert (daemon.workspace / "where.txt").exists()
    journal = daemon.client.sessions.journal(flow["session_id"], limit=200)["items"]
    placed = [one["data"]["worker"] for one in journal if one["kind"] == "run.workspace_placed"]
    back = [one["data"]["paths"] for one in journal if one["kind"] == "run.workspace_returned"]
    assert placed == ["large", "small"] and back == [["first.txt", "where.txt"], ["second.txt"]]


def test_what_people_see_of_the_machines(daemon: Daemon, machines: Machines) -> None:
    assert daemon.client.workers.test("large")["ok"]
    shown = {one["id"]: one for one in daemon.client.workers.list()["items"]}["large"]
    assert shown["state"] == "connected" and shown["boot_id"] and abs(shown["clock_skew_ms"]) < 60_000
    checks = {one["name"]: one for one in daemon.client.workers.doctor("large")["checks"]}
    assert sorted(checks) == ["clock", "connection", "git", "sandbox", "space", "throughput", "version"]
    assert checks["git"]["verdict"] == checks["connection"]["verdict"] == checks["version"]["verdict"] == "ok"
    assert 'kheish_worker_connected{worker="large"} 1' in daemon.client.metrics()
    listed = daemon.cli("workers", "list")
    assert "large" in listed.stdout and "connected" in listed.stdout
    examined = daemon.cli("workers", "doctor", "large")
    assert "throughput" in examined.stdout, examined


def test_a_session_is_placed_for_good(daemon: Daemon) -> None:
    made = daemon.client.sessions.create("placed", worker={"labels": ["big"]})
    assert made["worker"] == "large"
    assert daemon.client.sessions.create("placed", worker="large")["worker"] == "large"
    refused = daemon.cli("sessions", "create", "other", "--worker", "labels:gpu")
    assert refused.returncode != 0 and "no worker has the labels gpu" in refused.stderr


def test_a_cancelled_run_leaves_its_changes_here_and_an_ended_session_no_copy(
    daemon: Daemon, machines: Machines, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    daemon.client.sessions.create("cut", route="cut", worker="small", workspace=str(own))
    before = machines.workspaces("small")
    run = daemon.client.runs.start("cut", "go").run_id

    def begun() -> list[Path]:
        return [one for one in machines.workspaces("small") if one not in before and (one / "begun").exists()]

    (copy,) = until(begun, what="the command")
    daemon.client.runs.cancel(run)
    until((own / "begun").exists, what="its changes are here")
    daemon.restart()
    daemon.client.workers.test("small")
    daemon.client.sessions.end("cut")
    until(lambda: not copy.exists(), what="the copy is removed")
    daemon.client.sessions.create("cut-2", worker="small", workspace=str(own))
    kept = (daemon.root / "workers/small.yaml").read_text()
    removed = daemon.cli("workers", "remove", "small")
    assert removed.returncode == 0 and "Open sessions" in removed.stderr, removed
    until(lambda: "worker_removed" in str(daemon.client.problems()), what="the problem")
    (daemon.root / "workers/small.yaml").write_text(kept)
    until(lambda: "worker_removed" not in str(daemon.client.problems()), 30, what="the problem has gone")


def test_nothing_of_the_daemons_environment_reaches_a_worker(daemon: Daemon, machines: Machines) -> None:
    found = "".join(path.read_text(errors="replace") for path in machines.homes.rglob("*") if path.is_file())
    assert Path(daemon.root / ".kheish").exists() and "KHEISH_TOKEN" not in found
