"""Runs whose tools are on a worker: cuts, a killed daemon, another boot, cancellation. No command runs twice unseen."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from kheish.domain import runs
from kheish.domain.runs import view
from kheish.jobs import folder
from tests.runtime.harness import Live, call, living
from tests.runtime.workers.harness import Machine, place, until

DONE = {"text": "done"}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "far")


@pytest_asyncio.fixture
async def it(tmp_path: Path, machine: Machine) -> AsyncIterator[Live]:
    async with living(tmp_path, worker="big") as live:
        place(live, machine)
        yield live
        assert live.agent.workers is not None
        await live.agent.workers.close()


def jobs_of(machine: Machine) -> list[Path]:
    return sorted((machine.root / "home-1" / "jobs").glob("job_*"))


async def started(it: Live, machine: Machine, file: str = "started") -> str:
    """Submit the run, and wait until its command writes a file."""
    run = it.submit_run()
    it.settle()
    await until((it.workspace / file).exists)
    return run.run_id


async def test_all_workspace_tools_run_on_the_worker(it: Live, machine: Machine) -> None:
    it.script(
        call("write_file", path="a.txt", content="one\ntwo\n"),
        call("edit_file", path="a.txt", old_string="two", new_string="three"),
        call("grep_search", pattern="thr"),
        call("bash", command="cat a.txt; pwd; exit 3"),
        call("read_file", path="a.txt"),
        DONE,
    )
    assert (await it.ask()).status == "completed"
    results = it.results()
    assert [is_error for is_error, *_ in results] == [False, False, False, True, False]
    assert results[3][2] == f"one\nthree\n{it.workspace}\n[exit status 3]"
    assert machine.opened == 1
    await until(lambda: not jobs_of(machine))  # its result is durable: nothing is left there
    assert not list((it.root / "jobs").glob("job_*"))


@pytest.mark.parametrize("rounds", [2, pytest.param(10, marks=pytest.mark.campaign)])
async def test_a_cut_connection_loses_no_output_and_repeats_none(it: Live, machine: Machine, rounds: int) -> None:
    lines = 40 * rounds
    it.script(
        call("bash", command=f"touch started; for i in $(seq {lines}); do echo line $i; sleep 0.01; done; echo x>>ran"),
        DONE,
    )
    run_id = await started(it, machine)
    for _ in range(rounds):
        seen = len(it.frames)
        await until(lambda seen=seen: len(it.frames) > seen)
        machine.cut()
    await it.rest(run_id)
    [(is_error, _, content)] = it.results()
    assert not is_error and content.splitlines() == [f"line {number}" for number in range(1, lines + 1)]
    assert (it.workspace / "ran").read_text() == "x\n" and machine.opened >= rounds


async def test_a_run_waits_for_a_lost_worker_and_says_so(
    it: Live, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kheish.runtime.workers.waiting.GRACE", 0.05)
    it.script(call("bash", command="touch started; while [ ! -e go ]; do sleep 0.05; done; echo end"), DONE)
    run_id = await started(it, machine)
    machine.is_up = False
    machine.cut()
    waiting = await until(lambda: view(it.run_of(run_id)).waiting_on)
    assert (waiting.kind, waiting.what) == ("worker", "big") and it.run_of(run_id).status == "running"
    (it.workspace / "go").touch()
    machine.is_up = True
    assert (await it.rest(run_id)).status == "completed" and it.results()[0][2] == "end"
    assert view(it.run_of(run_id)).waiting_on is None


@pytest.mark.parametrize("rounds", [2, pytest.param(10, marks=pytest.mark.campaign)])
async def test_a_killed_daemon_finds_the_command_again(it: Live, machine: Machine, rounds: int) -> None:
    it.script(
        call("bash", command="echo x >> ran; touch started; while [ ! -e go ]; do sleep 0.05; done; echo end"), DONE
    )
    run_id = await started(it, machine)
    last = it
    for _ in range(rounds):
        machine.cut()
        assert last.agent.workers is not None
        await last.worker.drain(0)
        await last.agent.workers.close()
        last = place(last.reborn(), machine)
        last.settle()
        opened = machine.opened
        await until(lambda opened=opened: machine.opened > opened or machine.streams)
    (it.workspace / "go").touch()
    assert (await last.rest(run_id)).status == "completed"
    assert last.results()[-1][2] == "end" and (it.workspace / "ran").read_text() == "x\n"
    assert last.agent.workers is not None
    await last.agent.workers.close()
    await last.close()


@pytest.mark.parametrize("what", ["another boot", "gone"])
async def test_a_command_without_an_outcome_is_asked_about(it: Live, machine: Machine, what: str) -> None:
    it.script(call("bash", command="echo x >> ran; touch started; sleep 60"), DONE)
    run_id = await started(it, machine)
    [job] = jobs_of(machine)
    claim = json.loads((job / folder.CLAIM).read_text())
    machine.is_up = False
    machine.cut()
    if what == "another boot":
        (job / folder.CLAIM).write_text(json.dumps({**claim, "boot": "another"}))
    else:
        os.kill(claim["pid"], signal.SIGKILL)
        await until(lambda: not folder.lives(claim))
    machine.is_up = True
    run = await it.rest(run_id)
    assert run.status == "waiting_for_question" and "may or may not have happened" in str(
        it.data("question.asked")[0]["questions"]
    )
    assert (it.workspace / "ran").read_text() == "x\n"
    if what == "another boot":
        os.kill(claim["pid"], signal.SIGKILL)


async def test_a_command_that_was_never_claimed_starts(it: Live, machine: Machine) -> None:
    """The connection is cut between the plan and the start; the machine was restarted meanwhile."""
    it.hold_at = b'"tool.started"'
    it.script(call("bash", command="echo x >> ran; echo hello"), DONE)
    run = it.submit_run()
    it.settle()
    await until(lambda: jobs_of(machine))
    machine.cut()
    await it.worker.drain(0)
    assert it.agent.workers is not None
    await it.agent.workers.close()
    it.let_go()
    last = place(it.reborn(), machine)
    assert (await last.rest(run.run_id)).status == "completed"
    assert last.results()[0][2] == "hello" and (it.workspace / "ran").read_text() == "x\n"
    assert last.agent.workers is not None
    await last.agent.workers.close()
    await last.close()


async def test_a_cancelled_run_ends_the_tree_there(it: Live, machine: Machine) -> None:
    it.script(
        call(
            "bash",
            command="trap '' TERM; (trap '' TERM; setsid sleep 301 & echo $! > child; wait) & touch started; wait",
        ),
        DONE,
    )
    run_id = await started(it, machine, "child")
    child = int(await until((it.workspace / "child").read_text))
    began = time.monotonic()
    runs.cancel(it.state, run_id, by="token:local")
    it.settle()
    assert (await it.rest(run_id)).status == "cancelled"
    assert time.monotonic() - began < 15  # 5 s on a quiet machine
    await until(lambda: folder.start_time(child) == "ended")


async def test_a_cancelled_command_of_a_lost_worker_ends_when_it_returns(
    it: Live, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kheish.runtime.workers.jobs._STOP_PATIENCE", -2.9)
    it.script(call("bash", command="echo $$ > started; exec sleep 302"), DONE)
    run_id = await started(it, machine)
    pid = int(await until((it.workspace / "started").read_text))
    machine.is_up = False
    machine.cut()
    runs.cancel(it.state, run_id, by="token:local")
    it.settle()
    assert (await it.rest(run_id)).status == "cancelled" and folder.start_time(pid) != "ended"
    machine.is_up = True
    await until(lambda: folder.start_time(pid) == "ended")


async def test_a_background_command_is_followed_over_a_cut(it: Live, machine: Machine) -> None:
    it.script(
        call("shell_task_start", command="echo out; while [ ! -e go ]; do sleep 0.05; done; echo end"),
        DONE,
    )
    await it.ask()
    [task] = it.data("task.created")
    assert task["shell"]["job"].endswith(".big")
    ended = asyncio.create_task(it.agent.jobs.ended(task["shell"]["job"]))
    await asyncio.sleep(0)
    machine.cut()
    (it.workspace / "go").touch()
    end = await asyncio.wait_for(ended, 20)
    assert end is not None and end.output == "out\nend\n" and end.exit_status == 0
    await it.agent.jobs.drop(task["shell"]["job"])
    assert not jobs_of(machine)
