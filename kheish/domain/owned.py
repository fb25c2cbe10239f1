"""Streams that fold: entries without a session, each of one *owner*, and what they come to.

A stream has one journal (`journals/releases`), and each of its entries names its owner (a Playbook). The values of one
owner are a partition, as those of a session are: loaded when they are needed, changed by the same fold, let go of when
they are idle. But they have no checkpoints: the index keeps the newest document of each value, the document is all of
it, and a partition is read from there, in one query, whatever the length of the journal. Without an index they are
folded again from the journal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from kheish.domain import events, loading
from kheish.domain.changes import Change
from kheish.domain.events import Entry, Event
from kheish.domain.loading import Partition
from kheish.domain.tables import BY_NAME, NOUNS
from kheish.store import index as indexed
from kheish.store import journal
from kheish.store.index import Reader

FOLDER = "journals/"


def owner(event: Event) -> str | None:
    """The owner of a stream's entry, as partitions are named: `releases/triage`. None: it folds into nothing."""
    return f"{event.stream}/{getattr(event, event.owned_by)}" if event.owned_by is not None else None


def read(index: Reader, key: str) -> Partition:
    """An owner's values from the index; none where it has never been heard of. Blocks on disk."""
    part = Partition(key, "")
    for noun, id, n, doc in indexed.owned(index, [noun.name for noun in NOUNS if noun.read is not None], key):
        kind = BY_NAME[noun]
        assert kind.read is not None
        part.tables[kind.cls][id] = kind.read(doc)
        part.last_n = max(part.last_n, n)
    return part


def fold(entries: Iterable[Entry], parts: dict[str, Partition], index: Reader | None) -> None:
    """Take entries of streams into `parts`, in order. What an owner's values have already is passed over.

    Owners that are not among `parts` are read from the index (None: they begin with nothing).
    """
    for entry in entries:
        key = owner(entry.event)
        if key is None:
            continue
        part = parts.get(key)
        if part is None:
            part = parts[key] = read(index, key) if index is not None else Partition(key, "")
        if entry.n > part.last_n:
            loading.fold(part, entry)
            part.last_n = entry.n


def changes(parts: Iterable[Partition], after_n: int) -> list[Change]:
    """The values of owners that are newer than an event number."""
    return [
        Change(value.n, noun, id, part.session_id, part.path, value)
        for part in parts
        for noun in NOUNS
        if noun.read is not None
        for id, value in part.tables[noun.cls].items()
        if value.n > after_n
    ]


def changes_after(
    root: Path, where: str, after_n: int, logged: Iterable[dict[str, Any]], *, index: Reader | None, whole: bool
) -> list[Change]:
    """What a stream's entries come to, where that is newer than `after_n`: for an index that may be behind.

    `logged` are the lines of this stream that the log has; with `whole` the journal is read as well. Without an index
    all of it is folded anew. Blocks on disk. Raises Damaged.
    """
    parts: dict[str, Partition] = {}
    fold(_entries(root, where, logged, whole=whole), parts, index)
    return changes(parts.values(), after_n)


def _entries(root: Path, where: str, logged: Iterable[dict[str, Any]], *, whole: bool) -> Iterator[Entry]:
    """In order, each once: the log has what the journal lacks while another git works in the root."""
    last = 0
    for line in chain(journal.read(root, where) if whole else (), logged):
        if line["seq"] > last:
            last = line["seq"]
            yield events.decode(line)
