"""Functions of untrusted input in child processes: deadlines, memory, death, idle ends."""

from __future__ import annotations

import asyncio
import contextlib
import operator
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kheish.jobs import confined, patterns
from kheish.runtime.tools import webpage


def children() -> set[int]:
    own = Path(f"/proc/{os.getpid()}/task")
    found = set[int]()
    for task in own.iterdir():
        with contextlib.suppress(FileNotFoundError):  # a thread that ended meanwhile
            found.update(map(int, (task / "children").read_text().split()))
    return found


async def test_it_returns_what_the_function_returns() -> None:
    pool = confined.Pool("test")
    assert await pool.call(webpage.decode, "é".encode("latin-1"), "latin-1", seconds=20) == "é"
    assert await asyncio.gather(*(pool.call(patterns.found, "a+b", "x" * n + "aab", seconds=20) for n in range(20)))


async def test_a_search_without_end_is_stopped_and_the_next_call_works() -> None:
    pool = confined.Pool("test", size=1)
    assert await pool.call(patterns.found, "a", "a", seconds=20)  # the child is there
    started = time.monotonic()
    with pytest.raises(confined.Overdue):
        await pool.call(patterns.found, "(a+)+$", "a" * 40 + "b", seconds=0.5)
    assert time.monotonic() - started < 5
    assert await pool.call(patterns.found, "a", "a", seconds=20)


@pytest.mark.parametrize(
    ("function", "args", "why"),
    [
        (os.abort, (), "ended"),
        (operator.mul, ("x", 80 << 20), "its answer has"),
        (operator.mul, ("x", 8 << 30), "memory"),
        (operator.getitem, ([], 0), "IndexError"),
    ],
)
async def test_what_breaks_the_child_is_a_failure_of_the_call_alone(
    function: Callable[..., Any], args: tuple[Any, ...], why: str
) -> None:
    pool = confined.Pool("test", size=1, memory=4 << 30)
    with pytest.raises(confined.Failed, match=why):
        await pool.call(function, *args, seconds=20)
    assert await pool.call(patterns.found, "a", "a", seconds=20)


async def test_an_idle_child_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confined, "_IDLE", 0.05)
    before = children()
    pool = confined.Pool("test")
    assert await pool.call(patterns.found, "a", "a", seconds=20)
    async with asyncio.timeout(10):
        while children() - before:  # noqa: ASYNC110 - the kernel tells nobody but the parent
            await asyncio.sleep(0.01)
    assert await pool.call(patterns.found, "a", "a", seconds=20)


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="this kernel has no groups of sessions")
async def test_the_session_of_a_child_gives_way_to_the_daemon() -> None:
    before = children()
    pool = confined.Pool("test", size=1)
    assert await pool.call(patterns.found, "a", "a", seconds=20)
    (child,) = children() - before
    assert Path(f"/proc/{child}/autogroup").read_text().endswith(f"nice {os.getpriority(os.PRIO_PROCESS, child)}\n")
    assert os.getpriority(os.PRIO_PROCESS, child) > os.getpriority(os.PRIO_PROCESS, 0)


async def test_bytes_reach_the_function_as_they_are() -> None:
    pool = confined.Pool("test", size=1)
    for body in (b"", b"\0\xff" * 3_000_000):
        assert await pool.call(operator.length_hint, body, seconds=20) == len(body)
    assert await pool.call(operator.eq, b"a\xff", b"a\xff", seconds=20)
    assert await pool.call(operator.eq, {"$bytes": 1, "x": 1}, b"a", seconds=20) is False
