"""The index: a SQLite cache of entries and of the newest value of each thing, for lists, look-ups and event replay.

It may be deleted at any moment: all of it is rebuilt from journals, the log and commits. A single process writes (the
scribe). Many readers read, each thread with its own connection (`Reader`).
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orjson

from kheish.errors import NotReady
from kheish.store.log import marks, owners, pages, texts
from kheish.store.log.pages import Keep, Page

SCHEMA_VERSION = 8
_FEW = 500  # things that are scanned one by one

_SCHEMA = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE entries(n INTEGER PRIMARY KEY, journal TEXT NOT NULL, seq INTEGER NOT NULL, session TEXT, run TEXT,
                     kind TEXT NOT NULL, line TEXT NOT NULL);
CREATE INDEX entries_session ON entries(session, n) WHERE session IS NOT NULL;
CREATE INDEX entries_run ON entries(run, n) WHERE run IS NOT NULL;
CREATE INDEX entries_stream ON entries(journal, kind, n) WHERE session IS NULL;
CREATE TABLE things(noun TEXT NOT NULL, id TEXT NOT NULL, session TEXT, status TEXT, made INTEGER NOT NULL,
                    n INTEGER NOT NULL, kept INTEGER, doc TEXT NOT NULL, PRIMARY KEY(noun, id)) WITHOUT ROWID;
CREATE INDEX things_made ON things(noun, made);
CREATE INDEX things_status ON things(noun, status, made);
CREATE INDEX things_session ON things(noun, session, made);
"""
#: by noun, the members of its documents that lists filter by
Filters = Mapping[str, Sequence[str]]
NO_FILTERS: Filters = MappingProxyType({})
_LAST = "\U0010ffff"  # sorts after every continuation of an id
_ALL = _SCHEMA + owners.SCHEMA + marks.SCHEMA + texts.SCHEMA


class Writer:
    """The writer of the index. Raises sqlite3.DatabaseError if the file is damaged; `create` then rebuilds it.

    Each of the filters has an index, so that a rare value is found as fast as a common one.
    """

    def __init__(self, path: Path, filters: Filters = NO_FILTERS) -> None:
        self.path = path
        self._filters = filters
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = self._connect()
        if self._version() != SCHEMA_VERSION:
            self.create()
        else:
            self._add_filters()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, isolation_level=None)
        self._inode = self.path.stat().st_ino
        return db

    def _set_up(self) -> None:
        # NORMAL fsyncs at checkpoints only: a power cut leaves the state of some transactions ago. OFF may leave pages
        # of different times, and no check of SQLite finds an old document behind a new number.
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-16000;")

    def _version(self) -> int | None:
        try:
            self._set_up()
            row = self._db.execute("SELECT value FROM meta WHERE key='schema'").fetchone()
        except sqlite3.DatabaseError:
            return None
        return row[0] if row else None

    def create(self) -> None:
        """Delete the file and begin an empty index."""
        self._db.close()
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        self._db = self._connect()
        self._set_up()
        self._db.executescript(_ALL)
        self._add_filters()
        self.set("schema", SCHEMA_VERSION)

    def _add_filters(self) -> None:
        for noun, keys in self._filters.items():
            for key in keys:
                on = f"things(json_extract(doc, '$.{key}'), made) WHERE noun='{noun}'"
                self._db.execute(f"CREATE INDEX IF NOT EXISTS things_{noun}_{key} ON {on}")

    def check(self) -> None:
        """Raise sqlite3.DatabaseError if the file was deleted: no reader would see further writes."""
        if not self.path.exists() or self.path.stat().st_ino != self._inode:
            raise sqlite3.DatabaseError("the file was removed")

    def get(self, key: str) -> Any:
        """Return a property of the index itself: `n` (its newest entry), `commit` (the last commit that it
        includes)."""
        row = self._db.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()
        return row[0] if row else None

    def set(self, key: str, value: Any) -> None:
        """Set a property of the index itself."""
        self._db.execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (key, value))

    def apply(
        self,
        entries: Iterable[Sequence[Any]],
        things: Iterable[Sequence[Any]],
        n: int,
        said: Sequence[texts.Text] = (),
    ) -> None:
        """Apply a batch: entry rows `(n, journal, seq, session, run, kind, line)`, rows of things `(noun, id, session,
        status, made, n, doc, kept)`, and the searchable texts of entries. A thing that is older than the stored one is
        skipped. `kept` is set for things of owners in streams (`store.log.owners`)."""
        db = self._db
        with _transaction(db):
            if said:
                texts.add(db, said, db.execute("SELECT coalesce(max(n), 0) FROM entries").fetchone()[0])
            self._apply(db, entries, things, n)

    def last_seq(self, journal: str, upto_n: int) -> int:
        """Return the last `seq` of a stream's journal in the index, of its entries up to an event number."""
        return owners.last_seq(self._db, journal, upto_n)

    def mark_lacking(self, journal: str) -> None:
        """Note that the index lacks entries of a journal because they cannot be read."""
        owners.mark_lacking(self._db, journal)

    def mark(self, rows: Sequence[Sequence[Any]]) -> None:
        """Record which commits hold which events: `(n, commit, time)`."""
        with _transaction(self._db):
            marks.add(self._db, rows)

    def forget(self, session: str) -> None:
        """Delete a session: its entries, their texts, and its things."""
        db = self._db
        with _transaction(db):
            texts.forget(db, session)
            db.execute("DELETE FROM entries WHERE session=?", (session,))
            db.execute("DELETE FROM things WHERE session=?", (session,))

    def _apply(
        self, db: sqlite3.Connection, entries: Iterable[Sequence[Any]], things: Iterable[Sequence[Any]], n: int
    ) -> None:
        db.executemany("INSERT OR IGNORE INTO entries VALUES(?,?,?,?,?,?,?)", entries)
        db.executemany(
            "INSERT INTO things(noun, id, session, status, made, n, doc, kept) VALUES(?,?,?,?,?,?,?,?) "
            "ON CONFLICT(noun, id) DO UPDATE SET session=excluded.session, "
            "status=excluded.status, n=excluded.n, doc=excluded.doc, kept=excluded.kept WHERE excluded.n >= things.n",
            things,
        )
        db.execute(
            "INSERT INTO meta VALUES('n', ?) ON CONFLICT(key) DO UPDATE SET value=max(value, excluded.value)", (n,)
        )

    def shrink(self) -> None:
        """Release the pages that are cached in memory; they are read back when needed."""
        self._db.execute("PRAGMA shrink_memory")

    def close(self) -> None:
        """Close the file."""
        self._db.close()


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


class Reader:
    """A reader of the index for any thread. All methods block on disk: call them in a thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._filters: set[str] = set()  # names of indexes that are known to be there
        self._local = threading.local()

    def _db(self) -> sqlite3.Connection:
        # The inode distinguishes a deleted or rebuilt file from the file that this thread has open.
        try:
            inode = self._path.stat().st_ino
        except FileNotFoundError:
            raise NotReady from None
        if getattr(self._local, "inode", None) != inode:
            if (old := getattr(self._local, "db", None)) is not None:
                old.close()
            self._local.db = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)
            self._local.inode = inode
        db: sqlite3.Connection = self._local.db
        return db

    def newest(self) -> int:
        """Return the number of the newest entry."""
        row = self._db().execute("SELECT value FROM meta WHERE key='n'").fetchone()
        return row[0] if row else 0

    def events(
        self, after: int, *, limit: int, session: str | None = None, run: str | None = None, kinds: Sequence[str] = ()
    ) -> list[tuple[int, str, str]]:
        """Return `(n, kind, line)` of entries with a number above `after`, oldest first."""
        where, values = ["n > ?"], [after]
        for column, value in (("session", session), ("run", run)):
            if value is not None:
                where.append(f"{column} = ?")
                values.append(value)  # type: ignore[arg-type]
        if kinds:
            where.append(f"kind IN ({','.join('?' * len(kinds))})")
            values += kinds  # type: ignore[arg-type]
        sql = f"SELECT n, kind, line FROM entries WHERE {' AND '.join(where)} ORDER BY n LIMIT ?"  # nosec B608  # columns of ours and question marks; values are bound
        return self._db().execute(sql, (*values, limit)).fetchall()

    def stream(self, journal: str, kinds: Sequence[str], after: int = 0) -> list[tuple[int, str, str]]:
        """Return all `(n, kind, line)` of some kinds in a journal without a session after `after`, oldest first."""
        marks = ",".join("?" * len(kinds))
        where = f"session IS NULL AND journal=? AND kind IN ({marks}) AND n>?"
        sql = f"SELECT n, kind, line FROM entries WHERE {where} ORDER BY n"  # nosec B608  # question marks only; values are bound
        return self._db().execute(sql, (journal, *kinds, after)).fetchall()

    def last_line(self, journal: str, kinds: Sequence[str]) -> str | None:
        """Return the last line of a journal without a session. `kinds` are all kinds that it may have: each costs one
        look-up, however long the journal is."""
        sql = "SELECT n, line FROM entries WHERE session IS NULL AND journal=? AND kind=? ORDER BY n DESC LIMIT 1"
        rows = [self._db().execute(sql, (journal, kind)).fetchone() for kind in kinds]
        return max(((n, line) for n, line in filter(None, rows)), default=(0, None))[1]

    def thing(self, noun: str, id: str) -> dict[str, Any] | None:
        """Return the newest document of a thing."""
        row = self._db().execute("SELECT doc FROM things WHERE noun=? AND id=?", (noun, id)).fetchone()
        return orjson.loads(row[0]) if row else None

    def first(self, nouns: Sequence[str], id: str) -> tuple[str, dict[str, Any]] | None:
        """Return the first of some nouns that has this id, with its newest document."""
        sql = f"SELECT noun, doc FROM things WHERE noun IN ({','.join('?' * len(nouns))}) AND id=?"  # nosec B608  # question marks only; values are bound
        rows = dict(self._db().execute(sql, (*nouns, id)).fetchall())
        return next(((noun, orjson.loads(rows[noun])) for noun in nouns if noun in rows), None)

    def things(
        self,
        noun: str,
        *,
        limit: int,
        cursor: str | None = None,
        session: str | None = None,
        statuses: Sequence[str] = (),
        fields: Mapping[str, str] | None = None,
        id_prefix: str | None = None,
        keep: Keep | None = None,
    ) -> Page:
        """Return a page of things, newest first. `fields` filters by members of the documents, `keep` by the rest of
        them (see `pages.page`). Raises InvalidCursor.

        With `id_prefix` the order is that of the ids, which is the same for generated ids: the primary key finds them.
        """
        # The plus keeps SQLite from the index of all things of a noun, where the index of a filter matches far fewer.
        where, values = ["+noun = ?" if fields and session is None else "noun = ?"], [noun]
        if cursor is not None:
            where.append("made < ?")
            values.append(pages.position(cursor))  # type: ignore[arg-type]
        if session is not None:
            where.append("session = ?")
            values.append(session)
        if statuses:
            where.append(f"status IN ({','.join('?' * len(statuses))})")
            values += statuses
        for key, value in (fields or {}).items():
            where.append(self._member(noun, key))
            values.append(value)
        by = self._by(noun, next(iter(fields)), statuses) if fields and session is None else ""
        order = "made"
        if id_prefix is not None:
            where[0], by, order = "noun = ?", "", "id"
            where.append("id >= ? AND id < ?")
            values += [id_prefix, id_prefix + _LAST]
        sql = f"SELECT made, doc FROM things {by}WHERE {' AND '.join(where)} ORDER BY {order} DESC LIMIT ?"  # nosec B608  # columns of ours and question marks; values are bound
        with closing(self._db().execute(sql, (*values, pages.most(limit, keep)))) as rows:
            return pages.page(rows, limit, keep)

    def _by(self, noun: str, field: str, statuses: Sequence[str]) -> str:
        """Return the index that finds the things of a noun by a member. SQLite would rather scan the whole noun, since
        that yields the requested order. Some statuses are rare (`running`): their few things are scanned instead."""
        if statuses and self.count(noun, statuses, at_most=_FEW) < _FEW:
            return "INDEXED BY things_status "
        return f"INDEXED BY things_{noun}_{field} "

    def overdue(self, noun: str, now: str) -> list[str]:
        """Return the ids of pending things whose `expires_at` is past; `now` is RFC 3339 UTC."""
        sql = (
            "SELECT id FROM things WHERE noun=? AND status='pending' AND json_extract(doc, '$.expires_at') <= ? "
            "ORDER BY made LIMIT 1000"
        )
        return [row[0] for row in self._db().execute(sql, (noun, now))]

    def count(
        self, noun: str, statuses: Sequence[str] = (), *, at_most: int = -1, fields: Mapping[str, str] | None = None
    ) -> int:
        """Return the number of things (with a status of these, and these members). Counting stops at `at_most`."""
        sql, values = "SELECT 1 FROM things WHERE noun=?", [noun]
        if statuses:
            sql += f" AND status IN ({','.join('?' * len(statuses))})"
            values += statuses
        for key, value in (fields or {}).items():
            sql += f" AND {self._member(noun, key)}"
            values.append(value)
        return int(self._db().execute(f"SELECT count(*) FROM ({sql} LIMIT {at_most})", values).fetchone()[0])  # nosec B608  # columns of ours and question marks; values are bound

    def fact(self, key: str) -> Any:
        """Return a property of the index itself, as `Writer.get` does."""
        row = self._db().execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()
        return row[0] if row else None

    def covering(self, n: int) -> marks.Mark | None:
        """Return the first commit that holds event `n`: `(its highest event, commit, time)`."""
        return marks.covering(self._db(), n)

    def commit_at(self, time: float) -> marks.Mark | None:
        """Return the last commit that existed at a time (seconds since the epoch)."""
        return marks.at(self._db(), time)

    def commits_of(self, session: str, *, below: int | None, limit: int) -> list[marks.Mark]:
        """Return the commits that hold new entries of a session, newest first."""
        return marks.of_session(self._db(), session, below, limit)

    def _member(self, noun: str, key: str) -> str:
        """Return a condition on a member of the documents of a noun. SQLite takes the index of a filter only where the
        condition is the index's own, letter by letter; so both are constants of ours, never what a caller sent."""
        index = f"things_{noun}_{key}"
        if index not in self._filters:
            known = "SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = ?"
            if self._db().execute(known, (index,)).fetchone() is None:
                raise ValueError(f"{noun} is not filtered by {key}")
            self._filters.add(index)
        return f"noun = '{noun}' AND json_extract(doc, '$.{key}') = ?"

    def search(
        self, words: str, *, limit: int, below: int | None = None, places: Sequence[tuple[str, int | None]] = ()
    ) -> list[tuple[int, str, str | None, str, str]]:
        """Return `(n, session, run, line, text)` of entries that contain all these words, newest first; see
        `texts.find`."""
        return texts.find(self._db(), words, below=below, places=places, limit=limit)

    def sessions_with(self, noun: str, statuses: Sequence[str]) -> list[str]:
        """Return the sessions that have a thing with one of the statuses, ordered by their oldest such thing."""
        marks = ",".join("?" * len(statuses))
        # By itself SQLite takes the index in grouping order, and reads every run that ever existed.
        source = f"FROM things INDEXED BY things_status WHERE noun=? AND status IN ({marks})"
        sql = f"SELECT session, min(made) {source} GROUP BY session ORDER BY 2"
        return [row[0] for row in self._db().execute(sql, (noun, *statuses))]


def floor(index: Reader, session: str, kinds: Sequence[str], most: int) -> int:
    """Return the number above which a session has at most so many entries of some kinds; 0 if that is all of them."""
    marks = ",".join("?" * len(kinds))
    sql = f"SELECT n FROM entries WHERE session = ? AND kind IN ({marks}) ORDER BY n DESC LIMIT 1 OFFSET ?"  # nosec B608  # question marks only; values are bound
    row = index._db().execute(sql, (session, *kinds, most)).fetchone()
    return row[0] if row else 0


def last_of(index: Reader, session: str, kind: str, upto: int) -> str | None:
    """Return the session's last line of a kind, up to an event number."""
    sql = "SELECT line FROM entries WHERE session=? AND kind=? AND n <= ? ORDER BY n DESC LIMIT 1"
    row = index._db().execute(sql, (session, kind, upto)).fetchone()
    return row[0] if row else None
