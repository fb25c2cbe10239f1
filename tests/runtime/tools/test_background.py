"""Background commands as the model meets them: started once, read in pieces, stopped."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import pytest

from kheish.domain import events
from kheish.domain.events import ShellEnding
from kheish.domain.tasks import verbs
from kheish.domain.tasks.task import Task
from kheish.jobs.runner import Jobs, JobSpec, JobState
from kheish.runtime.tools import background
from kheish.runtime.tools.background import ShellTaskStart, TaskOutput, TaskStop
from kheish.runtime.tools.base import Result, ToolError
from kheish.runtime.tools.shell import SandboxSettings
from tests.support.stateful import Played

START, OUTPUT, STOP = background.make(lambda: SandboxSettings(mode="off", available=False))


@pytest.fixture
def p(tmp_path: Path):
    state = tmp_path / "state"
    state.mkdir()
    played = Played(state)
    played.session("fix-it")
    yield played
    played.index.close()


async def begin(p: Played, context, command: str) -> str:
    """Start a command as the loop does; the id of its task."""
    call = ShellTaskStart(command=command)
    here = context(state=p.state)
    note = await START.plan(call, here)
    result = await START.run(call, context(state=p.state, note=note))
    p.state.append(*result.drafts)
    p.flush()
    return str(result.detail["task_id"])


async def test_the_call_returns_at_once_and_recovery_makes_no_second(
    p: Played, context, root: Path, jobs: Jobs
) -> None:
    call = ShellTaskStart(command="echo ran >> ledger; until [ -e go ]; do sleep 0.02; done", timeout=60)
    note = await START.plan(call, context())
    assert jobs.state(str(note["job"])) is JobState.UNCLAIMED

    first, second = [await START.recover(call, context(note=note)) for _ in range(2)]

    assert isinstance(first, Result) and isinstance(second, Result) and "job" not in first.detail
    assert first.drafts == second.drafts and isinstance(first.drafts[0].event, events.TaskCreated)
    (root / "go").touch()
    end = await asyncio.wait_for(jobs.ended(str(note["job"])), 20)
    assert end is not None and end.exit_status == 0
    assert (root / "ledger").read_text() == "ran\n"
    assert await START.recover(call, context(note={"job": "job_gone"})) is None


async def test_output_is_read_in_pieces_at_character_boundaries(p: Played, context, jobs: Jobs) -> None:
    id = await begin(p, context, "seq 1 3; printf 'ä€'; sleep 60")
    here = context(state=p.state)
    async with asyncio.timeout(20):
        while (all_ := await OUTPUT.run(TaskOutput(task_id=id), here)).detail["total"] < 11:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert all_.content == f"[{id}: running; bytes 0 to 11 of 11; next: 11]\n1\n2\n3\nä€"
    assert (await OUTPUT.run(TaskOutput(task_id=id, offset=7), here)).content.endswith("\n€")
    assert (await OUTPUT.run(TaskOutput(task_id=id, tail=2), here)).content.endswith("11]\n3\nä€")
    assert (await OUTPUT.run(TaskOutput(task_id=id, offset=11, wait=0.2), here)).content.endswith("next: 11]")

    stopped = await STOP.run(TaskStop(task_id=id), here)

    assert "was stopped" in stopped.content
    end = await jobs.ended(p.state.get(Task, id).shell.job)
    assert end.stopped and end.output == "1\n2\n3\nä€"


async def test_after_its_end_the_journal_has_the_output(p: Played, context) -> None:
    id = await begin(p, context, "sleep 60")
    await STOP.run(TaskStop(task_id=id), context(state=p.state))
    verbs.end(p.state, id, "x" * 40_000 + "\nend\n", ShellEnding(exit_status=3))
    p.flush()

    read = await OUTPUT.run(TaskOutput(task_id=id, tail=1), context(state=p.state))

    assert read.content == f"[{id}: exit status 3; bytes 40001 to 40005 of 40005; next: 40005]\nend"
    assert "had ended already: exit status 3" in (await STOP.run(TaskStop(task_id=id), context(state=p.state))).content
    with pytest.raises(ToolError, match=f"There are: {id}"):
        await OUTPUT.run(TaskOutput(task_id="task_x"), context(state=p.state))


async def test_a_rotated_output_says_where_it_begins(root: Path, jobs: Jobs) -> None:
    spec = JobSpec(("seq", "1", "5000"), str(root), {"PATH": "/usr/bin:/bin"}, math.inf, output_limit=8000)
    await jobs.create("job_1", spec)
    await jobs.start("job_1")
    end = await asyncio.wait_for(jobs.ended("job_1"), 20)
    assert end is not None and end.truncated

    begin, data, total = await jobs.output("job_1", None, 1000)
    assert (total, begin, data[-5:]) == (end.output_bytes, total - 1000, b"5000\n")
    begin, data, _ = await jobs.output("job_1", 5000, 100)  # that was cut
    assert begin > 5000 and len(data) == 100
