from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kheish import errors
from kheish.store import pipes

SERVER = """
import os, sys, time
from kheish import errors
from kheish.store import pipes
parent = pipes.Parent()
def missing(): raise errors.NotFound("there is none")
def idle():
    if not said: parent.notify("idle"); said.append(1)
said = []
handlers = {
    "echo": lambda **given: given, "size": lambda data: len(pipes.unpack(data)), "die": lambda: os._exit(3),
    "missing": missing, "wrong": lambda: 1 / 0, "print": lambda: print("stray", flush=True),
    "fds": lambda: sorted(os.listdir("/proc/self/fd")), "sid": lambda: os.getsid(0),
    "hang": lambda: time.sleep(3600),
}
pipes.serve(handlers, parent=parent, idle=idle)
"""


@pytest.fixture
async def child(tmp_path: Path) -> AsyncIterator[pipes.Child]:
    script = tmp_path / "server.py"
    script.write_text(SERVER)
    here = os.pathsep.join(sys.path)
    child = pipes.Child([sys.executable, os.fspath(script)], env={**os.environ, "PYTHONPATH": here})
    await child.start()
    yield child
    await child.close(grace=0.0)


async def test_many_requests_at_once_each_get_their_own_answer(child: pipes.Child) -> None:
    asked = [child.request("echo", number=number, text="é" * 1000) for number in range(200)]

    answers = await asyncio.gather(*asked)

    assert [answer["number"] for answer in answers] == list(range(200))
    assert await child.request("size", data=b"\xff" * 1_000_000) == 1_000_000
    assert await child.request("size", data="é") == 2


async def test_errors_come_back_in_their_own_class(child: pipes.Child) -> None:
    with pytest.raises(errors.NotFound, match="there is none"):
        await child.request("missing")
    with pytest.raises(pipes.ChildFailed, match="ZeroDivisionError"):
        await child.request("wrong")
    await child.request("print")
    assert await child.request("echo", a=1) == {"a": 1}


async def test_unasked_frames_reach_the_callback(tmp_path: Path) -> None:
    script, notices = tmp_path / "server.py", asyncio.Queue[dict[str, Any]]()
    script.write_text(SERVER)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    child = pipes.Child([sys.executable, os.fspath(script)], on_notice=notices.put_nowait, env=env)
    await child.start()

    assert (await notices.get())["notice"] == "idle"
    child.send_nowait("wrong")
    failed = await notices.get()

    assert failed["op"] == "wrong" and failed["error"]["name"] == "ZeroDivisionError"
    await child.close()


async def test_waiters_of_a_dead_child_are_told_and_a_new_one_goes_on(child: pipes.Child) -> None:
    waiting = [asyncio.create_task(child.request("die"))]
    waiting += [asyncio.create_task(child.request("echo")) for _ in range(3)]

    told = await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(error) for error in told] == [pipes.ChildGone] * 4
    with pytest.raises(pipes.ChildGone):
        child.send_nowait("echo")
    await child.respawn()
    assert await child.request("echo", a=1) == {"a": 1}


async def test_a_hanging_child_is_killed_at_close(child: pipes.Child) -> None:
    waiting = asyncio.create_task(child.request("hang"))
    await asyncio.sleep(0)

    await child.close(grace=0.05)

    with pytest.raises(pipes.ChildGone):
        await waiting
    assert not child.alive


@pytest.mark.skipif(not Path("/proc").exists(), reason="there is no /proc")
async def test_the_child_inherits_no_descriptor_and_has_its_own_session(child: pipes.Child, tmp_path: Path) -> None:
    with (tmp_path / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        await child.respawn()

    assert len(await child.request("fds")) <= 6  # three, two for the frames, one that lists them
    assert await child.request("sid") == child.pid


@pytest.mark.parametrize("module", ["kheish.store.log.scribe", "kheish.store.git.gitworker"])
def test_the_children_load_no_event_loop_and_no_parser_of_yaml(module: str) -> None:
    words = f"import sys, {module}; print([name for name in ('asyncio', 'yaml', 'pydantic') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", words], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"  # they are memory that is held for as long as the daemon runs
