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

log = logging.getLogger(__name__)

_FILE = ".kheish/end-jobs.json"


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
