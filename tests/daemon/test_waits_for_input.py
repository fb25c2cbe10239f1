"""A background command that stands at a prompt is shown as waiting for input, until more comes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from kheish.daemon.reactors import tasks as reactor
from kheish.domain.events import ShellTask, TaskCreated
from kheish.domain.tasks.task import Task
from kheish.jobs.runner import Jobs, JobSpec
from kheish.state.encoding import Recorded
from tests.support.stateful import Played


@pytest.mark.parametrize(
    ("text", "waits"), [("Continue? [y/N] ", True), ("password: ", True), ("done.\n", False), ("working", False)]
)
async def test_a_prompt_in_the_last_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, waits: bool
) -> None:
    monkeypatch.setattr(reactor, "SILENCE", 0.2)
    played, jobs = Played(tmp_path), Jobs(tmp_path / "jobs")
    played.session()
    (tmp_path / "more").unlink(missing_ok=True)
    command = f"printf '%s' '{text}'; until [ -e more ]; do sleep 0.05; done; echo; echo more; sleep 30"
    spec = JobSpec(argv=("bash", "-c", command), cwd=str(tmp_path), env={"PATH": "/usr/bin:/bin"}, timeout=60.0)
    await jobs.create("job_1", spec)
    await jobs.start("job_1")
    acting = reactor.Tasks(played.state, jobs, damaged=lambda path, reason: None)
    (entry,) = played.state.append(
        TaskCreated(task_id="task_1", title="t", status="in_progress", shell=ShellTask(job="job_1")).on("s")
    )
    acting.heard([Recorded(entry, "", b"")])

    async def shows(expected: bool, looks: int) -> bool:
        for _ in range(looks):
            await acting.tick("")
            if played.state.get(Task, "task_1").waits_for_input is expected:
                return True
            await asyncio.sleep(0.1)
        return False

    assert await shows(True, 40 if waits else 8) is waits
    (tmp_path / "more").touch()
    assert await shows(False, 40)
    await jobs.stop("job_1")
    await acting.close()
    jobs.close()
    played.index.close()
