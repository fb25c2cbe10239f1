"""Commands as jobs that survive the daemon: creating, starting, following, finding, stopping and removing them.

A job is a folder (`folder.py`) and a small runner process (`child.py`). All of its state is read from the folder and
from the process table, so a job that an earlier daemon started is like any other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from pathlib import Path

from kheish import ids
from kheish.errors import Conflict, KheishError, NotFound
from kheish.jobs import child, folder, following, record
from kheish.jobs.exits import Exit
from kheish.jobs.output import Reader
from kheish.jobs.values import JobEnd as JobEnd, JobSpec as JobSpec, JobState as JobState, Limits as Limits

#: seconds between reads of the output: few after new output, more while there is none
_FIRST_PAUSE, _LONGEST_PAUSE, _PAUSE_GROWTH = 0.005, 0.25, 1.5
#: seconds between checks of a job whose output is not followed: without and with notice of its runner's end
_LOOK_EVERY, _LOOK_ANYWAY = 1.0, 60.0
_PACKAGE_ROOT = str(Path(__file__).parents[2])
_RUNNER = "import sys; sys.path.append(sys.argv[1]); from kheish.jobs import child; child.main(sys.argv[2])"


log = logging.getLogger(__name__)


class Jobs:
    """The jobs of a state root; `root` is its `.git/kheish/jobs`, created if missing.

    The methods without `async` read or write a few small files; call them in a thread if that matters. Every method
    raises Invalid for a job id that is not a slug.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._runners: dict[str, Exit] = {}

    async def create(self, job_id: str, spec: JobSpec) -> None:
        """Create the folder, durably. An existing folder stays as it is. Raises OSError."""
        await asyncio.to_thread(_create, self._folder(job_id), spec)

    async def start(self, job_id: str) -> None:
        """Start a runner. Of several runners for a job (also of several daemons), one runs the command. Raises
        NotFound."""
        path = self._folder(job_id)
        if not (await asyncio.to_thread((path / folder.SPEC).exists)):
            raise NotFound(f"There is no job {job_id!r}.")
        await self._forget()
        pid = await asyncio.to_thread(_spawn, path)
        self._runners[job_id] = Exit(pid, child=True)

    async def wait(self, job_id: str, on_output: Callable[[str], None]) -> JobEnd | None:
        """Pass all output, from its first byte, to `on_output`, and return the job's end; None if the job is gone.

        Cancelling this leaves the job alone. Raises NotFound; KheishError if our runner ended before it claimed the job
        (the command never started, and `start` may be called again).
        """
        text = following.Text(on_output)

        async def show(offset: int, data: bytes) -> None:
            text.add(offset, data)

        end = await self.follow(job_id, 0, show)
        text.end()
        return end

    async def follow(
        self, job_id: str, start: int, on_output: Callable[[int, bytes], Awaitable[None]]
    ) -> JobEnd | None:
        """Pass the output as `wait` does, as bytes with their position, from the position `start` on."""
        path = self._folder(job_id)
        spec = await asyncio.to_thread(folder.read, str(path), folder.SPEC)
        if spec is None:
            raise NotFound(f"There is no job {job_id!r}.")
        reader = Reader(str(path), record.limit(spec))
        reader.position = start
        pause = _FIRST_PAUSE
        async with self._runner(job_id) as runner:
            while True:
                runner_ended = runner.happened.is_set()
                state, parts = await asyncio.to_thread(record.look, str(path), reader)
                for offset, data in parts:
                    await on_output(offset, data)
                if parts:
                    pause = _FIRST_PAUSE
                elif state is JobState.UNCLAIMED and runner_ended:
                    raise KheishError(f"The runner of job {job_id!r} ended before it started the command.")
                elif state not in (JobState.UNCLAIMED, JobState.RUNNING):
                    return await asyncio.to_thread(record.end, str(path), state, record.limit(spec))
                else:
                    await runner.within(pause)
                    pause = min(pause * _PAUSE_GROWTH, _LONGEST_PAUSE)

    async def ended(self, job_id: str) -> JobEnd | None:
        """Wait as `wait` does, but read no output before the end: for jobs that may run for days."""
        path = str(self._folder(job_id))
        spec = await asyncio.to_thread(folder.read, path, folder.SPEC)
        if spec is None:
            raise NotFound(f"There is no job {job_id!r}.")
        async with self._runner(job_id) as runner:
            while True:
                runner_ended = runner.happened.is_set()
                state = await asyncio.to_thread(record.state, path)
                if state is JobState.UNCLAIMED and runner_ended:
                    raise KheishError(f"The runner of job {job_id!r} ended before it started the command.")
                if state not in (JobState.UNCLAIMED, JobState.RUNNING):
                    return await asyncio.to_thread(record.end, path, state, record.limit(spec))
                is_quiet = runner.is_told and state is JobState.RUNNING
                await runner.within(_LOOK_ANYWAY if is_quiet else _LOOK_EVERY)

    async def output(self, job_id: str, start: int | None, most: int) -> tuple[int, bytes, int]:
        """Return the output so far: the position of its bytes, at most `most` bytes, and the total number of bytes.

        `start` counts from the first byte written; None means as late as `most` allows. If the bytes at `start` were
        cut, the result begins after the gap. Raises NotFound.
        """
        return await asyncio.to_thread(record.output, str(self._folder(job_id)), job_id, start, most)

    async def look(self, job_id: str) -> JobState:
        """Return `state`, read in a thread."""
        return await asyncio.to_thread(self.state, job_id)

    async def drop(self, job_id: str) -> None:
        """Do what `remove` does, in a thread."""
        await asyncio.to_thread(self.remove, job_id)

    def state(self, job_id: str) -> JobState:
        """Return the present state of the job."""
        return record.state(str(self._folder(job_id)))

    async def stop(self, job_id: str, grace: float = 5.0) -> None:
        """End the job and all its processes: TERM, then KILL after `grace` seconds. Returns once it has ended.

        A job that has not started never will. Raises NotFound.
        """
        if await asyncio.to_thread(self.claim, job_id):
            return
        path = str(self._folder(job_id))
        await asyncio.to_thread(folder.write, path, folder.STOP, {"grace": grace})
        await asyncio.to_thread(_signal_runner, path, signal.SIGTERM)
        patience = time.monotonic() + grace + child.GIVE_UP + 1.0
        async with self._runner(job_id) as runner:
            while await asyncio.to_thread(record.state, path) is JobState.RUNNING:
                if time.monotonic() > patience:
                    # The runner does not react; its command dies with it.
                    await asyncio.to_thread(_signal_runner, path, signal.SIGKILL)
                await runner.within(0.05)

    def claim(self, job_id: str) -> bool:
        """Take the claim that a runner would take. Return True if the command never started, and never will.

        To run it after all, `remove` the job and recreate it. Raises NotFound.
        """
        path = str(self._folder(job_id))
        try:
            return folder.take_claim(path, {"by": "daemon"}) or record.state(path) is JobState.WITHDRAWN
        except FileNotFoundError:
            raise NotFound(f"There is no job {job_id!r}.") from None

    def list(self) -> tuple[str, ...]:
        """Return the ids of all jobs that have a folder, sorted."""
        try:
            folders = (entry for entry in self.root.iterdir() if entry.is_dir())
            return tuple(sorted(entry.name for entry in folders if ids.is_slug(entry.name)))
        except FileNotFoundError:
            return ()

    def remove(self, job_id: str) -> None:
        """Delete the folder of a job that does not run; nothing if it is missing. Raises Conflict."""
        if self.state(job_id) is JobState.RUNNING:
            raise Conflict(f"Job {job_id!r} is running; stop it first.")
        # Rename it as a whole first: a late runner finds either the job with its claim, or no job.
        doomed = self.root / f".removed-{job_id}-{os.urandom(4).hex()}"
        with contextlib.suppress(FileNotFoundError):
            self._folder(job_id).rename(doomed)
            shutil.rmtree(doomed)

    def close(self) -> None:
        """Stop watching runners; the jobs continue."""
        for runner in self._runners.values():
            runner.close()
        self._runners.clear()

    async def _forget(self) -> None:
        """Drop the runners that have ended. A runner that never claimed its job is kept, so that `wait` finds it."""
        for job_id, runner in list(self._runners.items()):
            runner.check()
            if runner.happened.is_set():
                state = await asyncio.to_thread(self.state, job_id)
                if state is not JobState.UNCLAIMED and self._runners.get(job_id) is runner:
                    del self._runners[job_id]

    def _folder(self, job_id: str) -> Path:
        return self.root / ids.check_slug(job_id, "job id")

    @contextlib.asynccontextmanager
    async def _runner(self, job_id: str) -> AsyncIterator[Exit]:
        """Yield the exit of the job's runner: our own child, or the process that has the claim."""
        path = str(self._folder(job_id))
        claim = await asyncio.to_thread(folder.read, path, folder.CLAIM)
        own = self._runners.get(job_id)
        pid = claim.get("pid") if claim else None
        if own is not None and pid in (None, own.pid):
            yield own
            return
        other = Exit(pid if isinstance(pid, int) else 0, child=False)
        try:
            yield other
        finally:
            other.close()


def tidy(root: Path) -> None:
    """Delete folders of jobs that a killed daemon was creating or removing. No other process may create or remove
    jobs meanwhile.

    A power cut may leave a removed folder under its own name and without its specification: no job is that.
    """
    for path in root.glob("*"):
        is_unfinished = path.name.startswith((".new-", ".removed-"))
        if path.is_dir() and not path.is_symlink() and (is_unfinished or not (path / folder.SPEC).exists()):
            shutil.rmtree(path, onerror=_note)


def _note(_: object, path: str, error: tuple[object, BaseException, object]) -> None:
    log.warning("%s cannot be removed: %s", path, error[1])


def _create(path: Path, spec: JobSpec) -> None:
    if path.exists():
        return
    if not path.parent.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.sync(str(path.parent.parent))  # a power cut could otherwise undo the job, and it would be started twice
    fresh = path.parent / f".new-{path.name}-{os.urandom(4).hex()}"
    fresh.mkdir(mode=0o700)
    content: dict[str, object] = {
        "argv": list(spec.argv),
        "cwd": spec.cwd,
        "env": spec.env,
        "timeout": None if math.isinf(spec.timeout) else spec.timeout,
        "output_limit": spec.output_limit,
        "owner": spec.owner,
        "guard": list(spec.guard),
        "limits": asdict(spec.limits),
        "created_at": ids.now(),
    }
    folder.write(str(fresh), folder.SPEC, content)
    try:
        fresh.rename(path)
    except OSError:
        shutil.rmtree(fresh)
        if not path.exists():
            raise
    folder.sync(str(path.parent))


def run_now(root: Path, spec: JobSpec) -> JobEnd:
    """Run a command by a runner, as a job is, and wait for its end. Blocks. Raises OSError, TimeoutExpired."""
    path = root / "job"
    _create(path, spec)
    subprocess.run(_runner(path), cwd="/", stdin=subprocess.DEVNULL, timeout=spec.timeout * 2, check=False)
    end = record.end(str(path), record.state(str(path)), spec.output_limit)
    if end is None:
        raise OSError("the runner recorded no end")
    return end


def owner(jobs: Jobs, job_id: str) -> str:
    """Return the job's `JobSpec.owner`; empty if it is unset, or if the job is missing."""
    spec = folder.read(str(jobs.root / job_id), folder.SPEC)
    return str((spec or {}).get("owner") or "")


def _runner(path: Path) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", _RUNNER, _PACKAGE_ROOT, str(path.absolute())]


def _spawn(path: Path) -> int:
    """Start the runner: an isolated interpreter without site-packages, in its own session, with no descriptors of
    ours."""
    process = subprocess.Popen(
        _runner(path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        # an interpreter built with a shared library may need its location
        env={name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ},
        close_fds=True,
        start_new_session=True,
    )
    # It may outlive us, and `Exit` reaps it: Popen must neither warn about that nor reap it.
    process.returncode = 0
    return process.pid


def _signal_runner(path: str, number: int) -> None:
    claim = folder.read(path, folder.CLAIM) or {}
    pid = claim.get("pid")
    if isinstance(pid, int) and folder.lives(claim):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
