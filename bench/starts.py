"""Starting: warm, where the index knows everything, and cold, where it is made again from all journals."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from itertools import islice
from pathlib import Path

import orjson

from bench import processes
from bench.report import Report, Row, median
from bench.roots import SMALL, Roots

ROUNDS = 5
SAMPLE = 10_000  # journals that the floor reads


def measure(roots: Roots) -> Report:
    """Both sizes in turns; then the index of the large root is removed, and made again."""
    report = Report("starts")
    sizes = (SMALL, roots.large)
    took: dict[int, list[float]] = {size: [] for size in sizes}
    bare: list[float] = []
    for size in sizes:
        _serve(roots.path(size))  # where the index was missing, it is there now
    with processes.scratch() as folder:
        for _ in range(ROUNDS):
            for size in sizes:
                took[size].append(_serve(roots.path(size)))
            began = time.monotonic()
            with processes.floor(folder):
                bare.append(time.monotonic() - began)
        rate = _bare(roots.path(roots.large), folder)
    cold = _cold(roots.path(roots.large))
    for size in sizes:
        report.rows.append(
            Row(what=f"start to ready, warm index, {size:,} sessions", measured=median(took[size]), unit="s",
                floor=median(bare), floor_is="a bare Falcon route's process, until it listens", limit=2.0)
        )  # fmt: skip
    entries = _entries(roots.path(roots.large))
    report.rows.append(
        Row(what=f"cold rebuild of the index, {entries:,} entries", measured=entries / cold, unit="/s",
            floor=rate, floor_is="lines read, parsed, put into a bare table", limit=20_000.0, better="more")
    )  # fmt: skip
    report.notes.append(f"Warm: median of {ROUNDS}, in turns. Cold: {cold:.1f} s until ready, once.")
    report.details = {"warm": took, "bare": bare, "cold": cold, "entries": entries, "floor_rate": rate}
    return report


def _serve(root: Path) -> float:
    with processes.daemon(root) as daemon:
        return daemon.ready_after


def _cold(root: Path) -> float:
    for path in (root / ".kheish").glob("index.sqlite*"):
        path.unlink()
    return _serve(root)


def _entries(root: Path) -> int:
    db = sqlite3.connect(root / ".kheish" / "index.sqlite")
    with contextlib.closing(db):
        return int(db.execute("SELECT count(*) FROM entries").fetchone()[0])


def _bare(root: Path, folder: Path) -> float:
    """Entries a second: each file read and parsed, its lines put into a table of one column and a key."""
    began, count = time.monotonic(), 0
    db = sqlite3.connect(folder / "bare.sqlite", isolation_level=None)
    db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; CREATE TABLE e(n INTEGER PRIMARY KEY, line)")
    db.execute("BEGIN")
    for path in islice(root.glob("sessions/*/*/journal/*.jsonl"), SAMPLE):
        lines = path.read_bytes().splitlines()
        rows = [(orjson.loads(line)["n"], line.decode()) for line in lines]
        db.executemany("INSERT INTO e VALUES(?,?)", rows)
        count += len(rows)
    db.execute("COMMIT")
    db.close()
    os.unlink(folder / "bare.sqlite")
    return count / (time.monotonic() - began)
