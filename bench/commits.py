"""What a commit costs at 1,000 and at 50,000 sessions; and what a start costs there, cold and warm.

A run is made, and the time from its end (seen by SSE) until the branch has moved is taken, with more than a second
between two, so that no commit waits for its turn. CPU is that of the git worker, the index file included.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from pathlib import Path

from bench import generate, processes
from bench.report import Report, Row, median, quantile

SMALL, LARGE = 1_000, 50_000
COMMITS = 20


def measure() -> Report:
    """Both sizes, and as many bare `git commit`s."""
    report = Report("commits")
    found = _compare()
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


def _compare() -> dict[int, dict[str, float]]:
    """Both sizes served at once, and commits made in turns, so that both meet the same machine."""
    found: dict[int, dict[str, float]] = {}
    with contextlib.ExitStack() as stack:
        daemons: dict[int, processes.Daemon] = {}
        for size in (SMALL, LARGE):
            folder = stack.enter_context(processes.scratch())
            began = time.monotonic()
            root, entries = generate.generate(folder, size)
            made = time.monotonic() - began
            with processes.daemon(root) as cold:
                pass
            daemons[size] = stack.enter_context(processes.daemon(root))
            warm = daemons[size].ready_after
            found[size] = {"entries": entries, "generated_s": made, "cold": cold.ready_after, "warm": warm}
        took, bare = _commits(daemons, found), [_bare(folder / "bare", number) for number in range(COMMITS)]
    for size, times in took.items():
        found[size] |= {"commit": median(times), "commit_p99": quantile(times, 0.99), "bare": median(bare)}
    return found


def _commits(daemons: dict[int, processes.Daemon], found: dict[int, dict[str, float]]) -> dict[int, list[float]]:
    """Milliseconds of each commit; the CPU of one goes into `found`."""
    workers = {size: one.child("store.gitworker") for size, one in daemons.items()}
    for one in daemons.values():
        _one(one, generate.session_name(999))
    time.sleep(2.0)
    before = {size: processes.cpu(pid) for size, pid in workers.items()}
    took: dict[int, list[float]] = {size: [] for size in daemons}
    for number in range(COMMITS):
        for size, one in daemons.items():
            took[size].append(_one(one, generate.session_name(number * 47 % SMALL)))
            time.sleep(0.8)
    for size, pid in workers.items():
        found[size]["cpu"] = (processes.cpu(pid) - before[size]) / COMMITS * 1000
    return took


def _one(daemon: processes.Daemon, session: str) -> float:
    """A run's end until it is committed, in milliseconds."""
    moved = Moved(daemon.root)
    spec = {"url": daemon.url, "token": daemon.token, "names": [session], "count": 1, "warm": 0, "pause": 0}
    ended: float = processes.load("latency", **spec)["times"][0]["at"]
    return (moved.at() - ended) * 1000


class Moved:
    """Watches the branch from another thread, for the load generator takes longer to end than a commit."""

    def __init__(self, root: Path) -> None:
        self._ref = root / ".git" / "refs" / "heads" / "main"
        self._before = self._ref.read_text()
        self._at = 0.0
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        late = time.time() + 30
        while self._ref.read_text() == self._before and time.time() < late:
            time.sleep(0.0005)
        self._at = time.time()

    def at(self) -> float:
        """When it moved, in seconds since the epoch."""
        self._thread.join()
        if self._ref.read_text() == self._before:
            raise RuntimeError("30 s after a run's end there is still no commit")
        return self._at


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
