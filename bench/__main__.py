"""`python -m bench [NAME…]`: run benchmarks (default: all), print a table for each, keep each run as JSON."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from bench import (
    appends,
    channels,
    commits,
    coordination,
    deliveries,
    edits,
    flows,
    hostile,
    latency,
    lists,
    memory,
    projects,
    readers,
    report,
    repository,
    resume,
    runs,
    starts,
    startup,
    workers,
)
from bench.report import Report
from bench.roots import Roots

BENCHMARKS: dict[str, Callable[[Roots], Report]] = {
    "latency": lambda _: latency.measure(),
    "runs": lambda _: runs.measure(),
    "runs-openai": lambda _: runs.measure_openai(),
    "driver-processes": lambda _: runs.measure_driver_processes(),
    "appends": lambda _: appends.measure(),
    "startup": lambda _: startup.measure(),
    "edits": lambda _: edits.measure(),
    "readers": readers.measure,
    "repository": lambda _: repository.measure(),
    "memory": memory.measure,
    "workers": lambda _: workers.measure(),
    "starts": starts.measure,
    "lists": lists.measure,
    "flows": flows.measure,
    "channels": lambda _: channels.measure(),
    "projects": lambda _: projects.measure(),
    "deliveries": lambda _: deliveries.measure(),
    "replay": readers.measure_replay,
    "commits": commits.measure,
    "upkeep": repository.measure_upkeep,
    "hostile": lambda _: hostile.measure(),
    "resume": lambda _: resume.measure(),
    "coordination": lambda _: coordination.measure(),
    "schedules": lambda _: coordination.measure_schedules(),
    "memory-files": lambda _: coordination.measure_memory_files(),
}


def main() -> None:
    """Measure, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Kheish against its goals.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which (default: all): {', '.join(BENCHMARKS)}")
    parser.add_argument("--sessions", type=int, default=100_000, help="of the large state root (%(default)s)")
    parser.add_argument("--roots", type=Path, help="keep generated state roots in this folder, and use those there")
    asked = parser.parse_args()
    names = asked.names or list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"no benchmark is called {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # daemons that were started end with us
    roots = Roots(asked.sessions, asked.roots)
    try:
        for name in names:
            _run(name, roots)
    finally:
        roots.close()


def _run(name: str, roots: Roots) -> None:
    found = BENCHMARKS[name](roots)
    path = report.write(found)
    print(report.show(found), end="", flush=True)
    print(f"  kept in {path.relative_to(report.RESULTS.parent.parent)}\n", flush=True)


if __name__ == "__main__":
    main()
