"""The shim acts in each of kheish's processes, and the daemon comes back from it; what it records is what happened."""

from __future__ import annotations

import base64
import contextlib
from collections import Counter
from pathlib import Path

import pytest

from kheish.errors import KheishError
from tests.support.daemon import Daemon, allow, bash, until
from tests.support.faults import Fault, Faults

MADE = {
    "permissions": allow("echo *"),
    "routes": {"job": [bash("echo {{input}} >> ledger.txt"), {"text": "done"}]},
    "config": {"recovery": {"ambiguous": "retry"}},
}
#: places in the daemon's helpers that every run of a command passes
HELPERS = (
    Fault("scribe", "write", path="sessions/*.jsonl", armed=True, do="torn", keep=7),
    Fault("worker", "blob", nth=2, armed=True),
    Fault("worker", "tree", armed=True, do="kill-after"),
    Fault("worker", "commit", armed=True, do="kill-after"),
    Fault("worker", "fsync", path=".git/objects/*", armed=True),
    Fault("worker", "reflock", armed=True, do="kill-after"),
    Fault("worker", "ref", armed=True, do="torn"),
    Fault("worker", "index", armed=True),
    Fault("worker", "rename", path="sessions/*.yaml", armed=True),
    Fault("runner", "rename", path="*/jobs/*", armed=True, do="kill-after"),
)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("daemon", "write", path="*/wal/*.log", nth=2, armed=True, do="torn", keep=20),
        pytest.param(
            Fault("daemon", "rename", path="*/jobs/job_*", armed=True, do="kill-after"), marks=pytest.mark.faults
        ),
    ],
    ids=["the log", "a job's folder"],
)
def test_a_kill_of_the_daemon_is_where_it_is_wanted_and_the_work_goes_on(tmp_path: Path, fault: Fault) -> None:
    faults = Faults(tmp_path, fault)
    with Daemon.fresh(tmp_path, env=faults.env(tmp_path / "state"), **MADE) as daemon:
        daemon.client.sessions.create("s", route="job")
        faults.arm()
        with contextlib.suppress(KheishError):
            daemon.client.runs.start("s", "once", idempotency_key="k")
        until(lambda: not daemon.running, what="the daemon is killed")
        daemon.end_of_life()
        assert faults.fired == {0: "daemon"}

        daemon.start()
        run = daemon.client.runs.start("s", "once", idempotency_key="k")
        assert daemon.run(run.run_id)["status"] == "completed"
        assert (daemon.workspace / "ledger.txt").read_text() == "once\n"


def test_a_kill_of_each_helper_is_where_it_is_wanted_and_the_work_goes_on(tmp_path: Path) -> None:
    faults = Faults(tmp_path, *HELPERS)
    with Daemon.fresh(tmp_path, env=faults.env(tmp_path / "state"), **MADE) as daemon:
        daemon.client.sessions.create("s", route="job")
        faults.arm()
        runs = [daemon.client.runs.start("s", f"once {number}") for number in range(3)]

        for run in runs:
            assert daemon.run(run.run_id)["status"] == "completed"
        until(lambda: len(faults.fired) == len(HELPERS), timeout=60, what="each has had its kill")
        daemon.quiet()
        assert faults.fired == {place: fault.process for place, fault in enumerate(HELPERS)}


def test_what_is_recorded_is_what_happened(tmp_path: Path) -> None:
    faults = Faults(tmp_path, record=True)
    with Daemon.fresh(tmp_path, env=faults.env(tmp_path / "state"), **MADE) as daemon:
        daemon.client.sessions.create("s", route="job")
        daemon.run(daemon.client.runs.start("s", "once").run_id)
        daemon.quiet()
        daemon.stop()
        seen = Counter((line["who"], line["op"]) for line in faults.recorded())
        log = [line for line in faults.recorded() if line["op"] == "write" and "/wal/" in line["path"]]

    assert b"run.completed" in b"".join(base64.b64decode(line["data"]) for line in log)
    wanted = {("daemon", "fsync"), ("scribe", "write"), ("worker", "blob"), ("worker", "ref"), ("runner", "rename")}
    assert wanted <= set(seen)
