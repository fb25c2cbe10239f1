"""Loading from journals: folding entries, checkpoints, and reading a session back."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import orjson

from kheish.state import event as reading, payloads
from kheish.state.event import Checkpoint, Entry, Spilled
from kheish.state.noun import Noun, Nouns, Tables
from kheish.store.log import journal
from kheish.store.log.index import Reader

_ALL = 2**40


@dataclass(slots=True)
class Partition:
    """A loaded session (or owner in a stream): its tables, and its position in its journal."""

    session_id: str
    path: str
    nouns: Nouns
    seq: int = 0
    last_n: int = 0
    checkpoint: int = 0  # the seq of the last checkpoint
    tables: Tables = field(init=False)
    used: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.tables = self.nouns.empty()

    @property
    def busy(self) -> bool:
        """Return whether a run may be active."""
        return self.nouns.is_busy(self.tables, self.session_id)


def fold(part: Partition, entry: Entry) -> list[tuple[Noun, str, Any]]:
    """Fold an entry into the tables; return the changes. Ended values of an owner occur in the returned changes
    only."""
    folding = part.nouns.folding(entry.event)
    changed = [(noun, id, part.tables[noun.cls].get(id)) for noun in folding for id in noun.fold(part.tables, entry)]
    for noun, id, value in changed:
        if noun.kept(value) is False:
            part.tables[noun.cls].pop(id, None)
    return changed


def checkpoint(part: Partition) -> Checkpoint:
    """Return the folded state without messages, as an event."""
    nouns: dict[str, Any] = {}
    for noun, keep in part.nouns.checkpointed:
        kept = {id: value for id, value in part.tables[noun.cls].items() if keep(value)}
        if kept:
            write = reading.adapter(noun.cls)
            nouns[noun.name] = {id: write.dump_python(value, mode="json") for id, value in kept.items()}
    return Checkpoint(nouns=nouns, messages_from=_needs_from(part))


def _needs_from(part: Partition) -> int:
    """Return the first entry that a reader needs for values that no checkpoint holds."""
    after = part.seq + 1
    values = ((noun.needs_from, part.tables[noun.cls].get(part.session_id)) for noun in part.nouns.replayed)
    needs = [needs_from(value, after) for needs_from, value in values if needs_from is not None and value is not None]
    return min(needs, default=after)


def restore(part: Partition, entry: Entry, nouns: dict[str, Any]) -> None:
    """Replace the tables with the contents of a checkpoint that was read."""
    part.checkpoint = entry.seq
    for noun, _ in part.nouns.checkpointed:
        read, held = reading.adapter(noun.cls), nouns.get(noun.name, {})
        part.tables[noun.cls] = {id: read.validate_python(value) for id, value in held.items()}
    for noun, _ in part.nouns.checkpointed:
        if noun.derive is not None:
            noun.derive(part.tables)


def trim(part: Partition, entry: Entry) -> list[tuple[type, str]]:
    """Drop the values that a checkpoint, just written, does not keep; return their keys. The values that it keeps are
    already in memory."""
    part.checkpoint = entry.seq
    dropped: list[tuple[type, str]] = []
    for noun, keep in part.nouns.checkpointed:
        table = part.tables[noun.cls]
        part.tables[noun.cls] = {id: value for id, value in table.items() if keep(value)}
        dropped += [(noun.cls, id) for id in table.keys() - part.tables[noun.cls].keys()]
    return dropped


def load(root: Path, nouns: Nouns, session_id: str, path: str, *, index: Reader | None = None) -> Partition:
    """Read a session: the last checkpoint, the entries after it, and the messages since the last compaction.

    `index` supplies entries that the files lack while another git works in the root (`store.git.hold`), or that it
    removed. Blocks on disk. Raises Damaged.
    """
    part = Partition(session_id, path, nouns)
    for _ in _replay(root, part, after_n=None, index=index):
        pass
    return part


def changes_after(
    root: Path, nouns: Nouns, session_id: str, path: str, after_n: int, *, index: Reader | None = None
) -> tuple[Partition, dict[tuple[str, str], Any]]:
    """Read a session, and collect the changes after an event number: `{(noun name, id): (n, value)}`.

    Used for an index that is behind. Blocks on disk. Raises Damaged.
    """
    part = Partition(session_id, path, nouns)
    values: dict[tuple[str, str], Any] = {}
    for entry, changed in _replay(root, part, after_n=after_n, index=index):
        if entry.n > after_n:
            for noun, id, value in changed:
                if noun.view:
                    values[noun.name, id] = (entry.n, value)
    return part, values


def _replay(
    root: Path, part: Partition, after_n: int | None, index: Reader | None
) -> Iterator[tuple[Entry, list[tuple[Noun, str, Any]]]]:
    where = f"{part.path}/journal"
    unfiled = _unfiled_entries(root, where, part.session_id, index) if index is not None else []
    reading = journal.Segments(root, where)
    start = _last_checkpoint(reading, after_n, unfiled)
    first = start["seq"] if start else 1
    messages_from = start["data"]["messages_from"] if start else 1
    if messages_from < 1:
        _inherit(root, part, messages_from)
    for line in chain(reading.read(min(first, messages_from)), unfiled):
        if line["seq"] < min(first, messages_from):
            continue
        if start is None and _inherits(part, line):  # the first line; other sessions need no look at a folder
            _inherit(root, part, None)
        entry = part.nouns.decode(line)
        part.seq, part.last_n = entry.seq, entry.n
        if entry.seq < first:
            for noun in part.nouns.replayed:
                if type(entry.event) in noun.folded:
                    noun.fold(part.tables, entry)
            continue
        if isinstance(entry.event, Checkpoint):
            restore(part, entry, _nouns(root, part, entry.event))
            continue
        yield entry, fold(part, entry)


def _inherit(root: Path, part: Partition, needs_from: int | None) -> None:
    """Add the inherited values of a fork, except those that a summary has replaced since."""
    for noun in part.nouns.replayed:
        inherited = noun.inherit(root, part.path, part.session_id, needs_from) if noun.inherit is not None else None
        if inherited is not None:
            part.tables[noun.cls][part.session_id] = inherited


def _inherits(part: Partition, line: Mapping[str, Any]) -> bool:
    cls = part.nouns.kinds().get(line["kind"])
    return cls is not None and cls.inherits


def _unfiled_entries(root: Path, where: str, session_id: str, index: Reader) -> list[dict[str, Any]]:
    """Return the entries that the index has and the files lack."""
    end = journal.tail(root / where)
    entries: list[dict[str, Any]] = []
    for _, _, line in index.events(end.n, session=session_id, limit=_ALL):
        entry = orjson.loads(line)
        if entry["seq"] == end.seq + 1 + len(entries):
            entries.append(entry)
    return entries


def _last_checkpoint(
    reading: journal.Segments, after_n: int | None, unfiled: list[dict[str, Any]]
) -> dict[str, Any] | None:
    """Return the newest checkpoint that is not newer than `after_n`. Segments are read from the end."""
    if after_n == 0:
        return None
    for entries in chain([unfiled], reading.back()):
        for line in reversed(entries):
            if line["kind"] == "checkpoint" and (after_n is None or line["n"] <= after_n):
                return dict(line)
    return None


def _nouns(root: Path, part: Partition, event: Checkpoint) -> dict[str, Any]:
    if not isinstance(event.nouns, Spilled):
        return dict(event.nouns)
    return dict(orjson.loads(payloads.on_disk(root, part.path, event.nouns)))


def evictable(parts: Iterable[Partition], journaled: int, before: float, count: int) -> list[str]:
    """Return the partitions that can be evicted, at most `count`: unused since `before`, idle, and completely in
    journals."""
    keys: list[str] = []
    for part in parts:
        if len(keys) >= count or part.used > before:
            break
        if part.last_n <= journaled and not part.busy:
            keys.append(part.session_id)
    return keys
