"""Search processes, ended at a limit of time or output."""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SECONDS = 30.0


#: KiB of memory that a search may allocate, as `ulimit -d` counts it
_MEMORY = 512 * 1024
_LIMITED = ("/bin/sh", "-c", f'ulimit -d {_MEMORY} && exec "$@"', "sh")
#: seconds between two samples of the processor time, and samples without any after which a search is idle
_SAMPLE_EVERY, _IDLE_SAMPLES = 0.2, 5


@dataclass(frozen=True, slots=True)
class Answer:
    """The output of a search process; `stopped` is the reason of an early end.

    `is_idle`: it did nothing; `is_crash`: it died, as of too little memory. `note` is a remark on a complete search.
    """

    out: bytes
    err: str
    status: int
    stopped: str | None
    is_idle: bool = False
    is_crash: bool = False
    note: str | None = None


async def execute(
    argv: list[str],
    limit: int,
    *,
    stdin: int,
    cwd: str,
    descriptors: tuple[int, ...] = (),
    seconds: float | None = None,
    ends_idle: bool = False,
) -> Answer:
    """Run a search; it is ended at a limit of time, output or memory, and with `ends_idle` if it does nothing."""
    process = await asyncio.create_subprocess_exec(
        *_LIMITED,
        *argv,
        stdin=stdin,
        stdout=PIPE,
        stderr=PIPE,
        cwd=cwd,
        env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
        pass_fds=descriptors,
    )
    out = bytearray()
    errors = asyncio.ensure_future(_read_stderr(process))
    idle = asyncio.ensure_future(_wait_idle(process, out)) if ends_idle else None
    stopped: str | None = None
    seconds = SECONDS if seconds is None else seconds
    try:
        async with asyncio.timeout(seconds):
            assert process.stdout is not None
            while chunk := await process.stdout.read(256 * 1024):
                out += chunk
                if len(out) > limit:
                    stopped = f"it found more than {limit // 1024**2} MiB"
                    break
    except TimeoutError:
        stopped = f"it took more than {seconds:.0f} s"
    finally:
        if idle is not None:
            idle.cancel()
        await _end(process)
        err = (await errors).decode("utf-8", "replace").strip()
    status = process.returncode or 0
    is_idle = idle is not None and idle.done() and not idle.cancelled()
    is_crash = stopped is None and not is_idle and (status < 0 or status > 128)
    if is_idle or is_crash:
        stopped = "it was blocked" if is_idle else f"it needed more than {_MEMORY // 1024} MiB of memory"
    return Answer(bytes(out), err, status, stopped, is_idle, is_crash)


async def _wait_idle(process: Process, out: bytearray) -> None:
    """Kill the process when all of its descendants sleep, without output and without processor time for some samples.

    Never returns before that, nor where the system does not show processes.
    """
    before, same = None, 0
    while True:
        await asyncio.sleep(_SAMPLE_EVERY)
        used = _used(process.pid)
        now = None if used is None else (used, len(out))
        same = same + 1 if now is not None and now == before else 0
        before = now
        if same >= _IDLE_SAMPLES:
            with suppress(ProcessLookupError):
                process.kill()
            return


def _used(pid: int) -> tuple[int, ...] | None:
    """Return the processor time of a process and its descendants, if all of them sleep; else None."""
    times, pids = list[int](), [pid]
    for one in pids:  # the list grows during the loop
        try:
            stat = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            children = Path(f"/proc/{one}/task/{one}/children").read_text().split()
        except OSError:
            return None
        if stat[0] != "S":
            return None
        times.append(int(stat[11]) + int(stat[12]))
        pids += map(int, children)
    return tuple(times)


async def _read_stderr(process: Process) -> bytes:
    """Return the first 64 KiB of stderr; the rest is read and dropped, so that the process never blocks."""
    assert process.stderr is not None
    kept = bytearray()
    while chunk := await process.stderr.read(64 * 1024):
        kept += chunk[: 64 * 1024 - len(kept)]
    return bytes(kept)


async def _end(process: Process) -> None:
    assert process.stdout is not None
    with suppress(ProcessLookupError):
        if process.returncode is None and not process.stdout.at_eof():
            process.kill()
    while await process.stdout.read(256 * 1024):
        pass
    await process.wait()
