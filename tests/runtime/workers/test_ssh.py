"""The carrier ssh, over a real sshd on loopback: the user's ssh, a real `kheish worker`, real cuts and kills."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from kheish.jobs import folder
from kheish.runtime.executor import Local
from kheish.runtime.workers.connection import Connection
from kheish.runtime.workers.jobs import Routed
from kheish.runtime.workers.placed import Placed
from kheish.runtime.workers.pool import Workers
from kheish.runtime.workers.ssh import Ssh
from tests.runtime.harness import Live, call, living
from tests.runtime.workers.harness import PAUSES, SANDBOX, UNCONFINED, until
from tests.support import sshd
from tests.support.sshd import Server

pytestmark = pytest.mark.skipif(sshd.SSHD is None, reason=sshd.MISSING)
DONE = {"text": "done"}
_STAMPS = "until [ -e go ]; do date +%s%N; sleep 0.1; done"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with sshd.serving(tmp_path_factory.mktemp("sshd")) as made:
        yield made


@pytest_asyncio.fixture
async def it(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Live]:
    monkeypatch.setenv("KHEISH_TOKEN", "sekret-of-the-daemon")
    monkeypatch.setenv("OPENAI_API_KEY", "sekret-of-the-daemon")
    async with living(tmp_path, worker="far") as live:
        carrier = Ssh("far", config=server.config)
        workers = Workers(lambda worker: carrier, "home-ssh", lambda worker: UNCONFINED)
        workers._links["far"] = Connection("far", carrier, "home-ssh", pauses=PAUSES)
        live.agent.workers, live.agent.executor = (
            workers,
            Placed(Local(), workers, lambda: SANDBOX),
        )
        live.agent.jobs = Routed(live.agent.here, workers.jobs)
        live.allow("bash", "write_file")
        yield live
        await workers.close()


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def workers_of(server: Server) -> list[int]:
    """The processes `kheish worker` below the server."""
    found, pids = [], [server.pid]
    for pid in pids:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            pids += children(pid)
        except OSError:
            continue
        if b"worker" in words and b"--stdio" in words:
            found.append(pid)
    return found


async def test_a_run_works_over_ssh_and_no_secret_does(it: Live, server: Server) -> None:
    it.script(
        call("write_file", path="a.txt", content="hello\n"),
        call("bash", command="cat a.txt; env; echo $SSH_CONNECTION > there"),
        DONE,
    )
    run = it.submit_run()
    it.settle()
    await until(lambda: it.run_of(run.run_id).is_final, 120)
    [first, (_, _, output)] = it.results()
    assert not first[0] and output.startswith("hello\n") and "sekret" not in output
    [pid] = workers_of(server)
    for name in ("environ", "cmdline"):
        assert b"sekret" not in Path(f"/proc/{pid}/{name}").read_bytes()
    for path in server.state.rglob("*"):
        assert not path.is_file() or b"sekret" not in path.read_bytes()


@pytest.mark.parametrize("rounds", [2, pytest.param(10, marks=pytest.mark.campaign)])
async def test_output_is_complete_over_kills_of_ssh_and_of_the_worker(it: Live, server: Server, rounds: int) -> None:
    it.script(
        call("bash", command=f"echo x >> ran; touch started; {_STAMPS}; echo end", timeout=600),
        DONE,
    )
    run = it.submit_run()
    it.settle()
    await until((it.workspace / "started").exists, 120)
    assert it.agent.workers is not None
    link = it.agent.workers.link("far")
    for number in range(rounds):
        await until(lambda: link.health.status == "connected" and workers_of(server), 120)
        reconnects = link.health.reconnects
        if number % 2:
            os.kill(workers_of(server)[-1], signal.SIGKILL)
        else:
            os.kill(link._link.stream.process.pid, signal.SIGKILL)  # type: ignore[union-attr]
        await until(lambda reconnects=reconnects: link.health.reconnects > reconnects, 120)
    (it.workspace / "go").touch()
    await until(lambda: it.run_of(run.run_id).is_final, 120)
    [(is_error, _, output)] = it.results()
    stamps = output.splitlines()[:-1]
    assert not is_error and output.endswith("end") and "cut" not in output
    assert stamps == sorted(set(stamps), key=int) and (it.workspace / "ran").read_text() == "x\n"
    assert all(folder.start_time(pid) for pid in workers_of(server))


async def test_a_host_that_cannot_be_reached_says_what_ssh_says(tmp_path: Path, server: Server) -> None:
    config = server.config.read_text().replace(f"{server.config.parent}/client", "/nonexistent")
    (tmp_path / "config").write_text(config)
    link = Connection("far", Ssh("far", config=tmp_path / "config"), "home-ssh", pauses=PAUSES)
    waiting = asyncio.ensure_future(link.connected())
    await until(lambda: "Permission denied" in link.health.reason, 60)
    waiting.cancel()
    await link.close()
