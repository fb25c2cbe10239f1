"""What git keeps: the size after maintenance against the journals' compressed size; and the maintenance itself, on the
large root: how long `kheish state gc`, `verify`, `reindex`, `put-back` and `accept-rewind` take there."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

from bench import processes
from bench.report import Report, Row
from bench.roots import Roots
from bench.vocabulary import Speaker
from kheish.client import Kheish

SESSIONS = 1_000
SECONDS = 20.0
TEXTS = 20_000  # more than there are runs
COMMANDS = 600.0  # seconds for one command


def measure() -> Report:
    """A daemon works for a while, as many commits as that makes; then everything is packed."""
    report = Report("repository")
    with processes.scratch() as folder:
        root = processes.new_root(folder)
        with processes.daemon(root) as daemon:
            spec = {"url": daemon.url, "token": daemon.token, "names": [f"s{n}" for n in range(SESSIONS)]}
            processes.load("prepare", **spec)
            speaker = Speaker(1)
            texts = [speaker.words(6, 40) for _ in range(TEXTS)]
            found = processes.load("runs", **spec, clients=8, seconds=SECONDS, texts=texts)
            _all_committed(daemon)
        before = _objects(root)
        took = _timed(root, "gc")
        after, journals = _objects(root), _journals(root)
        commits = int(_git(root, "rev-list", "--count", "HEAD"))
    report.rows = [
        Row(what="repository after maintenance", measured=after / 1e6, unit="MB", floor=journals["compressed"] / 1e6,
            floor_is="the journals' segments, each compressed by zlib", limit=1.5, goal_of="ratio"),
        Row(what="repository before it", measured=before / 1e6, unit="MB", floor=journals["compressed"] / 1e6,
            floor_is="the same"),
        Row(what="kheish state gc, no daemon", measured=took, unit="s"),
    ]  # fmt: skip
    report.notes.append(
        f"{found['count']:,} runs in {SESSIONS} sessions and {commits} commits; journals have "
        f"{journals['bytes'] / 1e6:.1f} MB. The repository holds Records, trees and commits too."
    )
    report.details = {"before": before, "after": after, "journals": journals, "commits": commits, "runs": found}
    return report


def _all_committed(daemon: processes.Daemon) -> None:
    """Wait until no entry lacks a commit: what a daemon that is ended leaves undone would stay loose."""
    last = ["log", "-1", "--grep=^Kheish-Events:", "--format=%(trailers:key=Kheish-Events,valueonly)"]
    late = time.monotonic() + COMMANDS
    with contextlib.closing(sqlite3.connect(daemon.root / ".kheish" / "index.sqlite")) as index:
        while int(_git(daemon.root, *last).rpartition("-")[2] or 0) < _newest(index):
            if time.monotonic() > late:
                raise RuntimeError("the daemon does not come to commit what it has")
            time.sleep(0.5)


def _newest(index: sqlite3.Connection) -> int:
    return int(index.execute("SELECT max(n) FROM entries").fetchone()[0])


def measure_upkeep(roots: Roots) -> Report:
    """Each command once on the large root. It is as it was afterwards, with one commit more."""
    report = Report("upkeep")
    root = roots.path(roots.large)
    took = {name: _timed(root, name) for name in ("gc", "verify")}
    floors = {"gc": _bare(root, "repack", "-a", "-d", "-q"), "verify": _bare(root, "fsck", "--connectivity-only")}
    with processes.daemon(root) as daemon:
        took["gc, while serving"], took["reindex, while serving"] = _timed(root, "gc"), _timed(root, "reindex")
        report.details["entry_meanwhile_ms"] = _meanwhile(daemon)
    for command in ("put-back", "accept-rewind"):
        took[command] = _rewound(root, command)
    for name, seconds in took.items():
        floor = floors.get(name)
        floor_is = {"gc": "git repack -a -d, afterwards", "verify": "git fsck --connectivity-only"}.get(name, "")
        what = f"kheish state {name}, {roots.large:,} sessions"
        report.rows.append(Row(what=what, measured=seconds, unit="s", floor=floor, floor_is=floor_is))
    worst = report.details["entry_meanwhile_ms"]
    report.rows.append(Row(what="slowest of 100 entries while gc works, in a served root", measured=worst, unit="ms"))
    return report


def _timed(root: Path, command: str, *options: str) -> float:
    words = [sys.executable, "-m", "kheish.cli.main", "state", command, "--state-root", str(root), *options]
    began = time.perf_counter()
    done = subprocess.run(words, capture_output=True, text=True, timeout=COMMANDS, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"kheish state {command}: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    return time.perf_counter() - began


def _bare(root: Path, *words: str) -> float:
    began = time.perf_counter()
    _git(root, *words)
    return time.perf_counter() - began


def _meanwhile(daemon: processes.Daemon) -> float:
    """The slowest of some entries, in milliseconds, while objects are packed."""
    client = Kheish(url=daemon.url, token=daemon.token)
    name = client.sessions.create()["session_id"]
    words = [sys.executable, "-m", "kheish.cli.main", "state", "gc", "--state-root", str(daemon.root)]
    packing = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    worst = 0.0
    for number in range(100):
        began = time.perf_counter()
        client.sessions.patch(name, title=str(number))
        worst = max(worst, (time.perf_counter() - began) * 1000)
    client.sessions.delete(name)
    packing.wait()
    return worst


def _rewound(root: Path, command: str) -> float:
    """A run is made, the branch moved to before it, and decided about; how long the decision took."""
    before = _git(root, "rev-parse", "HEAD")
    with processes.daemon(root) as daemon:
        spec = {"url": daemon.url, "token": daemon.token, "names": ["bench-000001"]}
        processes.load("latency", **spec, count=1, warm=0, pause=0)
    _git(root, "reset", "--hard", "-q", before)
    with processes.daemon(root):
        return _timed(root, command)


def _objects(root: Path) -> int:
    """Bytes of all objects, packs with their indexes."""
    return sum(path.stat().st_size for path in (root / ".git" / "objects").rglob("*") if path.is_file())


def _journals(root: Path) -> dict[str, Any]:
    paths = [*root.glob("sessions/*/*/journal/*.jsonl"), *root.glob("journals/**/*.jsonl")]
    texts = [path.read_bytes() for path in paths]
    return {"bytes": sum(map(len, texts)), "compressed": sum(len(zlib.compress(text)) for text in texts)}


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, timeout=COMMANDS, check=True)
    return done.stdout.strip()
