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

pytestmark = pytest.mark.skipif(sshd.SSHD is None, reason=sshd.MISSING)
FILE = {"carrier": "ssh", "address": "far", "workspace": "path", "sandbox": "off"}
COMMAND = "echo x >> ran; touch started; until [ -e go ]; do sleep 0.05; done; echo end"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon whose user has a host `far` in the configuration of ssh."""
    with sshd.serving(tmp_path / "sshd") as server:
        program = tmp_path / "bin" / "ssh"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {shlex.quote(str(server.config))} "$@"\n')
        program.chmod(0o755)
        path = f"{program.parent}:{os.environ['PATH']}"
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
