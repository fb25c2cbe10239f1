"""From a journal to memory: folding, checkpoints, and reading a session back."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import orjson

from kheish.domain import events, inherited, messages, nouns, sessions
from kheish.domain.events import Checkpoint, Entry, SessionForked, Spilled
from kheish.domain.messages import Conversation
from kheish.domain.nouns import NOUNS, Noun, Tables
from kheish.state import payloads
from kheish.store.log import journal
from kheish.store.log.index import Reader

_ALL = 2**40
#: what checkpoints hold: the nouns of sessions that are not folded from entries
_CHECKPOINTED = tuple((noun, noun.keep) for noun in NOUNS if noun.keep is not None and noun.read is None)


@dataclass(slots=True)
class Partition:
    """One loaded session (or owner in a stream): its tables, and where its journal stands."""

    session_id: str
    path: str
    seq: int = 0
    last_n: int = 0
    checkpoint: int = 0  # the seq of the last checkpoint
    tables: Tables = field(default_factory=nouns.empty)
    used: float = field(default_factory=time.monotonic)

    @property
    def busy(self) -> bool:
        """Whether a run may be at work."""
        session = self.tables[sessions.Session].get(self.session_id)
        return session is not None and (session.active is not None or bool(session.queued))


def fold(part: Partition, entry: Entry) -> list[tuple[Noun, str, Any]]:
    """Take an entry in; returns what changed. An owner's values that have ended are in what is returned only."""
    folding = nouns.folding(entry.event)
    changed = [(noun, id, part.tables[noun.cls].get(id)) for noun in folding for id in noun.fold(part.tables, entry)]
    for noun, id, value in changed:
        if noun.kept(value) is False:
            part.tables[noun.cls].pop(id, None)
    return changed


def checkpoint(part: Partition) -> Checkpoint:
    """The folded state without messages, as an event."""
    nouns: dict[str, Any] = {}
    for noun, keep in _CHECKPOINTED:
        kept = {id: value for id, value in part.tables[noun.cls].items() if keep(value)}
        if kept:
            write = events.adapter(noun.cls)
            nouns[noun.name] = {id: write.dump_python(value, mode="json") for id, value in kept.items()}
    conversation = part.tables[Conversation].get(part.session_id)
    needs = conversation.needs_from(part.seq + 1) if conversation else part.seq + 1
    return Checkpoint(nouns=nouns, messages_from=needs)


def restore(part: Partition, entry: Entry, nouns: dict[str, Any]) -> None:
    """Fold a checkpoint that is read: the tables become what it holds."""
    part.checkpoint = entry.seq
    for noun, _ in _CHECKPOINTED:
        read, held = events.adapter(noun.cls), nouns.get(noun.name, {})
        part.tables[noun.cls] = {id: read.validate_python(value) for id, value in held.items()}


def trim(part: Partition, entry: Entry) -> list[tuple[type, str]]:
    """Fold a checkpoint that was just written: what it keeps is in memory already. Returns what was dropped."""
    part.checkpoint = entry.seq
    dropped: list[tuple[type, str]] = []
    for noun, keep in _CHECKPOINTED:
        table = part.tables[noun.cls]
        part.tables[noun.cls] = {id: value for id, value in table.items() if keep(value)}
        dropped += [(noun.cls, id) for id in table.keys() - part.tables[noun.cls].keys()]
    return dropped


def load(root: Path, session_id: str, path: str, *, index: Reader | None = None) -> Partition:
    """Read a session: the last checkpoint, what follows, and messages from the last compaction on.

    `index` has what files lack while another git works in the root (`store.git.hold`), or took away.
    Blocks on disk. Raises Damaged.
    """
    part = Partition(session_id, path)
    for _ in _replay(root, part, after_n=None, index=index):
        pass
    return part


def changes_after(
    root: Path, session_id: str, path: str, after_n: int, *, index: Reader | None = None
) -> tuple[Partition, dict[tuple[str, str], Any]]:
    """Read a session, and collect what changed after an event number: `{(noun name, id): (n, value)}`.

    For an index that is behind. Blocks on disk. Raises Damaged.
    """
    part = Partition(session_id, path)
    found: dict[tuple[str, str], Any] = {}
    for entry, changed in _replay(root, part, after_n=after_n, index=index):
        if entry.n > after_n:
            for noun, id, value in changed:
                if noun.view:
                    found[noun.name, id] = (entry.n, value)
    return part, found


def _replay(
    root: Path, part: Partition, after_n: int | None, index: Reader | None
) -> Iterator[tuple[Entry, list[tuple[Noun, str, Any]]]]:
    where = f"{part.path}/journal"
    beyond = _beyond(root, where, part.session_id, index) if index is not None else []
    reading = journal.Segments(root, where)
    start = _last_checkpoint(reading, after_n, beyond)
    first = start["seq"] if start else 1
    messages_from = start["data"]["messages_from"] if start else 1
    if messages_from < 1:
        _inherit(root, part, messages_from)
    for line in chain(reading.read(min(first, messages_from)), beyond):
        if line["seq"] < min(first, messages_from):
            continue
        if start is None and line["kind"] == SessionForked.kind:  # the first; no other session has a folder to look at
            _inherit(root, part, None)
        entry = events.decode(line)
        part.seq, part.last_n = entry.seq, entry.n
        if entry.seq < first:
            if type(entry.event) in messages.FOLDED:
                messages.fold(part.tables[Conversation], entry)
            continue
        if isinstance(entry.event, Checkpoint):
            restore(part, entry, _nouns(root, part, entry.event))
            continue
        yield entry, fold(part, entry)


def _inherit(root: Path, part: Partition, messages_from: int | None) -> None:
    """What a fork began with; of that, what a summary did not replace meanwhile."""
    found = inherited.read(root, part.path, part.session_id)
    if found is not None:
        found.messages = [one for one in found.messages if messages_from is None or one.source >= messages_from]
        part.tables[Conversation][part.session_id] = found


def _beyond(root: Path, where: str, session_id: str, index: Reader) -> list[dict[str, Any]]:
    """The entries that the index has and the files do not."""
    end = journal.tail(root / where)
    found: list[dict[str, Any]] = []
    for _, _, line in index.events(end.n, session=session_id, limit=_ALL):
        entry = orjson.loads(line)
        if entry["seq"] == end.seq + 1 + len(found):
            found.append(entry)
    return found


def _last_checkpoint(
    reading: journal.Segments, after_n: int | None, beyond: list[dict[str, Any]]
) -> dict[str, Any] | None:
    """The newest checkpoint (that is not newer than `after_n`); segments are read from the end."""
    if after_n == 0:
        return None
    for entries in chain([beyond], reading.back()):
        for line in reversed(entries):
            if line["kind"] == "checkpoint" and (after_n is None or line["n"] <= after_n):
                return dict(line)
    return None


def _nouns(root: Path, part: Partition, event: Checkpoint) -> dict[str, Any]:
    if not isinstance(event.nouns, Spilled):
        return dict(event.nouns)
    return dict(orjson.loads(payloads.on_disk(root, part.path, event.nouns)))


def evictable(parts: Iterable[Partition], journaled: int, before: float, count: int) -> list[str]:
    """Return which partitions can be let go of, at most `count`: unused since `before`, idle, whole in journals."""
    found: list[str] = []
    for part in parts:
        if len(found) >= count or part.used > before:
            break
        if part.last_n <= journaled and not part.busy:
            found.append(part.session_id)
    return found
