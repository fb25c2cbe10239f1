"""What a commit costs at 1,000 and at 50,000 sessions; and what a start costs there, cold and warm.

A run is made, and the time from its end (seen by SSE) until the branch has moved is taken, with more than a second
between two, so that no commit waits for its turn. CPU is that of the git worker, the index file included.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from bench import generate, processes
from bench.report import Report, Row, median, quantile

SMALL, LARGE = 1_000, 50_000
COMMITS = 20


def measure() -> Report:
    """Both sizes, and the same number of bare `git commit`s beside each."""
    report = Report("commits")
    found = {size: _at(size) for size in (SMALL, LARGE)}
    small, large = found[SMALL], found[LARGE]
    for size, one in found.items():
        report.rows += [
            Row(
                what=f"a run's end until it is committed, {size:,} sessions, p50",
                measured=one["commit"],
                unit="ms",
                floor=one["bare"],
                floor_is="a bare `git commit` of one file",
            ),
            Row(what=f"CPU of a commit, {size:,} sessions", measured=one["cpu"], unit="ms"),
            Row(what=f"start to ready, warm index, {size:,} sessions", measured=one["warm"], unit="s", limit=2.0),
        ]
    report.rows += [
        Row(
            what=f"commit at {LARGE:,} sessions against {SMALL:,}",
            measured=large["commit"], unit="ms",
            floor=small["commit"], floor_is=f"at {SMALL:,}", limit=2.0, goal_of="ratio",
        ),
        Row(
            what=f"CPU of it at {LARGE:,} against {SMALL:,}",
            measured=large["cpu"], unit="ms", floor=small["cpu"], floor_is=f"at {SMALL:,}",
        ),
        Row(
            what=f"cold rebuild of the index, {large['entries']:,.0f} entries",
            measured=large["entries"] / large["cold"], unit="entries/s", limit=20_000.0, better="more",
        ),
    ]  # fmt: skip
    report.notes.append("Goals for starts and the growth of a commit are set for 100,000 sessions.")
    report.details = {str(size): one for size, one in found.items()}
    return report


def _at(sessions: int) -> dict[str, float]:
    with processes.scratch() as folder:
        began = time.monotonic()
        root, entries = generate.generate(folder, sessions)
        made = time.monotonic() - began
        with processes.daemon(root) as daemon:
            cold = daemon.ready_after
        with processes.daemon(root) as daemon:
            took, cpu = _commits(daemon, folder)
        bare = [_bare(folder / "bare", number) for number in range(COMMITS)]
    return {
        "entries": entries,
        "generated_s": made,
        "cold": cold,
        "warm": daemon.ready_after,
        "commit": median(took),
        "commit_p99": quantile(took, 0.99),
        "cpu": cpu,
        "bare": median(bare),
    }


def _commits(daemon: processes.Daemon, folder: Path) -> tuple[list[float], float]:
    worker = daemon.child("store.gitworker")
    names = [generate.session_name(number * 47 % 1000) for number in range(COMMITS)]
    spec = {"url": daemon.url, "token": daemon.token, "count": 1, "warm": 0, "pause": 0}
    processes.load("latency", **spec, names=["bench-000999"])
    time.sleep(2.0)
    before = processes.cpu(worker)
    took = []
    for name in names:
        moved = _head(daemon.root)
        ended = processes.load("latency", **spec, names=[name])["times"][0]["at"]
        while _head(daemon.root) == moved:
            time.sleep(0.0005)
        took.append((time.time() - ended) * 1000)
        time.sleep(1.3)
    return took, (processes.cpu(worker) - before) / COMMITS * 1000


def _head(root: Path) -> str:
    return (root / ".git" / "refs" / "heads" / "main").read_text()


def _bare(folder: Path, number: int) -> float:
    """Milliseconds of one `git commit` of one changed file, its objects fsynced as the daemon's are."""
    if not folder.exists():
        subprocess.run(["git", "init", "-q", str(folder)], check=True)
    (folder / "file").write_text(f"{number}\n" + "x" * 2000)
    subprocess.run(["git", "add", "file"], cwd=folder, check=True)
    environment = {**os.environ, "GIT_AUTHOR_NAME": "b", "GIT_AUTHOR_EMAIL": "b@b.invalid"}
    environment |= {"GIT_COMMITTER_NAME": "b", "GIT_COMMITTER_EMAIL": "b@b.invalid"}
    began = time.perf_counter()
    subprocess.run(
        ["git", "-c", "core.fsync=committed,reference", "commit", "-q", "-m", "one"],
        cwd=folder, check=True, env=environment,
    )  # fmt: skip
    return (time.perf_counter() - began) * 1000
