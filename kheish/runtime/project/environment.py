"""The section of the prompt about the place that a run works in."""

from __future__ import annotations

from functools import lru_cache

from kheish.domain.runs import Run


def describe(run: Run) -> str:
    """Return the workspace, the date and the platform of a run. A worker's platform is for `uname` to tell."""
    day = (run.started_at or run.submitted_at)[:10]
    place = "" if run.worker is None else f" on the worker {run.worker}"
    platform = f"\nPlatform: {_platform()}" if run.worker is None else ""
    return f"Workspace: {run.workspace}{place}\nDate: {day} (UTC){platform}"


@lru_cache(maxsize=1)
def _platform() -> str:
    import platform

    return f"{platform.system()} {platform.machine()}"
