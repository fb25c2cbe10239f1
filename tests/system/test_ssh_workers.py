"""A real daemon with a worker over a real sshd: it is killed in the middle of a command, and the next one continues."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from kheish.jobs import record
from kheish.jobs.values import JobState
from tests.support import sshd
from tests.support.daemon import Daemon, bash, git, until
from tests.support.released import release
from tests.system.test_workers import PLAYBOOK, ROUTES, worker

pytestmark = pytest.mark.skipif(sshd.SSHD is None, reason=sshd.MISSING)
FILE = {"carrier": "ssh", "address": "far", "workspace": "path", "sandbox": "off"}
COMMAND = "echo x >> ran; touch started; until [ -e go ]; do sleep 0.05; done; echo end"


def ssh_with(folder: Path, config: str) -> str:
    """The PATH on which `ssh` is the real one with a configuration."""
    folder.mkdir()
    (folder / "config").write_text(config)
    program = folder / "ssh"
    program.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {shlex.quote(str(folder / "config"))} "$@"\n')
    program.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon whose user has a host `far` in the configuration of ssh."""
    with sshd.serving(tmp_path / "sshd") as server:
        path = ssh_with(tmp_path / "bin", server.config.read_text())
        turns = [bash(COMMAND), {"text": "{{last_result}}"}]
        rules = {"mode": "default", "rules": [{"tool": "bash", "decision": "allow"}]}
        made = Daemon.make(tmp_path, permissions=rules, routes={"work": turns}, settings={"PATH": path})
        made.write("workers/far.yaml", FILE)
        git(made.root, "add", "--", "workers")
        git(made.root, "commit", "-q", "-m", "A worker")
        try:
            yield made.start()
        finally:
            made.end()


@pytest.mark.parametrize("rounds", [1, pytest.param(10, marks=pytest.mark.campaign)])
def test_a_killed_daemon_continues_its_commands_on_the_worker(daemon: Daemon, rounds: int) -> None:
    daemon.client.sessions.create("s", route="work", worker="far", workspace=str(daemon.workspace))
    run = daemon.client.runs.start("s", "go").run_id
    until((daemon.workspace / "started").exists, 120, what="the command")
    for _ in range(rounds):
        daemon.kill9()
        daemon.start()
    (daemon.workspace / "go").touch()

    ended = daemon.run(run, timeout=120)
    assert ended["status"] == "completed" and ended["output"] == "end"
    assert list((daemon.root.parent / "sshd" / "state").glob("kheish/worker/home-*/jobs"))  # it ran there
    assert (daemon.workspace / "ran").read_text() == "x\n"


def test_end_jobs_ends_commands_on_workers(daemon: Daemon) -> None:
    daemon.client.sessions.create("s", route="work", worker="far", workspace=str(daemon.workspace))
    daemon.client.runs.start("s", "go")
    until((daemon.workspace / "started").exists, 120, what="the command")
    [claim] = (daemon.root.parent / "sshd" / "state").glob("kheish/worker/home-*/jobs/job_*/claim*")
    assert daemon.cli("stop", "--end-jobs").returncode == 0
    assert record.state(str(claim.parent)) is JobState.ENDED


def test_a_flow_whose_phases_run_on_two_hosts(tmp_path: Path) -> None:
    with sshd.serving(tmp_path / "large", "large") as large, sshd.serving(tmp_path / "small", "small") as small:
        path = ssh_with(tmp_path / "bin", large.config.read_text() + small.config.read_text())
        rules = [{"tool": "bash", "decision": "allow"}]
        with Daemon.fresh(
            tmp_path / "here",
            permissions={"mode": "default", "rules": rules},
            routes=ROUTES,
            config={"default_route": "one"},
            settings={"PATH": path},
        ) as daemon:
            daemon.write("workers/large.yaml", worker("large", "linux", "big"))
            daemon.write("workers/small.yaml", worker("small", "linux"))
            until(lambda: len(daemon.client.workers.list()["items"]) == 2)
            (daemon.workspace / "given.txt").write_text("given\n")
            release(daemon, "both", PLAYBOOK)
            flow_id = daemon.client.flows.start("both")["flow_id"]
            ended = ("succeeded", "failed")
            until(lambda: daemon.client.flows.get(flow_id)["status"] in ended, 120, what="the Flow")

            assert daemon.client.flows.get(flow_id)["status"] == "succeeded"
            assert (daemon.workspace / "second.txt").read_text() == "given\ntwo\n"
            for server in (large, small):  # each has a copy of the workspace, and of the Flow nothing else
                assert list(server.state.glob("kheish/workspaces/worker-*/ws-*/first.txt"))
