"""Streams that fold: entries without a session, each of an *owner*, and the owner's values.

A stream has a single journal (`journals/releases`), or a journal for each owner (`journals/channels/<id>`). Each of its
entries names its owner. The values of an owner form a partition, as those of a session do: loaded when they are needed,
changed by the same fold, evicted when they are idle. But they have no checkpoints. The index keeps the newest document
of each value, and the document is the whole value. So a partition is read from the index in a single query, whatever
the length of the journal. Values that have ended (`Noun.keep`) are in the index only. Without an index, all entries are
folded from the journal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import orjson

from kheish import ids
from kheish.errors import Damaged, NotFound, NotReady
from kheish.state import loading
from kheish.state.changes import Change
from kheish.state.event import Entry, Event
from kheish.state.loading import Partition
from kheish.state.noun import Noun, Nouns
from kheish.store.log import journal, owners
from kheish.store.log.index import Reader

FOLDER = "journals/"
PORTION = 2000  # changes in memory at a time while a journal is folded


def owner(event: Event) -> str | None:
    """Return the owner of a stream's entry, as partitions are named: `releases/triage`. None if the entry folds into
    nothing."""
    return f"{event.stream}/{getattr(event, event.owned_by)}" if event.owned_by is not None else None


def end(event: Event, loaded: Mapping[str, Partition], seqs: Mapping[str, int]) -> tuple[str, int]:
    """Return the journal of an entry without a session, and the last `seq` there. `loaded` are owners; `seqs` has the
    streams with a shared journal.

    Raises NotFound for an owner that is not loaded, Invalid for an owner whose id cannot name a folder.
    """
    key = owner(event)
    if key is not None and key not in loaded:
        raise NotFound(f"{key} is not loaded.")
    if key is None or not event.journal_per_owner:
        stream = event.stream or "daemon"
        return FOLDER + stream, seqs.get(stream, 0)
    ids.check_slug(key.partition("/")[2], f"the owner of {event.kind}")
    return FOLDER + key, loaded[key].seq


def advance(entry: Entry, loaded: Mapping[str, Partition], seqs: dict[str, int]) -> Partition | None:
    """Note that an entry without a session is the last of its journal; return the owner that it folds into."""
    key = owner(entry.event)
    if key is not None and entry.event.journal_per_owner:
        loaded[key].seq = entry.seq
    else:
        seqs[entry.event.stream or "daemon"] = entry.seq
    return loaded[key] if key is not None else None


def read(index: Reader, nouns: Nouns, key: str) -> Partition:
    """Return the values that an owner keeps; an owner without entries has none. Blocks on disk.

    Raises NotReady while the index is rebuilt, because a missing value proves nothing then. Raises Damaged if the
    owner's journal could not be read into the index.
    """
    has_journal = key.partition("/")[0] in nouns.streams(journal_per_owner=True)
    where = FOLDER + key if has_journal else None
    held = owners.read(index, key, where)
    if held is None:
        raise NotReady
    if held.is_lacking:
        raise Damaged(f"{where}: the index lacks entries that could not be read: kheish state reindex", path=where)
    part = Partition(key, "", nouns, seq=held.seq, last_n=held.newest)
    for name, id, _, doc in held.kept:
        noun = nouns.by_name[name]
        part.tables[noun.cls][id] = _value(noun, doc)
    return part


def changes_after(
    root: Path,
    nouns: Nouns,
    where: str,
    after_n: int,
    logged: Iterable[dict[str, Any]],
    *,
    index: Reader | None,
    whole: bool,
) -> Iterator[list[Change]]:
    """Yield the changes of a stream's entries after `after_n`, in portions, for an index that may be behind.

    `logged` are the lines of this stream in the log. With `whole` the journal is read as well. Without an index all
    entries are folded. Entries that an owner's values already include are skipped. Blocks on disk. Raises Damaged
    before the first portion if the journal cannot be read, since half of it would be worse than nothing.
    """
    if not any(cls.owned_by for cls in _classes(nouns, where)):
        return
    start = owners.reach(index, where, after_n) + 1 if index is not None and whole else 1
    logged = list(logged)
    parts: dict[str, Partition] = {}
    changes: dict[tuple[type, str], Change] = {}
    is_checked = False
    for entry in _entries(root, nouns, where, logged, start, whole=whole):
        key = owner(entry.event)
        if key is None:
            continue
        part = parts.get(key)
        if part is None:
            part = parts[key] = read(index, nouns, key) if index is not None else Partition(key, "", nouns)
            changes |= _known(index, part, after_n) if index is not None else {}
        if entry.n <= part.last_n:
            continue
        for noun, id, value in loading.fold(part, entry):
            changes[noun.cls, id] = Change(entry.n, noun, id, key, part.path, value)
        part.last_n = entry.n
        if len(changes) >= PORTION:
            if not is_checked:
                is_checked = True
                deque(_entries(root, nouns, where, logged, start, whole=whole), maxlen=0)
            yield list(changes.values())
            changes.clear()
    yield list(changes.values())


def values_at(index: Reader, nouns: Nouns, stream: str, owner_id: str, n: int) -> Mapping[type, Mapping[str, Any]]:
    """Return an owner's values as of event `n`, including those that had ended, by class and id. Blocks on disk."""
    classes = [cls for cls in nouns.kinds().values() if cls.stream == stream and cls.owned_by is not None]
    fields = {cls.kind: cls.written.get(str(cls.owned_by), cls.owned_by) for cls in classes}
    is_apart = stream in nouns.streams(journal_per_owner=True)
    part, values = Partition(f"{stream}/{owner_id}", "", nouns), dict[type, dict[str, Any]]()
    for number, kind, raw in index.stream(FOLDER + (part.session_id if is_apart else stream), list(fields)):
        line = orjson.loads(raw)
        if number <= n and line["data"].get(fields[kind]) == owner_id:
            for noun, id, value in loading.fold(part, nouns.decode(line)):
                values.setdefault(noun.cls, {})[id] = value
    return values


def _classes(nouns: Nouns, where: str) -> Iterable[type[Event]]:
    """Return the classes of the entries in a stream's journal."""
    stream, _, owner_id = where.removeprefix(FOLDER).partition("/")
    return nouns.streams(journal_per_owner=bool(owner_id)).get(stream, ())


def _value(noun: Noun, doc: dict[str, Any]) -> Any:
    assert noun.read is not None
    return noun.read(doc)


def _known(index: Reader, part: Partition, after_n: int) -> dict[tuple[type, str], Change]:
    """Return an owner's values in the index that are newer than an event number."""
    held = owners.read(index, part.session_id, None)
    rows = [row for row in held.kept if row[2] > after_n] if held is not None else []
    return {
        (noun.cls, id): Change(n, noun, id, part.session_id, part.path, _value(noun, doc))
        for noun, id, n, doc in (
            (part.nouns.by_name[row[0]], *row[1:]) for row in (*rows, *owners.ended(index, part.session_id, after_n))
        )
    }


def _entries(
    root: Path, nouns: Nouns, where: str, logged: Iterable[dict[str, Any]], start: int, *, whole: bool
) -> Iterator[Entry]:
    """Yield the entries from `start` on in order, each once. The log has the entries that the journal lacks while
    another git works in the root."""
    last = start - 1
    for line in chain(journal.read(root, where, from_seq=start) if whole else (), logged):
        if line["seq"] > last:
            last = line["seq"]
            yield nouns.decode(line)
