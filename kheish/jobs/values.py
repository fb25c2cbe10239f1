"""What is said of a job: what to run, where it stands, how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class JobSpec:
    """What to run. `timeout` in seconds (`math.inf`: none), `output_limit` in bytes; `env` is the whole environment.
    `owner` is kept and not read: whoever made the job finds by it what it was for."""

    argv: tuple[str, ...]
    cwd: str
    env: dict[str, str]
    timeout: float
    output_limit: int = 8 * 1024 * 1024
    owner: str = ""


@dataclass(frozen=True)
class JobEnd:
    """How a job ended. One of `exit_status` and `signal` is set, but where the command never started.

    `stopped`: by `Jobs.stop`, or by a TERM to the runner. `output` is at most the limit, with a note where something
    was cut (`truncated`); `output_bytes` counts all that was written; `duration` in seconds.
    """

    exit_status: int | None
    signal: int | None
    timed_out: bool
    stopped: bool
    output: str
    output_bytes: int
    truncated: bool
    duration: float


class JobState(StrEnum):
    """`withdrawn`: the daemon took the claim; the command never started and never will.

    `gone`: it started, its runner does not live, and there is no trace of the end.
    """

    MISSING = "missing"
    UNCLAIMED = "unclaimed"
    WITHDRAWN = "withdrawn"
    RUNNING = "running"
    ENDED = "ended"
    GONE = "gone"
