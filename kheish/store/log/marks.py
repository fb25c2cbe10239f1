"""Which commit holds an event: the commits' highest event numbers, kept in the index beside the entries."""

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
    """Take in marks, newest first or one by one: of two commits that say the same number the older one stays."""
    db.executemany(
        "INSERT INTO commits VALUES(?,?,?) ON CONFLICT(n) DO UPDATE SET id=excluded.id, time=excluded.time "
        "WHERE excluded.time < commits.time",
        marks,
    )


def covering(db: sqlite3.Connection, n: int) -> Mark | None:
    """The first commit that holds event `n`."""
    found: Mark | None = db.execute("SELECT n, id, time FROM commits WHERE n >= ? ORDER BY n LIMIT 1", (n,)).fetchone()
    return found


def at(db: sqlite3.Connection, time: float) -> Mark | None:
    """The last commit that was there at a time."""
    sql = "SELECT n, id, time FROM commits WHERE time <= ? ORDER BY time DESC, n DESC LIMIT 1"
    found: Mark | None = db.execute(sql, (int(time),)).fetchone()
    return found


def of_session(db: sqlite3.Connection, session: str, below: int | None, limit: int) -> list[Mark]:
    """The commits that hold something new of a session, newest first, those under event `below`.

    Steps from entry to commit to the entries before it, so it costs what is found, not what there is.
    """
    found: list[Mark] = []
    top = 2**62 if below is None else below
    while len(found) < limit:
        entry = db.execute("SELECT max(n) FROM entries WHERE session=? AND n<=?", (session, top)).fetchone()[0]
        if entry is None:
            break
        mark = covering(db, entry)
        before = db.execute("SELECT max(n) FROM commits WHERE n < ?", (entry,)).fetchone()[0]
        if mark is not None:
            found.append(mark)
        top = before if before is not None else -1
    return found
