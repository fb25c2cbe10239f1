"""The carrier ray on a real cluster of two nodes: kills of gateway, actor and node; cancellation, token, secrets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from kheish.domain import runs
from kheish.jobs import folder
from kheish.runtime.workers.carrier import Carrier
from kheish.runtime.workers.cluster.carrier import ray
from kheish.runtime.workers.connection import Connection
from tests.runtime.harness import Live, call, living
from tests.runtime.workers.harness import place, until
from tests.support import ray_cluster
from tests.support.ray_cluster import Cluster

pytestmark = pytest.mark.skipif(not ray_cluster.IS_INSTALLED, reason=ray_cluster.WHY)

DONE = {"text": "done"}
PATIENCE = 120.0  # seconds
SECRET = "sk-of-the-daemon-alone-42"
WAITS = "touch started; while [ ! -e go ]; do sleep 0.05; done; echo end"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with contextlib.ExitStack() as stack:
        try:
            made = stack.enter_context(ray_cluster.cluster())
        except (ray_cluster.NotStarted, subprocess.TimeoutExpired) as error:
            pytest.skip(f"Ray itself does not start here: {str(error)[-200:]}")
        yield made


@pytest.fixture
def address(cluster: Cluster, request: pytest.FixtureRequest) -> str:
    """By Ray's client; `direct`: as a daemon on a node of the cluster."""
    return f"127.0.0.1:{cluster.port}" if getattr(request, "param", "") == "direct" else cluster.address


@pytest_asyncio.fixture
async def it(tmp_path: Path, cluster: Cluster, address: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Live]:
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(cluster.token))
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    record = str(tmp_path / "node.json")
    carrier = ray(address, {"there": 0.1}, home="home-1", worker="big", record=record)
    async with living(tmp_path, worker="big") as live:
        live.patience = PATIENCE
        place(live, carrier)
        yield live
        assert live.agent.workers is not None
        await live.agent.workers.close()


def is_connected(it: Live) -> bool:
    """Return whether the worker was lost, and is connected."""
    assert it.agent.workers is not None
    health = it.agent.workers.health()["big"]
    return health.reconnects > 0 and health.status == "connected"


async def started(it: Live, command: str) -> str:
    """Submit a run, and wait until its command is under way."""
    it.script(call("bash", command=command), DONE)
    run = it.submit_run()
    it.settle()
    await until((it.workspace / "started").exists, PATIENCE)
    return run.run_id


@pytest.mark.parametrize("address", ["direct", pytest.param("client", marks=pytest.mark.campaign)], indirect=True)
async def test_a_command_outlives_its_daemon_and_its_actor(it: Live, cluster: Cluster) -> None:
    run_id = await started(it, f"echo x >> ran; printenv; {WAITS}")
    [gateway], [actor] = ray_cluster.gateways(), cluster.workers()
    far = Path(f"/proc/{actor}/environ").read_bytes() + Path(f"/proc/{gateway}/environ").read_bytes()
    os.kill(gateway, signal.SIGKILL)  # what a killed daemon leaves: its end of the pipe is closed
    await until(lambda: is_connected(it), PATIENCE)
    assert cluster.workers() == [actor], "it was found again"

    os.kill(actor, signal.SIGKILL)
    await until(lambda: cluster.workers() not in ([], [actor]), PATIENCE)
    (it.workspace / "go").touch()
    assert (await it.rest(run_id)).status == "completed"
    [(is_error, _, content)] = it.results()
    assert not is_error and content.splitlines().count("end") == 1
    assert (it.workspace / "ran").read_text() == "x\n"
    assert SECRET not in content and "RAY_" not in content and SECRET.encode() not in far
    assert cluster.token.read_bytes() not in far
    assert list((cluster.far / "home-1").iterdir())  # it ran on the worker's node


@pytest.mark.campaign
@pytest.mark.parametrize("address", ["direct"], indirect=True)
async def test_a_cancelled_run_ends_the_tree_there(it: Live) -> None:
    tree = "trap '' TERM; (trap '' TERM; setsid sleep 301 & echo $! > child; wait) & touch started; wait"
    run_id = await started(it, tree)
    child = int(await until((it.workspace / "child").read_text))
    began = time.monotonic()
    runs.cancel(it.state, run_id, by="token:local")
    it.settle()
    assert (await it.rest(run_id)).status == "cancelled"
    await until(lambda: folder.start_time(child) == "ended")
    assert time.monotonic() - began < 15  # 5 s on a quiet machine


@pytest.mark.campaign
async def test_a_command_on_a_lost_node_is_asked_about(it: Live, cluster: Cluster) -> None:
    run_id = await started(it, f"echo x >> ran; {WAITS}")
    it.patience = 400.0  # the cluster takes a while to declare a node dead
    cluster.kill_worker_node()
    cluster.start_worker_node()
    run = await it.rest(run_id)
    assert run.status == "waiting_for_question" and (it.workspace / "ran").read_text() == "x\n"
    assert "may or may not have happened" in str(it.data("question.asked")[0]["questions"])


async def _reason(carrier: Carrier, is_told: Callable[[str], bool]) -> str:
    """Return why no connection comes about."""
    link = Connection("big", carrier, "home-1")
    waiting = asyncio.ensure_future(link.connected())
    try:
        await until(lambda: is_told(link.health.reason), PATIENCE)
        return link.health.reason
    finally:
        waiting.cancel()
        await link.close()


async def test_without_a_token_nothing_is_contacted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "none"))
    reason = await _reason(ray("ray://127.0.0.1:1", {}, home="home-1", worker="big"), bool)
    assert "Ray is used with a token only" in reason


@pytest.mark.campaign
async def test_a_cluster_that_accepts_anyone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a-token-that-nobody-checks-0123456789")
    with ray_cluster.cluster(is_guarded=False) as open_cluster:
        carrier = ray(open_cluster.address, {}, home="home-1", worker="big")
        reason = await _reason(carrier, lambda why: "RAY_AUTH_MODE=token" in why)  # it may be slow at first
        assert "RAY_AUTH_MODE=token" in reason
        await until(lambda: not open_cluster.workers(), PATIENCE)
