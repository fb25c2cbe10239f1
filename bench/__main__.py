"""`python -m bench [NAME…]`: run benchmarks (default: all), print a table for each, keep each run as JSON."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from bench import appends, commits, latency, memory, report, resume, runs, startup
from bench.report import Report

BENCHMARKS: dict[str, Callable[[], Report]] = {
    "latency": latency.measure,
    "runs": runs.measure,
    "runs-openai": runs.measure_openai,
    "appends": appends.measure,
    "commits": commits.measure,
    "startup": startup.measure,
    "memory": memory.measure,
    "resume": resume.measure,
}


def main() -> None:
    """Measure, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Kheish against its goals.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which (default: all): {', '.join(BENCHMARKS)}")
    names = parser.parse_args().names or list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"no benchmark is called {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    for name in names:
        found = BENCHMARKS[name]()
        path = report.write(found)
        print(report.show(found), end="", flush=True)
        print(f"  kept in {path.relative_to(report.RESULTS.parent.parent)}\n", flush=True)


if __name__ == "__main__":
    main()
