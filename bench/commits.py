"""What a commit costs at 1,000 and at 100,000 sessions.

A run is made, and the time from its end (seen by SSE) until the branch has moved is taken, with more than a second
between two, so that no commit waits for its turn. CPU is that of the git worker, the index file included.
"""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import threading
import time
from pathlib import Path

from bench import processes
from bench.report import Report, Row, median, quantile
from bench.roots import SMALL, Roots
from kheish.client import Kheish

COMMITS = 20
PAUSE = 0.8


def measure(roots: Roots) -> Report:
    """Both sizes, and as many bare `git commit`s."""
    report = Report("commits")
    sizes = (SMALL, roots.large)
    found = _compare(roots, sizes)
    small, large = found[SMALL], found[roots.large]
    for size, one in found.items():
        report.rows += [
            Row(what=f"a run's end until it is committed, {size:,} sessions, p50", measured=one["commit"], unit="ms",
                floor=one["bare"], floor_is="a bare `git commit` of one file"),
            Row(what=f"CPU of a commit, {size:,} sessions", measured=one["cpu"], unit="ms",
                floor=one["bare_cpu"], floor_is="the same"),
        ]  # fmt: skip
    report.rows += [
        Row(what=f"commit at {roots.large:,} sessions against {SMALL:,}", measured=large["commit"], unit="ms",
            floor=small["commit"], floor_is=f"at {SMALL:,}", limit=2.0, goal_of="ratio"),
        Row(what=f"CPU of it at {roots.large:,} against {SMALL:,}", measured=large["cpu"], unit="ms",
            floor=small["cpu"], floor_is=f"at {SMALL:,}"),
        Row(what=f"quiet until `git status` is clean, {roots.large:,} sessions, the slowest", measured=large["clean"],
            unit="s", limit=2.0),
    ]  # fmt: skip
    report.notes.append(f"{COMMITS} commits each, in turns, {PAUSE} s apart, so that none waits for its turn.")
    report.details = {str(size): one for size, one in found.items()}
    return report


def _compare(roots: Roots, sizes: tuple[int, ...]) -> dict[int, dict[str, float]]:
    """Both sizes served at once, and commits made in turns, so that both meet the same machine."""
    found: dict[int, dict[str, float]] = {size: {} for size in sizes}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(processes.scratch())
        daemons = {size: stack.enter_context(processes.daemon(roots.path(size))) for size in sizes}
        took = _commits(daemons, found)
        for size, one in daemons.items():
            found[size]["clean"] = max(_clean(one) for _ in range(3))
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        bare = [_bare(folder / "bare", number) for number in range(COMMITS)]
        now = resource.getrusage(resource.RUSAGE_CHILDREN)
        bare_cpu = (now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime) / COMMITS * 1000
    for size, times in took.items():
        found[size] |= {"commit": median(times), "commit_p99": quantile(times, 0.99)}
        found[size] |= {"bare": median(bare), "bare_cpu": bare_cpu}
    return found


def _clean(daemon: processes.Daemon) -> float:
    """Seconds from a run's end until the index is that of the branch (asked without reading the work tree)."""
    spec = {"url": daemon.url, "token": daemon.token, "names": _answering(daemon)[:1]}
    moved = Moved(daemon.root)
    ended: float = processes.load("latency", **spec, count=1, warm=0, pause=0)["times"][0]["at"]
    moved.at()
    words = ["git", "--no-optional-locks", "diff-index", "--cached", "--quiet", "HEAD"]
    while subprocess.run(words, cwd=daemon.root, check=False).returncode:
        if time.time() - ended > 30:
            raise RuntimeError("30 s after a run's end git's index still lacks it")
        time.sleep(0.02)
    return time.time() - ended


def _commits(daemons: dict[int, processes.Daemon], found: dict[int, dict[str, float]]) -> dict[int, list[float]]:
    """Milliseconds of each commit; the CPU of one goes into `found`."""
    workers = {size: one.child("store.git.gitworker") for size, one in daemons.items()}
    names = {size: _answering(one) for size, one in daemons.items()}
    for size, one in daemons.items():
        _one(one, names[size][-1])
    time.sleep(2.0)
    before = {size: processes.cpu(pid) for size, pid in workers.items()}
    took: dict[int, list[float]] = {size: [] for size in daemons}
    for number in range(COMMITS):
        for size, one in daemons.items():
            took[size].append(_one(one, names[size][number]))
            time.sleep(PAUSE)
    for size, pid in workers.items():
        found[size]["cpu"] = (processes.cpu(pid) - before[size]) / COMMITS * 1000
    return took


def _answering(daemon: processes.Daemon) -> list[str]:
    """Sessions far from each other whose runs come to an end without a person, one more than there are commits."""
    found = Kheish(url=daemon.url, token=daemon.token).sessions.list(route="short", limit=200)["items"]
    return [one["session_id"] for one in found[:: len(found) // (COMMITS + 1)]]


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
