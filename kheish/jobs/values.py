"""The values that describe a job: its command, its state, its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True)
class Limits:
    """The limits of a command; None means no limit. `processes` counts threads too, `memory` all of its processes
    together, `file_size` each file that it writes; both are in bytes. A command that exceeds the first two is ended."""

    processes: int | None = None
    memory: int | None = None
    file_size: int | None = None


@dataclass(frozen=True)
class JobSpec:
    """The command to run. `timeout` is in seconds (`math.inf`: none), `output_limit` in bytes; `env` is the whole
    environment. `owner` is kept and not read: it identifies the job's purpose to its creator. `guard` are files that
    must not come into existence meanwhile; the runner removes them."""

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
    """The end of a job. Either `exit_status` or `signal` is set, unless the command never started.

    `stopped`: by `Jobs.stop`, or by a TERM to the runner. `exceeded`: the limit for which it was ended (`processes` or
    `memory`). `ended` counts the processes that the runner had to end, `left` those that it could not end. `output` is
    at most the limit, with a note if something was cut (`truncated`). `output_bytes` counts all bytes written.
    `duration` is in seconds.
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
    """The state of a job. `withdrawn`: the daemon took the claim; the command never started and never will.

    `gone`: it started, its runner is not alive, and there is no record of its end.
    """

    MISSING = "missing"
    UNCLAIMED = "unclaimed"
    WITHDRAWN = "withdrawn"
    RUNNING = "running"
    ENDED = "ended"
    GONE = "gone"
