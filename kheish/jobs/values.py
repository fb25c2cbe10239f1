"""What is said of a job: what to run, where it stands, how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True)
class Limits:
    """What a command may use; None: no limit. `processes` counts threads too, `memory` all of its processes together,
    `file_size` each file that it writes; both in bytes. Above the first two it is ended."""

    processes: int | None = None
    memory: int | None = None
    file_size: int | None = None


@dataclass(frozen=True)
class JobSpec:
    """What to run. `timeout` in seconds (`math.inf`: none), `output_limit` in bytes; `env` is the whole environment.
    `owner` is kept and not read: whoever made the job finds by it what it was for. `guard`: files that must not come
    into being meanwhile; the runner removes them."""

    argv: tuple[str, ...]
    cwd: str
    env: dict[str, str]
    timeout: float
    output_limit: int = 8 * 1024 * 1024
    owner: str = ""
    guard: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class JobEnd:
    """How a job ended. One of `exit_status` and `signal` is set, but where the command never started.

    `stopped`: by `Jobs.stop`, or by a TERM to the runner. `exceeded`: the limit for which it was ended (`processes` or
    `memory`). `ended` counts the processes that the runner had to end, `left` those that it could not. `output` is at
    most the limit, with a note where something was cut (`truncated`); `output_bytes` counts all that was written;
    `duration` in seconds.
    """

    exit_status: int | None
    signal: int | None
    timed_out: bool
    stopped: bool
    output: str
    output_bytes: int
    truncated: bool
    duration: float
    exceeded: str | None = None
    ended: int = 0
    left: int = 0


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
