"""The asynchronous client: the same calls, the same streams."""

import subprocess
import sys

import pytest

from kheish.client import AsyncKheish
from kheish.errors import NotFound, Unreachable
from tests.support.daemon_standin import Standin, frame, problem, run_view


async def test_a_followed_run_goes_on_over_cuts(daemon: Standin) -> None:
    daemon.answers["POST /v1/sessions/s/runs"] = 202, run_view("queued")
    daemon.answers["GET /v1/runs/run_1"] = 200, run_view(output="done")
    daemon.streams["/v1/runs/run_1/events"] = [
        [frame(1, "run.started"), b"id: 2\nevent: mo"],
        [frame(2, "model.requested"), frame(3, "run.completed")],
    ]
    async with AsyncKheish(state_root=daemon.root) as client:
        run = await client.runs.start("s", "go")
        seen = [event.n async for event in run.follow()]

    assert seen == [1, 2, 3]
    assert run.output == "done"
    assert daemon.of("POST /v1/sessions/s/runs")[0].json == {"content": "go"}


async def test_errors_are_the_same(daemon: Standin) -> None:
    async with AsyncKheish(state_root=daemon.root) as client:
        with pytest.raises(NotFound):
            await client.sessions.get("nobody")
    async with AsyncKheish(url="http://127.0.0.1:1") as client:
        with pytest.raises(Unreachable, match="kheish serve"):
            await client.status()


async def test_wait_gives_up_in_time(daemon: Standin) -> None:
    daemon.answers["GET /v1/runs/run_1"] = 200, run_view("running")
    daemon.streams["/v1/runs/run_1/events"] = [[frame(2, "model.requested")] for _ in range(20)]

    async with AsyncKheish(state_root=daemon.root) as client:
        with pytest.raises(TimeoutError):
            await (await client.runs.get("run_1")).wait(timeout=0.1)


def test_the_blocking_client_needs_no_httpx() -> None:
    code = "import sys, kheish.client.sync; from kheish.client import Kheish; print('httpx' in sys.modules)"

    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


async def test_a_read_waits_until_the_daemon_is_ready(daemon: Standin) -> None:
    not_ready = problem(503, "unavailable", retry_after=0.01)
    daemon.answers["GET /v1/runs/run_1"] = [not_ready, not_ready, (200, run_view(output="ok"))]

    async with AsyncKheish(state_root=daemon.root) as client:
        assert (await client.runs.get("run_1")).output == "ok"
