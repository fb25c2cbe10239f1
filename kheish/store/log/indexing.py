"""The scribe's way into the index: rows of several batches go into one transaction, and a lost file is
created again.

A transaction costs the same pages of SQLite and of the full-text search for one row as for many. So under load the rows
of some moments are gathered. A reader that waits for them does not: it has the scribe `write` them at once.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from kheish.store import memory
from kheish.store.log import index, texts
from kheish.store.log.segments import Row

_GAP = 0.05  # seconds between two transactions, unless a reader waits
_REST = 3.0  # seconds without a write before memory is released
_MOST = 5000  # rows that are gathered


class Indexing:
    """The writer of the index with the rows that it is about to write. `on_written(n)` is called when the index has
    everything up to entry `n`, `on_lost(detail)` when its file was lost and is empty now."""

    def __init__(
        self, root: Path, filters: index.Filters, on_written: Callable[[int], None], on_lost: Callable[[str], None]
    ) -> None:
        self._root = root
        self._filters = filters
        self._on_written = on_written
        self._on_lost = on_lost
        self._rows: list[Row] = []
        self._things: dict[tuple[str, str], Sequence[Any]] = {}
        self._said: list[texts.Text] = []
        self._n = 0
        self._due = 0.0  # when rows are written again
        self._used: float | None = None  # the time of the last write, if it left pages in memory

    @cached_property
    def _writer(self) -> index.Writer:
        """The writer, opened at first use: until the daemon sends `start`, the file may be removed."""
        return index.Writer(self._root / ".kheish" / "index.sqlite", self._filters)

    @property
    def writer(self) -> index.Writer:
        """The writer, after it has everything that was added."""
        self.write()
        return self._writer

    def add(self, rows: Iterable[Row], things: Iterable[Sequence[Any]], n: int, said: Sequence[texts.Text]) -> None:
        """Add what a batch led to, as for `index.Writer.apply`; write it if the last write is a moment ago."""
        self._rows += rows
        for thing in things:
            self._things[thing[0], thing[1]] = thing
        self._said += said
        self._n = max(self._n, n)
        if time.monotonic() >= self._due or len(self._rows) >= _MOST:
            self.write()

    def apply(
        self, rows: Iterable[Row], things: Iterable[Sequence[Any]], n: int, said: Sequence[texts.Text] = ()
    ) -> None:
        """Write at once, after what was added before. `on_written` is not called for these rows."""
        self.write()
        self._apply(rows, things, n, said)

    def write(self) -> None:
        """Write what was added."""
        if n := self._write_added():
            self._on_written(n)

    def _write_added(self) -> int:
        """Write what was added; return up to which entry the index has everything then, 0 if nothing was added."""
        rows, things, said, n = self._rows, self._things, self._said, self._n
        if n:
            self._rows, self._things, self._said, self._n = [], {}, [], 0
            self._apply(rows, things.values(), n, said)
        return n

    def _apply(self, rows: Iterable[Row], things: Iterable[Sequence[Any]], n: int, said: Sequence[texts.Text]) -> None:
        try:
            self._writer.check()
            self._writer.apply(rows, things, n, said)
        except sqlite3.DatabaseError as error:
            # The index is a cache: the daemon rebuilds it from the source data after this notice.
            self._writer.create()
            self._on_lost(str(error))
        self._used = time.monotonic()
        self._due = self._used + _GAP

    def idle(self) -> float | None:
        """Write what is due, and release memory after a while; return the seconds until the next call."""
        now = time.monotonic()
        if self._n:
            if now < self._due:
                return self._due - now
            self.write()
        if self._used is None:
            return None
        wait = self._used + _REST - now
        if wait > 0:
            return wait
        self._writer.shrink()
        memory.trim()
        self._used = None
        return None

    def close(self) -> None:
        """Write the rest, and close the file."""
        self._write_added()
        if "_writer" in self.__dict__:
            self._writer.close()
