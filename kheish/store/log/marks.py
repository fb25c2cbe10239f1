"""The commits that hold events: each commit's highest event number, kept in the index beside the entries."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

SCHEMA = """
CREATE TABLE commits(n INTEGER PRIMARY KEY, id TEXT NOT NULL, time INTEGER NOT NULL);
CREATE INDEX commits_time ON commits(time, n);
"""

#: the highest event number of a commit, its id, and its time in seconds since the epoch
Mark = tuple[int, str, int]


def add(db: sqlite3.Connection, marks: Sequence[Sequence[object]]) -> None:
    """Add marks, newest first or one by one. Of two commits with the same number the older stays."""
    db.executemany(
        "INSERT INTO commits VALUES(?,?,?) ON CONFLICT(n) DO UPDATE SET id=excluded.id, time=excluded.time "
        "WHERE excluded.time < commits.time",
        marks,
    )


def covering(db: sqlite3.Connection, n: int) -> Mark | None:
    """Return the first commit that holds event `n`."""
    mark: Mark | None = db.execute("SELECT n, id, time FROM commits WHERE n >= ? ORDER BY n LIMIT 1", (n,)).fetchone()
    return mark


def at(db: sqlite3.Connection, time: float) -> Mark | None:
    """Return the last commit that existed at a time."""
    sql = "SELECT n, id, time FROM commits WHERE time <= ? ORDER BY time DESC, n DESC LIMIT 1"
    mark: Mark | None = db.execute(sql, (int(time),)).fetchone()
    return mark


def of_session(db: sqlite3.Connection, session: str, below: int | None, limit: int) -> list[Mark]:
    """Return the commits that hold new entries of a session, newest first, those under event `below`.

    Steps from entry to commit to the entries before it, so the cost depends on the result, not on the history.
    """
    marks: list[Mark] = []
    top = 2**62 if below is None else below
    while len(marks) < limit:
        entry = db.execute("SELECT max(n) FROM entries WHERE session=? AND n<=?", (session, top)).fetchone()[0]
        if entry is None:
            break
        mark = covering(db, entry)
        before = db.execute("SELECT max(n) FROM commits WHERE n < ?", (entry,)).fetchone()[0]
        if mark is not None:
            marks.append(mark)
        top = before if before is not None else -1
    return marks
