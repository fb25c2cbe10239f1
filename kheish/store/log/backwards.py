"""Reading the index backwards: the last entries of a session before a number, without reading those before them."""

from __future__ import annotations

from collections.abc import Sequence

from kheish.store.log.index import Reader


def events(
    index: Reader, session: str, before: int, *, limit: int, run: str | None = None, kinds: Sequence[str] = ()
) -> list[tuple[int, str, str]]:
    """Return `(n, kind, line)` of the last entries of a session with a number below `before`, oldest first.

    Blocks on disk.
    """
    where = ["session = ?", "n < ?"]
    values: list[str | int] = [session, before]
    if run is not None:
        where.append("run = ?")
        values.append(run)
    if kinds:
        where.append(f"kind IN ({','.join('?' * len(kinds))})")
        values += kinds
    sql = f"SELECT n, kind, line FROM entries WHERE {' AND '.join(where)} ORDER BY n DESC LIMIT ?"  # nosec B608  # columns of ours and question marks; values are bound
    rows: list[tuple[int, str, str]] = index._db().execute(sql, (*values, limit)).fetchall()
    return rows[::-1]
