"""Work beneath a workspace has its own threads and a deadline: what hangs there holds nobody else."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kheish.beneath import Door, pool
from kheish.beneath.pool import Pool
from kheish.errors import WorkspaceSlow


async def test_a_workspace_that_hangs_holds_its_share_of_threads_only(tmp_path: Path) -> None:
    over = threading.Event()
    pond = Pool(threads=6, per_workspace=2)
    try:
        hung = [asyncio.create_task(pond.run("hung", 0.3, over.wait)) for _ in range(5)]
        await asyncio.sleep(0)
        began = time.monotonic()
        found = await asyncio.gather(*(pond.run("other", 5, lambda n=n: n) for n in range(50)))
        assert found == list(range(50)) and time.monotonic() - began < 3
        for task in hung:
            with pytest.raises(WorkspaceSlow, match="hung did not answer"):
                await task
        with pytest.raises(WorkspaceSlow):
            await pond.run("hung", 0.1, lambda: "its threads are still there")
        over.set()
        assert await pond.run("hung", 5, lambda: "again") == "again"
    finally:
        over.set()


async def test_work_that_was_given_up_ends_at_its_next_check(tmp_path: Path) -> None:
    ended = threading.Event()

    def endless() -> None:
        try:
            while True:
                pool.check()
        finally:
            ended.set()

    with pytest.raises(WorkspaceSlow):
        await pool.within(0.1, Door(tmp_path), endless)
    assert ended.wait(5)


async def test_errors_come_back_and_a_cancelled_caller_leaves_the_pool_whole() -> None:
    pond = Pool(threads=1, per_workspace=1)
    with pytest.raises(ZeroDivisionError):
        await pond.run("w", 5, lambda: 1 // 0)
    waits = threading.Event()
    tasks = [asyncio.create_task(pond.run("w", 5, waits.wait)) for _ in range(3)]
    await asyncio.sleep(0.05)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    waits.set()
    assert await pond.run("w", 5, lambda: 2) == 2


def test_a_thread_that_hangs_does_not_keep_the_process(tmp_path: Path) -> None:
    code = """
import asyncio, sys, threading
from pathlib import Path
from kheish.beneath import Door, pool
from kheish.errors import WorkspaceSlow
async def main():
    try:
        await pool.within(0.1, Door(Path("/")), threading.Event().wait)
    except WorkspaceSlow:
        print("given up")
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (0, "given up\n"), done.stderr


async def test_a_thread_that_the_system_refuses_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    pond = Pool(threads=2, per_workspace=1)
    real, refusals = threading.Thread.start, [1]

    def start(self: threading.Thread) -> None:
        if refusals:
            refusals.pop()
            raise RuntimeError("can't start new thread")
        real(self)

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(WorkspaceSlow):
        await pond.run("a", 0.05, lambda: 1)
    waits = threading.Event()
    hung = asyncio.create_task(pond.run("b", 20, waits.wait))
    try:
        assert await pond.run("c", 10, lambda: 3) == 3
    finally:
        waits.set()
    assert await hung


async def test_errors_that_look_like_the_pools_own_are_the_works() -> None:
    pond = Pool(threads=1)

    def timed_out() -> None:
        raise TimeoutError("the disk")

    with pytest.raises(TimeoutError, match="the disk"):
        await pond.run("w", 5, timed_out)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await pond.run("w", 5, lambda: next(iter(())))
