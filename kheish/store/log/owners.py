"""The index's data about owners in streams: kept values, ended values, and the ends of their journals.

An owner may have a million ended values. Each query here costs only what it returns: it skips ended values through the
index `things_owned`, which excludes the things of sessions.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from kheish.store.log.index import Reader

SCHEMA = "CREATE INDEX things_owned ON things(session, kept, n) WHERE kept IS NOT NULL;\n"
_OF_OWNER = "FROM things INDEXED BY things_owned WHERE session=? AND kept=?"
#: noun, id, n, document
Row = tuple[str, str, int, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Held:
    """The data of an owner: its kept values, the event number of its newest value (even if ended), and the last `seq`
    of its own journal (0 if it has none). `is_lacking` means that the index lacks entries of that journal."""

    kept: list[Row]
    newest: int
    seq: int
    is_lacking: bool


def holder(index: Reader, noun: str, id: str) -> str | None:
    """Return the owner (or session) that a thing belongs to. Blocks on disk, as every function that takes a Reader
    does."""
    row = index._db().execute("SELECT session FROM things WHERE noun=? AND id=?", (noun, id)).fetchone()
    return row[0] if row else None


def read(index: Reader, owner: str, journal: str | None) -> Held | None:
    """Return the data of an owner as of a single moment; None while the index is rebuilt. `journal` is the owner's own
    journal."""
    with _snapshot(db := index._db()):
        if _fact(db, "whole") is None:
            return None
        rows = db.execute(f"SELECT noun, id, n, doc {_OF_OWNER} ORDER BY made", (owner, 1)).fetchall()  # nosec B608  # a constant of ours; values are bound
        newest = max((row[0] for kept in (0, 1) for row in _newest(db, owner, kept)), default=0)
        is_lacking = journal is not None and lacks(db, journal)
        seq = last_seq(db, journal) if journal is not None else 0
    return Held([(noun, id, n, orjson.loads(doc)) for noun, id, n, doc in rows], newest, seq, is_lacking)


def ended(index: Reader, owner: str, after_n: int) -> list[Row]:
    """Return the values of an owner that ended after an event number, oldest first."""
    sql = f"SELECT noun, id, n, doc {_OF_OWNER} AND n>? ORDER BY n"  # nosec B608  # a constant of ours; values are bound
    return [(noun, id, n, orjson.loads(doc)) for noun, id, n, doc in index._db().execute(sql, (owner, 0, after_n))]


def reach(index: Reader, journal: str, upto_n: int) -> int:
    """Return the last `seq` of a stream's journal in the index, as `last_seq` does."""
    return last_seq(index._db(), journal, upto_n)


def events(index: Reader, journal: str, after: int, limit: int) -> list[tuple[int, str, str]]:
    """Return `(n, kind, line)` of entries in a stream's journal with a number above `after`, oldest first.

    Costs a look-up per kind of entry and what it returns, however long the journal is.
    """
    db = index._db()
    sql = "SELECT n, kind, line FROM entries WHERE session IS NULL AND journal=? AND kind=? AND n>? ORDER BY n LIMIT ?"
    rows = [row for kind in _kinds(db, journal) for row in db.execute(sql, (journal, kind, after, limit))]
    return sorted(rows)[:limit]


def last_seq(db: sqlite3.Connection, journal: str, upto_n: int | None = None) -> int:
    """Return the last `seq` of a stream's journal (of its entries up to an event number); 0 if it has none.

    Costs one look-up per kind of entry, however long the journal is.
    """
    most = 2**62 if upto_n is None else upto_n
    sql = "SELECT n, seq FROM entries WHERE session IS NULL AND journal=? AND kind=? AND n<=? ORDER BY n DESC LIMIT 1"
    rows = [db.execute(sql, (journal, kind, most)).fetchone() for kind in _kinds(db, journal)]
    return max(filter(None, rows), default=(0, 0))[1]


def mark_lacking(db: sqlite3.Connection, journal: str) -> None:
    """Note that the index lacks entries of a journal because they cannot be read."""
    db.execute("INSERT OR REPLACE INTO meta VALUES(?, 1)", (f"lacks {journal}",))


def lacks(db: sqlite3.Connection, journal: str) -> bool:
    """Return whether the index lacks entries of a journal."""
    return _fact(db, f"lacks {journal}") is not None


def _kinds(db: sqlite3.Connection, journal: str) -> Iterator[str]:
    """Yield the kinds of entries in a journal, stepping from each to the next in the index `entries_stream`."""
    sql = "SELECT kind FROM entries WHERE session IS NULL AND journal=? AND kind>? ORDER BY kind LIMIT 1"
    row = db.execute(sql, (journal, "")).fetchone()
    while row is not None:
        yield row[0]
        row = db.execute(sql, (journal, row[0])).fetchone()


def _newest(db: sqlite3.Connection, owner: str, kept: int) -> list[tuple[int]]:
    rows: list[tuple[int]] = db.execute(f"SELECT n {_OF_OWNER} ORDER BY n DESC LIMIT 1", (owner, kept)).fetchall()  # nosec B608  # a constant of ours; values are bound
    return rows


def _fact(db: sqlite3.Connection, key: str) -> Any:
    row = db.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()
    return row[0] if row else None


@contextmanager
def _snapshot(db: sqlite3.Connection) -> Iterator[None]:
    """Run several queries on a single snapshot."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        db.execute("COMMIT")
