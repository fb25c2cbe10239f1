"""Stopping with `--end-jobs`: how the wish reaches the daemon, and how running commands are ended.

The wish is a file beside the daemon's note, written before SIGTERM and read when that arrives. It names the daemon's
process, so that one that was left behind by a crash means nothing to the next daemon.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kheish.jobs.runner import Jobs
    from kheish.runtime.workers.pool import Workers

log = logging.getLogger(__name__)

_FILE = ".kheish/end-jobs.json"
_FAR = 10.0  # seconds for the way to a worker, beyond the grace


def ask_to_end_jobs(root: Path, pid: int) -> None:
    """Ask the daemon with this process id to end its jobs when it stops. Raises OSError."""
    path = root / _FILE
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps({"pid": pid}))
    temporary.replace(path)


def is_asked_to_end_jobs(root: Path) -> bool:
    """Return whether this process was asked to end its jobs. The wish is removed."""
    path = root / _FILE
    try:
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return False
    path.unlink(missing_ok=True)
    return isinstance(found, dict) and found.get("pid") == os.getpid()


async def end_jobs(jobs: Jobs, grace: float) -> int:
    """End every job with all its processes: TERM, after `grace` seconds KILL. Returns how many there were."""
    from kheish.errors import NotFound
    from kheish.jobs.runner import JobState

    states = await asyncio.to_thread(lambda: {job: jobs.state(job) for job in jobs.list()})
    live = [job for job, state in states.items() if state in (JobState.RUNNING, JobState.UNCLAIMED)]
    ended = await asyncio.gather(*(jobs.stop(job, grace) for job in live), return_exceptions=True)
    for job, error in zip(live, ended, strict=True):
        if isinstance(error, BaseException) and not isinstance(error, NotFound):
            log.error("job %s could not be ended: %s", job, error)
    return len(live)


async def end_far_jobs(workers: Workers, grace: float) -> int:
    """End this daemon's jobs on the workers that are connected. Returns how many jobs there were."""
    connected = [worker for worker, health in workers.health().items() if health.status == "connected"]
    ended = await asyncio.gather(*(_end_on(workers, one, grace) for one in connected), return_exceptions=True)
    for worker, found in zip(connected, ended, strict=True):
        if isinstance(found, BaseException):
            log.error("the jobs on the worker %s could not all be ended: %s", worker, found)
    return sum(found for found in ended if isinstance(found, int))


async def _end_on(workers: Workers, worker: str, grace: float) -> int:
    """End the jobs on one worker. Raises KheishError, TimeoutError."""
    jobs = workers.jobs(worker)
    async with asyncio.timeout(grace + _FAR):
        names = list(await jobs.owners())
        await asyncio.gather(*(jobs.stop(job, grace) for job in names))
    return len(names)
