"""A job that looks like a user's git at work would hold the root, and outlive the daemon that started it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from kheish.jobs.runner import Jobs
from kheish.jobs.values import JobSpec
from kheish.store.git import hold
from tests.store import roots
from tests.support.daemon import until

NOBODY = 1 << 30  # the pid of no daemon: it was killed, and another one looks now
#: `git` is a copy of a shell, `commit` its script
WORDS = ("./git", "-f", "commit")


def users_git_counts(root: Path, work: Path) -> None:
    with subprocess.Popen([*WORDS, f"{root}/x"], cwd=work) as user:
        until(lambda: f"process {user.pid}" in str(hold.check(root, family=NOBODY)), what="a user's counts")
        user.kill()


@pytest.mark.found("S15")
@pytest.mark.skipif(not Path("/proc").exists(), reason="there is no /proc")
@pytest.mark.parametrize("above", ["", "setsid ", "env -i ", "nohup nice "])
async def test_a_fake_git_of_a_job_holds_nothing(tmp_path: Path, above: str) -> None:
    root = roots.make(tmp_path)
    work = tmp_path / "work"
    work.mkdir()
    shutil.copy("/bin/bash", work / "git")
    (work / "commit").write_text("echo ready > ready; while :; do read -t 60 < <(:); sleep 0.1; done")
    jobs = Jobs(root / ".git" / "kheish" / "jobs")
    command = ("bash", "-c", f"{above}{' '.join(WORDS)} {root}/x & sleep 60")
    await jobs.create("job-1", JobSpec(argv=command, cwd=str(work), env={"PATH": "/usr/bin:/bin"}, timeout=60))
    await jobs.start("job-1")
    try:
        until((work / "ready").exists, what="the fake git runs")
        assert hold.check(root, family=NOBODY) is None
        assert not hold.cloned(root, {})
        users_git_counts(root, work)
    finally:
        await jobs.stop("job-1", 0.1)
        jobs.close()
