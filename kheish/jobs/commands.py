"""The interface to the jobs of commands, wherever they run: `Jobs` has it, and so have those of workers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from kheish.jobs.values import JobEnd, JobSpec, JobState


class Commands(Protocol):
    """Jobs by id. `kheish.jobs.runner.Jobs` describes each method."""

    async def create(self, job_id: str, spec: JobSpec) -> None:
        """Create a job on this machine."""
        ...

    async def start(self, job_id: str) -> None:
        """Start the job; of several starts, one runs the command."""
        ...

    async def wait(self, job_id: str, on_output: Callable[[str], None]) -> JobEnd | None:
        """Pass on all output and return the end; None if the job is gone."""
        ...

    async def ended(self, job_id: str) -> JobEnd | None:
        """Wait for the end without following the output."""
        ...

    async def output(self, job_id: str, start: int | None, most: int) -> tuple[int, bytes, int]:
        """Return a part of the output so far."""
        ...

    async def look(self, job_id: str) -> JobState:
        """Return the present state."""
        ...

    async def stop(self, job_id: str, grace: float = 5.0) -> None:
        """End the job and all its processes."""
        ...

    async def drop(self, job_id: str) -> None:
        """Delete a job that does not run."""
        ...

    def claim(self, job_id: str) -> bool:
        """Keep a job on this machine from ever starting; return whether it never did."""
        ...
