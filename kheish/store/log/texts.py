"""Full-text search: the searchable words of an entry, the parsing of queries, and the matches.

The index is contentless (no text is kept twice): the text of an entry is read from its line when it is needed. Only
texts that the line lacks (spilled payloads) are stored, since a row can be removed only by giving its text.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import sha1
from typing import Any

import orjson

SCHEMA = """
CREATE VIRTUAL TABLE texts USING fts5(text, place, content='', tokenize='unicode61 remove_diacritics 2');
CREATE TABLE spilled(n INTEGER PRIMARY KEY, text TEXT NOT NULL);
"""

#: searchable bytes of a spilled payload
SPILL_BYTES = 256 * 1024
#: members that hold conversation text, wherever they occur in an entry's data …
_SAID = frozenset(("text", "content", "summary", "reason", "title", "label", "header", "description", "message"))
#: … except below these. Calls repeat the entries of their start, so arguments count in `calls` only
_UNSAID = frozenset(
    (
        "arguments",
        "base",
        "opaque",
        "nouns",
        "metadata",
        "detail",
        "persona",
        "input_contract",
        "output_contract",
        "generation",
    )
)
_REFERENCE = {"sha256", "bytes", "preview"}
_WORD = re.compile(r'"([^"]*)"|(\S+)')
_LETTER = re.compile(r"\w")

#: (n, session or stream and owner, text, whether the line alone lacks part of it)
Text = tuple[int, str, str, bool]
Payload = Callable[[Mapping[str, Any]], str | None]


def of(entry: Mapping[str, Any], payload: Payload) -> Text | None:
    """Return the searchable text of an entry as a row, or None. `payload` reads a spilled text.

    An owner's entries are searchable if the owner has a journal of its own: its place is that journal's name.
    """
    session = entry.get("session") or entry.get("stream") or ""
    if not entry.get("session") and "/" not in session:
        return None
    spilled: list[Any] = []

    def read(reference: Mapping[str, Any]) -> str:
        spilled.append(reference)
        return payload(reference) or reference["preview"]

    text = "\n".join(_texts(entry.get("data"), read, whole=False))
    return (entry["n"], session, text, bool(spilled)) if text else None


def said(line: str | bytes) -> str:
    """Return the text of a journal line alone, with previews in place of spilled texts."""
    return "\n".join(_texts(orjson.loads(line).get("data"), lambda reference: str(reference["preview"]), whole=False))


def _texts(value: Any, read: Callable[[Mapping[str, Any]], str], whole: bool) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            if isinstance(item, str):
                if whole:
                    yield item
            else:
                yield from _texts(item, read, whole)
        return
    if not isinstance(value, dict):
        return
    for key, item in value.items():
        if isinstance(item, str):
            if (whole and key != "id") or (key in _SAID and (key != "reason" or " " in item)):
                yield item
        elif isinstance(item, dict | list) and item and (whole or key not in _UNSAID):
            if isinstance(item, dict) and item.keys() == _REFERENCE:
                if whole or key in _SAID or key == "calls":
                    yield read(item)
            else:
                yield from _texts(item, read, whole or key == "calls")


@lru_cache(maxsize=4096)
def place(session: str) -> str:
    """Return the word that stands for a session, so that a search in it reads only its own rows."""
    return "s" + sha1(session.encode(), usedforsecurity=False).hexdigest()[:20]


def add(db: sqlite3.Connection, rows: Sequence[Text], known: int) -> None:
    """Add texts. Texts that the index already has (a restart sends them twice) are skipped; `known` is the highest
    entry number in the index before this batch."""
    if rows and min(row[0] for row in rows) <= known:
        rows = [row for row in rows if not db.execute("SELECT 1 FROM entries WHERE n=?", (row[0],)).fetchone()]
    if rows:
        db.executemany(
            "INSERT INTO texts(rowid, text, place) VALUES(?,?,?)", [(n, text, place(id)) for n, id, text, _ in rows]
        )
    kept = [(n, text) for n, _, text, is_spilled in rows if is_spilled]
    if kept:
        db.executemany("INSERT OR REPLACE INTO spilled VALUES(?,?)", kept)


def forget(db: sqlite3.Connection, session: str) -> None:
    """Remove the texts of a session while its entries still exist."""
    rows = db.execute(
        "SELECT e.n, e.line, s.text FROM entries e LEFT JOIN spilled s ON s.n = e.n WHERE e.session=?", (session,)
    ).fetchall()
    texts = [(n, kept if kept is not None else said(line), place(session)) for n, line, kept in rows]
    db.executemany(
        "INSERT INTO texts(texts, rowid, text, place) VALUES('delete',?,?,?)", [row for row in texts if row[1]]
    )
    db.executemany("DELETE FROM spilled WHERE n=?", [(row[0],) for row in texts])


def expression(words: str) -> str:
    """Return a user's query as an FTS5 expression: all words, `"a phrase"`, and beginnings of words (`deplo*`).

    Raises ValueError if it contains no word.
    """
    parts = []
    for phrase, word in _WORD.findall(words.replace("\0", " ")):  # SQLite ends a text there
        text = phrase or word
        if _LETTER.search(text):
            prefix = "*" if word.endswith("*") else ""
            parts.append('"' + text.rstrip("*").replace('"', '""') + '"' + prefix)
    if not parts:
        raise ValueError("the query contains no word")
    return " AND ".join(parts)


def terms(words: str) -> list[str]:
    """Return the words and phrases of a query for `snippet`."""
    return [(phrase or word).rstrip("*").strip('"') for phrase, word in _WORD.findall(words)]


def find(
    db: sqlite3.Connection, words: str, *, below: int | None, places: Iterable[tuple[str, int | None]], limit: int
) -> list[tuple[int, str, str | None, str, str]]:
    """Return `(n, session, run, line, text)` of matching entries, newest first. `places` are the sessions (and streams
    with their owner) to search, each with its highest entry number (None for all); without places all sessions are
    searched. Raises ValueError as `expression` does."""
    match = f"{{text}} : ({expression(words)})"
    where, values = ["texts MATCH ?"], list[Any]()
    scopes = list(places)
    if scopes:
        match = f"({match}) AND ({' OR '.join(f'place:{place(id)}' for id, _ in scopes)})"
        where.append("(" + " OR ".join("((e.session=? OR e.journal=?) AND e.n<=?)" for _ in scopes) + ")")
        ends = [(id, f"journals/{id}", most if most is not None else 2**62) for id, most in scopes]
        values += [value for end in ends for value in end]
    else:
        where.append("e.session IS NOT NULL")
    if below is not None:
        where.append("texts.rowid < ?")
        values.append(below)
    sql = (
        "SELECT e.n, e.session, e.run, e.line, s.text FROM texts JOIN entries e ON e.n = texts.rowid "  # nosec B608  # columns of ours and question marks; values are bound
        f"LEFT JOIN spilled s ON s.n = e.n WHERE {' AND '.join(where)} ORDER BY texts.rowid DESC LIMIT ?"
    )
    rows = db.execute(sql, (match, *values, limit)).fetchall()
    return [(n, session, run, line, kept or said(line)) for n, session, run, line, kept in rows]


def snippet(text: str, terms: Sequence[str], width: int = 160) -> str:
    """Return the part of `text` around the first of the words, on a single line."""
    low = text.lower()
    places = [at for term in terms if term and (at := low.find(term.lower())) >= 0]
    start = max(0, min(places, default=0) - width // 3)
    cut = text[start : start + width]
    return ("…" if start else "") + " ".join(cut.split()) + ("…" if start + width < len(text) else "")
