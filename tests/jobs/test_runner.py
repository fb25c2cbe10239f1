"""Jobs run once, are followed by whoever asks, and leave nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kheish.errors import Conflict, Invalid, KheishError, NotFound
from kheish.jobs import folder, runner
from kheish.jobs.runner import JobEnd, Jobs, JobSpec, JobState

ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
LOOP_IGNORING_TERM = "trap '' TERM; while :; do sleep 0.01; done"


async def begin(jobs: Jobs, command: str, *, timeout: float = 20.0, limit: int = 1 << 20) -> str:
    """Make and start job `j` that runs the command with bash."""
    await jobs.create("j", JobSpec(("bash", "-c", command), str(jobs.root.parent), ENV, timeout, limit))
    await jobs.start("j")
    return "j"


async def run(jobs: Jobs, command: str, *, timeout: float = 20.0, limit: int = 1 << 20) -> JobEnd:
    return await finish(jobs, await begin(jobs, command, timeout=timeout, limit=limit))


async def finish(jobs: Jobs, job_id: str) -> JobEnd:
    end = await jobs.wait(job_id, lambda text: None)
    assert end is not None
    return end


async def until_there(path: Path) -> str:
    """The text of a file that a command will write."""
    await eventually(lambda: path.exists() and path.read_text().endswith("\n"))
    return path.read_text().strip()


async def eventually(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 -- another process makes it true
            await asyncio.sleep(0.005)


def is_alive(pid: int) -> bool:
    found = folder.stat(pid)
    return found is not None and found[0] not in "ZX"


async def test_a_job_tells_its_output_and_status(jobs: Jobs) -> None:
    # given
    heard: list[str] = []
    await jobs.create("j", JobSpec(("sh", "-c", "echo grüße; echo err >&2; cat; exit 3"), "/", ENV, 20))
    assert jobs.state("j") is JobState.UNCLAIMED

    # when
    await jobs.start("j")
    end = await jobs.wait("j", heard.append)

    # then
    assert end is not None
    assert (end.exit_status, end.signal, end.timed_out, end.stopped) == (3, None, False, False)
    assert end.output == "".join(heard) == "grüße\nerr\n"
    assert end.output_bytes == 12 and not end.truncated
    assert jobs.state("j") is JobState.ENDED and jobs.list() == ("j",)


async def test_output_comes_while_the_job_runs(jobs: Jobs) -> None:
    # given a command that goes on only when its first line was heard
    heard = asyncio.Event()
    await begin(jobs, "echo first; until [ -e go ]; do sleep 0.01; done; echo last")
    waiting = asyncio.create_task(jobs.wait("j", lambda text: heard.set()))

    # when
    await asyncio.wait_for(heard.wait(), 10)
    (jobs.root.parent / "go").touch()

    # then
    end = await waiting
    assert end is not None and end.output == "first\nlast\n"


async def test_long_output_keeps_head_and_tail(jobs: Jobs) -> None:
    # when
    end = await run(jobs, "seq 1 20000", limit=8000)

    # then
    assert end.output.startswith("1\n2\n") and end.output.endswith("\n19999\n20000\n")
    assert end.truncated and end.output_bytes == 108_894
    kept = sum(file.stat().st_size for file in (jobs.root / "j").glob("output.*"))
    assert 6000 <= kept <= 8000
    assert f"[{end.output_bytes - kept:,} bytes of output were cut here]" in end.output


async def test_a_command_that_cannot_start_says_why(jobs: Jobs) -> None:
    # given
    await jobs.create("name", JobSpec(("nonesuch",), "/", ENV, 20))
    await jobs.create("folder", JobSpec(("true",), "/nonesuch", ENV, 20))
    await jobs.create("mode", JobSpec(("/etc/passwd",), "/", ENV, 20))

    # when
    ends = []
    for job_id in ("name", "folder", "mode"):
        await jobs.start(job_id)
        ends.append(await finish(jobs, job_id))

    # then
    assert [end.exit_status for end in ends] == [127, 127, 126]
    assert ends[0].output == "nonesuch: No such file or directory\n"


async def test_the_command_gets_its_environment_and_no_descriptors(jobs: Jobs) -> None:
    # given a descriptor of ours that any child would inherit
    leak = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leak, True)

    # when
    await jobs.create("j", JobSpec(("sh", "-c", "env; ls /proc/$$/fd; kill -0 0"), "/", {"PATH": "/usr/bin:/bin"}, 20))
    await jobs.start("j")
    end = await finish(jobs, "j")
    os.close(leak)

    # then
    lines = set(end.output.split())
    assert lines - {"PATH=/usr/bin:/bin", "PWD=/", "OLDPWD=/", "_=/usr/bin/env", "SHLVL=0"} == {"0", "1", "2"}


async def test_a_timeout_ends_the_whole_tree(jobs: Jobs) -> None:
    # given an escapee in a session of its own, whose parent is gone
    escapee = "(setsid sh -c 'echo $$ > escaped; exec sleep 100' &)"

    # when
    end = await run(jobs, f"{escapee}; until [ -s escaped ]; do sleep 0.01; done; exec sleep 100", timeout=2)

    # then
    assert (end.exit_status, end.signal, end.timed_out) == (None, signal.SIGTERM, True)
    assert not is_alive(int((jobs.root.parent / "escaped").read_text()))


async def test_the_end_of_the_main_process_ends_the_rest(jobs: Jobs) -> None:
    # when
    end = await run(jobs, "(setsid sh -c 'echo $$ > escaped; exec sleep 100' &); until [ -s escaped ]; do :; done")

    # then
    assert end.exit_status == 0 and end.duration < 1.0
    assert not is_alive(int((jobs.root.parent / "escaped").read_text()))


async def test_stop_kills_what_ignores_term(jobs: Jobs) -> None:
    # given
    await begin(jobs, f"echo $$ > pid; {LOOP_IGNORING_TERM}")
    pid = int(await until_there(jobs.root.parent / "pid"))

    # when
    await jobs.stop("j", grace=0.1)

    # then
    end = await finish(jobs, "j")
    assert end.stopped and end.signal == signal.SIGKILL and not end.timed_out
    assert not is_alive(pid)


async def test_a_job_outlives_the_daemon_and_is_found_again(jobs: Jobs, tmp_path: Path) -> None:
    # given a process that starts a job, and is killed
    program = f"""
import asyncio, os, pathlib
from kheish.jobs.runner import Jobs, JobSpec
async def main():
    jobs = Jobs(pathlib.Path({str(jobs.root)!r}))
    argv = ("sh", "-c", "echo one > started; echo one; until [ -e go ]; do sleep 0.01; done; echo two; exit 7")
    await jobs.create("j", JobSpec(argv, {str(tmp_path)!r}, {ENV!r}, 20))
    await jobs.start("j")
    await jobs.wait("j", lambda text: None)
asyncio.run(main())
"""
    root = Path(folder.__file__).parents[2]
    daemon = await asyncio.create_subprocess_exec(sys.executable, "-c", program, cwd=root)
    await until_there(tmp_path / "started")
    daemon.kill()
    await daemon.wait()

    # when
    assert jobs.state("j") is JobState.RUNNING
    with pytest.raises(Conflict):
        jobs.remove("j")
    waiting = asyncio.create_task(finish(jobs, "j"))
    (tmp_path / "go").touch()

    # then
    end = await waiting
    assert end.exit_status == 7 and end.output == "one\ntwo\n"


async def test_of_many_runners_one_runs_the_command(jobs: Jobs) -> None:
    # given
    await jobs.create("j", JobSpec(("sh", "-c", "echo x >> ledger"), str(jobs.root.parent), ENV, 20))

    # when
    await asyncio.gather(*(jobs.start("j") for _ in range(5)))
    await finish(jobs, "j")
    await asyncio.gather(jobs.start("j"))

    # then
    assert not jobs.claim("j")
    assert (jobs.root.parent / "ledger").read_text() == "x\n"


async def test_a_claimed_job_never_starts(jobs: Jobs) -> None:
    # given
    await jobs.create("j", JobSpec(("touch", "ran"), str(jobs.root.parent), ENV, 20))

    # when
    assert jobs.claim("j") and jobs.claim("j")
    await jobs.start("j")
    await asyncio.wait_for(jobs._runners["j"].happened.wait(), 10)

    # then
    assert jobs.state("j") is JobState.WITHDRAWN
    assert not (jobs.root.parent / "ran").exists()
    end = await finish(jobs, "j")
    assert end.stopped and end.exit_status is None


async def test_a_job_without_runner_and_end_is_gone(jobs: Jobs) -> None:
    # given
    await begin(jobs, "echo $$ > pid; sleep 100")
    pid = int(await until_there(jobs.root.parent / "pid"))
    claim = folder.read(str(jobs.root / "j"), folder.CLAIM)
    assert claim is not None and isinstance(claim["pid"], int)

    # when
    os.kill(claim["pid"], signal.SIGKILL)

    # then
    assert await jobs.wait("j", lambda text: None) is None
    assert jobs.state("j") is JobState.GONE
    await eventually(lambda: not is_alive(pid))


@pytest.mark.parametrize("damage", [b"", b"\x00" * 64, b'{"by": "run', b"[]"])
async def test_files_that_the_disk_damaged_are_told_apart(jobs: Jobs, damage: bytes) -> None:
    # given: one that never started, one that somebody started, one that has ended
    for name in ("new", "begun", "over"):
        await jobs.create(name, JobSpec(("echo", "first"), "/", ENV, 20, owner="run_1"))
    folder.take_claim(str(jobs.root / "begun"), {"by": "runner"})
    await jobs.start("over")
    await asyncio.wait_for(jobs._runners["over"].happened.wait(), 10)

    # when
    for name, file in (("new", folder.SPEC), ("begun", folder.CLAIM), ("over", folder.END)):
        (jobs.root / name / file).write_bytes(damage)

    # then: what never started may start, and nothing else is taken for it
    assert runner.owner(jobs, "new") == ""
    assert [jobs.state(name) for name in ("new", "begun", "over")] == [
        JobState.UNCLAIMED, JobState.GONE, JobState.GONE,
    ]  # fmt: skip
    assert not jobs.claim("begun") and not jobs.claim("over")
    assert await jobs.wait("begun", lambda text: None) is None
    assert await jobs.wait("over", lambda text: None) is None
    await jobs.start("new")
    with pytest.raises(KheishError, match="before it started"):
        await jobs.wait("new", lambda text: None)
    assert jobs.claim("new")


async def test_another_start_of_the_machine_means_gone(jobs: Jobs) -> None:
    # given
    await jobs.create("j", JobSpec(("true",), "/", ENV, 20))

    # when
    mine = folder.identity()
    assert folder.lives(mine) and not folder.lives({**mine, "start": "1"})
    folder.take_claim(str(jobs.root / "j"), {**mine, "boot": "another"})

    # then
    assert jobs.state("j") is JobState.GONE


async def test_making_is_idempotent_and_removing_whole(jobs: Jobs) -> None:
    # given
    await jobs.create("j", JobSpec(("echo", "first"), "/", ENV, 20))
    await jobs.create("j", JobSpec(("echo", "second"), "/", ENV, 20))

    # when
    await jobs.start("j")
    end = await finish(jobs, "j")
    jobs.remove("j")
    jobs.remove("j")

    # then
    assert end.output == "first\n"
    assert jobs.list() == () and list(jobs.root.iterdir()) == []
    assert jobs.state("j") is JobState.MISSING


async def test_what_is_not_there_is_said(jobs: Jobs) -> None:
    with pytest.raises(NotFound):
        await jobs.start("none")
    with pytest.raises(NotFound):
        await jobs.wait("none", print)
    with pytest.raises(NotFound):
        await jobs.stop("none")
    with pytest.raises(Invalid):
        jobs.state("../x")


async def test_a_short_job_takes_little_time(jobs: Jobs) -> None:
    # when
    times = []
    for number in range(5):
        began = time.perf_counter()
        await jobs.create(f"j{number}", JobSpec(("true",), "/", ENV, 20))
        await jobs.start(f"j{number}")
        await finish(jobs, f"j{number}")
        times.append(time.perf_counter() - began)

    # then: 33 ms on an idle machine; the bound only catches what polls or imports too much
    assert min(times) < 0.25


async def test_what_a_power_cut_left_of_a_removed_folder_is_deleted(jobs: Jobs) -> None:
    # given: the removal of its files is on disk, its new name is not
    await run(jobs, "true")
    (jobs.root / "lost").mkdir()
    (jobs.root / "torn").mkdir()
    (jobs.root / "torn" / "claim").write_text("{}")
    (jobs.root / ".new-x").write_text("no folder")
    (jobs.root / "link").symlink_to(jobs.root / "lost")

    # when
    runner.tidy(jobs.root)

    # then
    assert not (jobs.root / "lost").exists() and not (jobs.root / "torn").exists()
    assert (jobs.root / "j").exists()
