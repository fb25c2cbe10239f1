"""Runs whose workspace is copied to their worker: it goes there before the first step, and returns with the answer."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from kheish.cli.rendering import Rendering
from kheish.client.sse import Event
from kheish.domain import runs
from kheish.domain.runs import Run
from kheish.domain.sessions import end as sessions_end
from kheish.runtime.workers.carrying import Carrying
from tests.runtime.harness import Live, call, living
from tests.runtime.workers.harness import Machine, place, until
from tests.support.daemon import git

DONE = {"text": "done"}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "far" / "worker")


@pytest_asyncio.fixture
async def it(tmp_path: Path, machine: Machine) -> AsyncIterator[Live]:
    async with living(tmp_path, worker="big") as live:
        place(live, machine)
        assert live.agent.workers is not None
        live.agent.carrying = Carrying(
            live.state, live.agent.workers, tmp_path / "depots", lambda workspace, depot, argv: argv
        )
        yield live
        await live.agent.workers.close()


def copies(machine: Machine) -> list[Path]:
    return sorted((machine.root.parent / "workspaces/worker-home-1").glob("ws-*"))


async def test_the_workspace_goes_and_its_changes_come_back(it: Live, machine: Machine) -> None:
    (it.workspace / "a.txt").write_text("one\n")
    it.script(
        call("bash", command="cat a.txt; pwd; echo made > b.txt; chmod +x b.txt; rm a.txt"),
        call("write_file", path="deep/c.txt", content="there\n"),
        DONE,
    )
    run = await it.ask()
    assert run.status == "completed", run.error
    (folder,) = copies(machine)
    assert it.results()[0][2] == f"one\n{folder}" and it.state.get(Run, run.run_id).workspace == str(folder)
    assert not (it.workspace / "a.txt").exists() and (it.workspace / "b.txt").stat().st_mode & 0o100
    assert (it.workspace / "deep/c.txt").read_text() == "there\n"
    (back,) = it.data("run.workspace_returned")
    assert sorted(back["paths"]) == ["a.txt", "b.txt", "deep/c.txt"] and not back["conflicts"]


async def test_a_conflict_is_reported_and_the_result_can_be_fetched(it: Live, machine: Machine, tmp_path: Path) -> None:
    (it.workspace / "a.txt").write_text("one\n")
    it.script(call("bash", command="echo there > a.txt; touch started; until [ -e go ]; do sleep 0.02; done"), DONE)
    run = it.submit_run()
    it.settle()
    (folder,) = await until(lambda: [one for one in copies(machine) if (one / "started").exists()])
    (it.workspace / "a.txt").write_text("here\n")
    (folder / "go").touch()
    await until(lambda: it.state.get(Run, run.run_id).is_final)
    assert (it.workspace / "a.txt").read_text() == "here\n" and (it.workspace / "go").exists()
    (back,) = it.data("run.workspace_returned")
    assert back["conflicts"] == ["a.txt"]
    event = Event("run.workspace_returned", 1, "s", run.run_id, None, None, back, "")
    shown = Rendering().feed(event)
    assert "a.txt: changed here as well" in shown and f"git fetch {back['repository']} {back['ref']}" in shown
    mine = tmp_path / "mine"
    git(tmp_path, "init", "-q", str(mine))
    git(mine, "fetch", "-q", back["repository"], back["ref"])
    assert git(mine, "show", "FETCH_HEAD:a.txt").strip() == "there"


async def test_later_runs_have_what_was_changed_here_and_keep_what_is_ignored_there(it: Live, machine: Machine) -> None:
    (it.workspace / ".gitignore").write_text("cache/\n")
    it.script(call("bash", command="mkdir cache; echo warm > cache/x; echo 1 > n"), DONE)
    assert (await it.ask()).status == "completed"
    assert not (it.workspace / "cache").exists()
    (it.workspace / "n").write_text("2\n")
    (it.workspace / "new").write_text("from here\n")
    it.script(call("bash", command="cat cache/x n new"), DONE)
    assert (await it.ask()).status == "completed"
    assert it.results()[-1][2] == "warm\n2\nfrom here" and len(copies(machine)) == 1


async def test_what_a_cancelled_run_changed_comes_with_the_next(it: Live, machine: Machine) -> None:
    it.script(call("bash", command="echo half > half; touch started; sleep 60"), DONE)
    run = it.submit_run()
    it.settle()
    await until(lambda: [one for one in copies(machine) if (one / "started").exists()])
    runs.cancel(it.state, run.run_id, by="test")
    await until(lambda: it.state.get(Run, run.run_id).is_final)
    it.script(call("bash", command="cat half"), DONE)
    assert (await it.ask()).status == "completed"
    assert it.results()[-1][2] == "half" and (it.workspace / "half").read_text() == "half\n"


async def test_what_a_cancelled_run_changed_comes_when_the_worker_is_asked(it: Live, machine: Machine) -> None:
    assert it.agent.carrying is not None
    it.script(call("bash", command="echo half > half; touch started; sleep 60"), DONE)
    run = it.submit_run()
    it.settle()
    await until(lambda: [one for one in copies(machine) if (one / "started").exists()])
    assert await it.agent.carrying.tidy("big") == {run.run_id}
    runs.cancel(it.state, run.run_id, by="test")
    await until(lambda: it.state.get(Run, run.run_id).is_final)
    machine.cut()
    for _ in range(2):
        await it.agent.carrying.settle("big", run.run_id)
    assert (it.workspace / "half").read_text() == "half\n"
    (back,) = it.data("run.workspace_returned")
    assert back["paths"] == ["half", "started"] and not back["conflicts"]


async def test_what_a_background_command_changed_later_is_not_lost(it: Live, machine: Machine) -> None:
    waits = "until [ -e go ]; do sleep 0.02; done; echo built > built"
    it.script(call("shell_task_start", command=waits, notify=False), DONE)
    assert (await it.ask()).status == "completed"
    (folder,) = copies(machine)
    (folder / "go").touch()
    await until((folder / "built").exists)
    it.script(call("bash", command="cat built"), DONE)
    assert (await it.ask()).status == "completed"
    assert it.results()[-1][2] == "built" and (it.workspace / "built").read_text() == "built\n"


async def test_a_copy_goes_when_no_session_needs_it(it: Live, machine: Machine, tmp_path: Path) -> None:
    assert it.agent.carrying is not None
    it.script(call("bash", command="mkdir -p deep && echo x > deep/x && chmod 555 deep"), DONE)
    await it.ask()
    (folder,) = copies(machine)
    assert await it.agent.carrying.tidy("big") == set() and copies(machine) == [folder], "the session may go on"
    (folder / "late").write_text("by a command in the background\n")
    sessions_end.end(it.state, "s", by="test", reason=None, force=False)
    it.settle()
    await it.agent.carrying.tidy("big")
    assert not copies(machine) and not list(machine.root.rglob("*.git")) and (it.workspace / "late").exists()

    (depot,) = (tmp_path / "depots").iterdir()
    await it.agent.carrying.prune()
    assert depot.exists(), "users can fetch its results"
    os.utime(depot / "workspace", (0, 0))
    await it.agent.carrying.prune()
    assert not depot.exists()


async def test_a_copy_that_was_not_used_for_long_is_made_again(it: Live, machine: Machine, tmp_path: Path) -> None:
    assert it.agent.carrying is not None
    it.script(call("bash", command="echo 1 > n"), DONE)
    await it.ask()
    (depot,) = (tmp_path / "depots").iterdir()
    os.utime(depot / "workspace", (0, 0))
    await it.agent.carrying.tidy("big")
    assert not copies(machine)
    it.script(call("bash", command="cat n"), DONE)
    assert (await it.ask()).status == "completed" and it.results()[-1][2] == "1"


async def test_a_cut_while_the_workspace_is_carried_loses_nothing(it: Live, machine: Machine) -> None:
    for number in range(200):
        (it.workspace / f"f{number}").write_bytes(bytes([number]) * 50_000)
    it.script(call("bash", command="ls | wc -l; echo new > f7"), DONE)
    run = it.submit_run()
    it.settle()
    await until(lambda: machine.streams)
    machine.cut()
    await until(lambda: it.state.get(Run, run.run_id).is_final)
    assert it.state.get(Run, run.run_id).status == "completed" and machine.opened > 1
    assert it.results()[0][2] == "200" and (it.workspace / "f7").read_text() == "new\n"


async def test_a_worker_cannot_send_the_result_of_a_run_once_more(it: Live, machine: Machine) -> None:
    assert it.agent.carrying is not None
    it.script(call("bash", command="echo 1 > n"), DONE)
    run = await it.ask()
    (holders,) = machine.root.rglob("holders.json")
    (folder,) = copies(machine)
    holders.write_text(json.dumps([run.run_id]))
    (folder / "n").write_text("changed by the worker\n")
    assert await it.agent.carrying.tidy("big") == set()
    await it.agent.carrying.settle("big", run.run_id)
    assert (it.workspace / "n").read_text() == "1\n"
    holders.write_text(json.dumps(["../../x"]))
    await it.agent.carrying.tidy("big")
    assert copies(machine) == [folder]
