"""What a command may not do to the machine: fork without end, take all memory, fill the disk, stay after its end.

Each attack is tried plainly and, where bubblewrap works, in the sandbox. After each nothing of it lives.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from kheish.jobs import probing, sandbox
from kheish.jobs.runner import JobEnd, Jobs, JobSpec, Limits

MARK = "KHEISH_TEST_OF_LIMITS"
PLAINLY = pytest.param(False, id="plainly")
CONFINED = pytest.param(
    True, id="confined", marks=pytest.mark.skipif(not probing.probe().available, reason="bubblewrap does not work here")
)
both = pytest.mark.parametrize("confined", [PLAINLY, CONFINED])
#: each stops by itself at some 250 processes, which sleep: where the limit fails, the test does, and not the machine
BOMBS = {
    "bash": "f() { if [ $1 -gt 0 ]; then f $(($1-1)) & f $(($1-1)) & fi; sleep 30; wait; }; f 7",
    "python": "python3 -c 'import os, time\nfor _ in range(8): os.fork()\ntime.sleep(30)'",
    "setsid": "for i in {1..250}; do setsid sleep 30 & done; wait",
    "deaf to TERM": "trap '' TERM; for i in {1..250}; do (trap '' TERM; sleep 30; sleep 1) & done; wait",
    "threads": "python3 -c 'import threading, time\nfor _ in range(250): threading.Thread(target=time.sleep, "
    "args=(30,)).start()'",
}


def alive(tmp_path: Path) -> Iterator[str]:
    """The commands of the living processes that this test's command has started: all inherit its variable."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if f"{MARK}={tmp_path}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                    yield (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:  # it has ended meanwhile
                continue


async def run(jobs: Jobs, command: str, confined: bool, *, limits: Limits, timeout: float = 30.0) -> JobEnd:
    work = jobs.root.parent / "work"
    work.mkdir(exist_ok=True)
    argv: tuple[str, ...] = ("bash", "--noprofile", "--norc", "-c", command)
    if confined:
        argv = sandbox.wrap(argv, workspace=work)
    env = {**sandbox.clean_environment(work), MARK: str(jobs.root.parent)}
    await jobs.create("j", JobSpec(argv, str(work), env, timeout, limits=limits))
    await jobs.start("j")
    end = await asyncio.wait_for(jobs.wait("j", lambda text: None), 60)
    assert end is not None
    return end


@both
@pytest.mark.parametrize("bomb", BOMBS)
async def test_fork_bomb(jobs: Jobs, tmp_path: Path, bomb: str, confined: bool) -> None:
    end = await run(jobs, BOMBS[bomb], confined, limits=Limits(processes=60))

    assert end.exceeded == "processes" and end.ended > (0 if bomb == "threads" else 20)
    assert (end.timed_out, end.stopped, end.left) == (False, False, 0)
    assert end.duration < 10 and list(alive(tmp_path)) == []


@both
async def test_a_command_with_many_processes_one_after_another_is_no_bomb(jobs: Jobs, confined: bool) -> None:
    end = await run(jobs, "for i in {1..80}; do /bin/true; done; echo done", confined, limits=Limits(processes=20))

    assert (end.exit_status, end.exceeded, end.output) == (0, None, "done\n")


@both
async def test_memory(jobs: Jobs, tmp_path: Path, confined: bool) -> None:
    """Each of four takes 60 MB: none is too large, all together are."""
    hog = "python3 -c 'import time; x = b\"x\" * 60_000_000; time.sleep(60)'"
    end = await run(jobs, f"{hog} & {hog} & {hog} & {hog} & wait", confined, limits=Limits(memory=150_000_000))

    assert end.exceeded == "memory" and list(alive(tmp_path)) == []


async def test_memory_that_is_shared_counts_once(jobs: Jobs) -> None:
    code = "import os, time\nx = b'x' * 60_000_000\nfor _ in range(4): os.fork() or (time.sleep(1.5), os._exit(0))\n"
    end = await run(jobs, f'python3 -c "{code}time.sleep(2)"', False, limits=Limits(memory=150_000_000))

    assert (end.exceeded, end.exit_status) == (None, 0)


@both
async def test_a_file_that_grows_without_end(jobs: Jobs, confined: bool) -> None:
    end = await run(jobs, "cat /dev/zero > big; echo $?", confined, limits=Limits(file_size=1_000_000))

    assert end.output.splitlines()[-1] == str(128 + signal.SIGXFSZ)
    assert (jobs.root.parent / "work" / "big").stat().st_size == 1_000_000


@both
async def test_no_core_is_dumped_and_the_kernel_takes_commands_first(jobs: Jobs, confined: bool) -> None:
    end = await run(jobs, "ulimit -Hc; cat /proc/self/oom_score_adj", confined, limits=Limits())

    assert end.output == f"0\n{max(500, int(Path('/proc/self/oom_score_adj').read_text()))}\n"


@both
async def test_output_flood(jobs: Jobs, tmp_path: Path, confined: bool) -> None:
    """What is kept is bounded, and the end comes when it is due, however fast the command writes."""
    end = await run(jobs, "yes $RANDOM & yes >&2", confined, limits=Limits(processes=60), timeout=1.0)

    assert end.timed_out and end.duration < 8 and end.truncated and end.output_bytes > 16_000_000
    assert sum(path.stat().st_size for path in (jobs.root / "j").iterdir()) < 9 * 1024 * 1024
    assert "bytes of output were cut here" in end.output and list(alive(tmp_path)) == []


@both
@pytest.mark.parametrize(
    "command",
    [
        "sleep 100 & echo ok",
        "(setsid sleep 100 &) ; echo ok",
        "setsid sh -c 'trap \"\" TERM HUP; while :; do sleep 0.05; done' & echo ok",
        "nohup setsid sh -c '(sleep 100 &) ; sleep 100' > /dev/null 2>&1 & disown; echo ok",
        "python3 -c 'import os, time\nif os.fork() == 0:\n os.setsid()\n if os.fork() == 0: time.sleep(100)'; echo ok",
    ],
    ids=["background", "setsid", "deaf to TERM", "nohup", "daemon"],
)
async def test_children_that_stay_are_ended_with_it(jobs: Jobs, tmp_path: Path, command: str, confined: bool) -> None:
    end = await run(jobs, command, confined, limits=Limits(processes=60))

    assert (end.exit_status, end.output, end.left) == (0, "ok\n", 0)
    assert end.duration < 5 and list(alive(tmp_path)) == []
    assert confined or end.ended >= 1, "they are counted"


@both
async def test_a_timeout_ends_and_counts_all_of_a_tree(jobs: Jobs, tmp_path: Path, confined: bool) -> None:
    command = "for i in 1 2 3; do setsid sleep 100 & done; wait"
    end = await run(jobs, command, confined, limits=Limits(), timeout=1.5)  # the three begin before

    assert end.timed_out and end.ended == 4 and list(alive(tmp_path)) == []


async def test_stopping_a_command_that_makes_processes_all_the_time(jobs: Jobs, tmp_path: Path) -> None:
    command = "trap '' TERM; while :; do (setsid sleep 0.3 &); done"
    running = asyncio.create_task(run(jobs, command, False, limits=Limits(processes=1000)))
    async with asyncio.timeout(10):
        while not list(alive(tmp_path)):  # noqa: ASYNC110 -- another process makes it true
            await asyncio.sleep(0.01)
    await jobs.stop("j", grace=0.2)
    end = await running

    assert end.stopped and end.left == 0
    assert list(alive(tmp_path)) == []
