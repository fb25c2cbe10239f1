"""Search processes, ended at a limit of time or output."""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from dataclasses import dataclass

SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The output of a search process; `stopped` is the reason of an early end."""

    out: bytes
    err: str
    status: int
    stopped: str | None


async def execute(argv: list[str], limit: int, *, stdin: int, cwd: str, descriptors: tuple[int, ...] = ()) -> Answer:
    """Run a search; it is ended at a limit of time or output."""
    process = await asyncio.create_subprocess_exec(
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
    stopped: str | None = None
    try:
        async with asyncio.timeout(SECONDS):
            assert process.stdout is not None
            while chunk := await process.stdout.read(256 * 1024):
                out += chunk
                if len(out) > limit:
                    stopped = f"it found more than {limit // 1024**2} MiB"
                    break
    except TimeoutError:
        stopped = f"it took more than {SECONDS:.0f} s"
    finally:
        await _end(process)
        err = (await errors).decode("utf-8", "replace").strip()
    return Answer(bytes(out), err, process.returncode or 0, stopped)


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
