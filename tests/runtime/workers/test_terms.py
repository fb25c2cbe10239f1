"""The terms in a worker's file decide how its commands run: confined or not, and how many at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio

from kheish.daemon import carriers
from kheish.domain.workers.definition import WorkerFile
from kheish.errors import WorkerUnreachable
from kheish.jobs import probing
from kheish.jobs.runner import Jobs
from kheish.jobs.values import JobSpec, JobState
from kheish.runtime.workers.connection import Connection
from kheish.runtime.workers.pool import Terms, Workers
from kheish.runtime.workers.ssh import Ssh
from tests.runtime.harness import Live, call, living
from tests.runtime.workers.harness import Machine, connected, place, until

DONE = {"text": "done"}
CONFINES = probing.probe().available


def terms(**fields: Any) -> Terms:
    """The terms of a worker's file, as the daemon reads them."""
    file = WorkerFile(carrier="ssh", address="big", **fields)
    in_force: Any = SimpleNamespace(by_kind={"workers": {"big": SimpleNamespace(value=file)}})
    return carriers.terms_of(in_force, "big")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "far")


@pytest_asyncio.fixture
async def it(tmp_path: Path) -> AsyncIterator[Live]:
    async with living(tmp_path, worker="big") as live:
        yield live
        assert live.agent.workers is not None
        await live.agent.workers.close()


async def outcome(it: Live, path: Path) -> tuple[bool, str]:
    it.script(call("bash", command=f"cat {path}"), DONE)
    assert (await it.ask()).status == "completed"
    [(is_error, _, content)] = it.results()
    return is_error, content


async def test_off_runs_commands_unconfined(it: Live, machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("seen")
    place(it, machine, terms(sandbox="off"))
    assert await outcome(it, tmp_path / "outside") == (False, "seen")


@pytest.mark.skipif(not CONFINES, reason="bubblewrap does not work here")
async def test_required_confines_commands(it: Live, machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("seen")
    place(it, machine, terms(sandbox="required"))
    is_error, content = await outcome(it, tmp_path / "outside")
    assert is_error and "seen" not in content and "No such file" in content


async def test_required_runs_nothing_where_nothing_is_confined(
    it: Live, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = probing.Probe(available=False, why="there is no bwrap")
    monkeypatch.setattr(probing, "probe", lambda: bare)
    monkeypatch.setattr(probing, "probe_async", lambda: asyncio.sleep(0, bare))
    place(it, machine, terms(sandbox="required"))
    is_error, content = await outcome(it, tmp_path)
    assert is_error and "sandbox" in content


async def test_no_more_commands_run_than_the_file_says(machine: Machine, tmp_path: Path) -> None:
    most = terms(resources={"jobs": 2}).jobs
    async with connected(machine) as link:
        await link.connected()
        jobs = Jobs(machine.root / "home-1" / "jobs")
        for number in range(4):
            argv = ("sh", "-c", f"touch began{number}; until [ -e go{number} ]; do sleep 0.02; done")
            await jobs.create(
                f"job-{number}", JobSpec(argv=argv, cwd=str(tmp_path), env={"PATH": "/usr/bin:/bin"}, timeout=60)
            )
        starts = [asyncio.create_task(link.call("start", {"job": f"job-{n}", "most": most})) for n in range(4)]
        await asyncio.gather(*starts[:2])
        await until(lambda: len(list(tmp_path.glob("began*"))) == 2)
        starts[2].cancel()  # as of a run that is cancelled while it waits
        assert not starts[3].done() and jobs.busy() == 2
        (tmp_path / "go0").touch()
        await asyncio.wait_for(starts[3], 20)
        await until((tmp_path / "began3").exists)
        assert jobs.state("job-2") is JobState.UNCLAIMED
        for number in (1, 3):
            (tmp_path / f"go{number}").touch()
        await until(lambda: not jobs.busy())


async def test_only_a_file_that_leads_elsewhere_ends_the_connection(machine: Machine) -> None:
    address = "one"
    workers = Workers(lambda worker: Ssh(address), "home-1")
    link = workers.link("big")
    await workers.renew("big")
    assert workers.link("big") is link
    address = "two"
    await workers.renew("big")
    assert workers.link("big") is not link and link.health.status == "closed"


async def test_a_trial_ends_with_the_first_attempt_and_makes_one_at_once(machine: Machine) -> None:
    machine.is_up = False
    slow = Connection("big", machine, "home-1", pauses=(60.0, 60.0))
    with pytest.raises(WorkerUnreachable, match="No route to host"):
        await asyncio.wait_for(slow.tried(60.0), 20)
    machine.is_up = True
    await asyncio.wait_for(slow.tried(20.0), 20)
    assert slow.health.status == "connected"
    await slow.close()


def test_a_worker_without_a_file_runs_nothing_unconfined_and_ray_counts_itself() -> None:
    none: Any = SimpleNamespace(by_kind={"workers": {}})
    assert carriers.terms_of(none, "big").sandbox == "required"
    assert terms().jobs == 4
    assert WorkerFile(carrier="ray", address="auto").jobs is None
