"""The state: all data in memory, and its single write path. State has data and no verbs; modules have verbs and no
data.

`append` numbers events, encodes them, folds them into the tables, and hands them to the log as a group: all of its
events survive a crash, or none. It is synchronous, so domain functions are atomic with respect to each other. `durable`
is a barrier that is awaited at the edge: before a response is sent, and before an effect or a model call starts.
Listeners see an event only once it is durable.

Not everything is in memory. The edge calls verbs inside `async with state.using(session_id)`: the session is loaded
(its last checkpoint and the entries after it), and stays loaded. Values that were dropped are read from the index.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from kheish import beneath, ids
from kheish.errors import NotFound, SessionDeleted, StoreFailed, Unavailable
from kheish.state import encoding, loading, pins, streams
from kheish.state.changes import Change as Change, Waiting
from kheish.state.encoding import Recorded
from kheish.state.event import Checkpoint, Draft, Entry
from kheish.state.loading import Partition
from kheish.state.noun import Noun, Nouns
from kheish.state.payloads import Payloads
from kheish.store.files import Folders
from kheish.store.log import wal
from kheish.store.log.index import Reader
from kheish.store.log.wal import Group

if TYPE_CHECKING:
    from kheish.domain.definitions import InForce

T = TypeVar("T")

CHECKPOINT_EVERY = 500
IDLE_SESSIONS = 2000  # loaded sessions beyond this are evicted, the least recently used first
RECALLED = 4096


class State:
    """The loaded sessions, the event numbers, and the way into the log.

    `nouns` fold the appended events. `companions(drafts, definitions)` returns events to append before the drafts in
    the same group (the audit). `domain.nouns.state` makes the instance of this product.
    """

    def __init__(
        self,
        root: Path,
        nouns: Nouns,
        definitions: InForce,
        *,
        companions: Callable[[Sequence[Draft], InForce], list[Draft]],
        index: Reader,
        submit: Callable[[Group], None],
        scrub: Callable[[bytes], bytes] = lambda line: line,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.root = root
        self.index = index
        self.payloads = Payloads(root)
        self.scrub = scrub
        self.clock = clock
        self.nouns = nouns
        self.definitions = definitions
        self.slots: Mapping[str, str | None] = {}  # the vault's slots, each with the reason why it is unusable
        self.paused: set[str | None] = set()  # routes; None stands for all of them
        self.n = 0  # the newest entry
        self.durable_n = 0  # the newest that is on disk
        self.journaled_n = 0  # the newest that is in journals and index
        self.streams: dict[str, int] = {}  # the last seq of each stream with a shared journal; `owners` have their own
        self.links: dict[str, str] = {}  # the sha256 of the last line of each chained journal
        self.sessions: OrderedDict[str, Partition] = OrderedDict()  # loaded, least recently used first
        self.owners: OrderedDict[str, Partition] = OrderedDict()  # the same for owners in streams
        self.pins = pins.Pins()
        self.touched: dict[str, None] = {}  # sessions with entries since a worker's last check
        self.waiting = Waiting()
        self.unjournaled: dict[tuple[type, str], Change] = {}  # newer than the values in the index
        self.deleted: dict[str, dict[str, Any]] = {}  # tombstones of this process's lifetime; the index has all
        self.failure: StoreFailed | None = None
        self.low_space: str | None = None
        self.derived: dict[type, Any] = {}  # what nouns count in memory, rebuilt from the index at the start
        self.hidden = beneath.Hidden()  # the paths that no tool may open, wherever a workspace lies
        self._submit = submit
        self._companions = companions
        self._folders = Folders(root)
        self._parts: dict[type, dict[str, Partition]] = {noun.cls: {} for noun in nouns}  # those that hold each value
        self._recalled: OrderedDict[tuple[type, str], dict[str, Any] | None] = OrderedDict()
        self._loading: dict[str, asyncio.Task[Partition]] = {}

    # --- the write path -----------------------------------------------------------------------------------------------

    def append(self, *drafts: Draft) -> tuple[Entry, ...]:
        """Write events as a group. Raises StoreFailed; in that case nothing was written."""
        if self.failure:
            raise self.failure
        at = ids.stamp(self.clock())
        companions = self._companions(drafts, self.definitions)
        recorded = self._encode(
            [*self._due_checkpoints(drafts), *companions, *drafts], at
        )  # may raise; nothing has changed yet
        for item in recorded:
            self._take(item)
        compacted = [item.entry.session for item in recorded if item.entry.event.checkpointed]
        for session_id in dict.fromkeys(id for id in compacted if id) if compacted else ():
            checkpoint = self._encode([loading.checkpoint(self.sessions[session_id]).on(session_id)], at)
            self._take(checkpoint[0])
            recorded += checkpoint
        group = Group(
            body=wal.encode([(item.journal, item.line) for item in recorded]),
            first=recorded[0].entry.n,
            last=recorded[-1].entry.n,
            spills=tuple(spill for item in recorded for spill in item.spills),
        )
        self.payloads.hold(group.last, group.spills)
        try:
            self._submit(group)
        except StoreFailed as error:
            self.fail(error)  # memory is ahead of the log now: no response may use it any more
            raise
        self.waiting.entries.extend(recorded)
        return tuple(item.entry for item in recorded)

    def _due_checkpoints(self, drafts: Sequence[Draft]) -> list[Draft]:
        """Return the checkpoints that are due. They precede the appended events: a checkpoint drops ended values, and
        the caller that appends an end still reads the ended value afterwards."""
        touched = {draft.session: self.sessions.get(draft.session) for draft in drafts if draft.session}
        due = (part for part in touched.values() if part and part.seq - part.checkpoint >= CHECKPOINT_EVERY)
        return [loading.checkpoint(part).on(part.session_id) for part in due]

    def _encode(self, drafts: Sequence[Draft], at: str) -> list[Recorded]:
        """Return the lines of the next events. Changes nothing."""
        recorded: list[Recorded] = []
        seqs: dict[str, int] = {}
        paths: dict[str, str] = {}
        links = dict(self.links)
        for n, draft in enumerate(drafts, self.n + 1):
            journal, last = self._journal(draft, paths)
            seqs[journal] = seqs.get(journal, last) + 1
            linked = encoding.linked(draft, links.get(journal))
            recorded.append(encoding.encode(linked, n, seqs[journal], at, journal, self.scrub))
            encoding.follow(recorded[-1], links)
        return recorded

    def _journal(self, draft: Draft, paths: dict[str, str]) -> tuple[str, int]:
        """Return the journal of an event, and the last `seq` there. `paths` has the sessions that this group
        creates."""
        if draft.session is None:
            return streams.end(draft.event, self.owners, self.streams)
        part = self.sessions.get(draft.session)
        if part is not None:
            return f"{part.path}/journal", part.seq
        if draft.event.opens:
            event: Any = draft.event
            paths[draft.session] = event.path
        if draft.session not in paths:
            raise NotFound(f"The session {draft.session!r} is not loaded.")
        return f"{paths[draft.session]}/journal", 0

    def _take(self, item: Recorded) -> None:
        entry = item.entry
        self.n = entry.n
        if entry.session is None:
            encoding.follow(item, self.links)
            if (part := streams.advance(entry, self.owners, self.streams)) is not None:
                self._fold(part, entry)
            return
        part = self.sessions.get(entry.session)
        if part is None:
            path = item.journal.removesuffix("/journal")
            part = self.sessions[entry.session] = Partition(entry.session, path, self.nouns)
        part.seq = entry.seq
        self._fold(part, entry)

    def _fold(self, part: Partition, entry: Entry) -> None:
        part.last_n = entry.n
        if isinstance(entry.event, Checkpoint):
            for cls, id in loading.trim(part, entry):
                self._parts[cls].pop(id, None)
            return
        for noun, id, value in loading.fold(part, entry):
            if noun.kept(value) is not False:
                self._parts[noun.cls][id] = part
            else:  # ended: `unjournaled` holds it until the index has it
                self._parts[noun.cls].pop(id, None)
            if noun.view:
                change = Change(entry.n, noun, id, part.session_id, part.path, value)
                self.waiting.changes.append(change)
                self.unjournaled[noun.cls, id] = change
        if entry.session is not None:
            self.touched[part.session_id] = None

    # --- durability ---------------------------------------------------------------------------------------------------

    async def durable(self) -> None:
        """Wait until everything appended so far is on disk. Raises StoreFailed."""
        if self.failure:
            raise self.failure
        if self.durable_n >= self.n:
            return
        await self.waiting.barrier(self.n)

    def made_durable(self, last: int) -> tuple[list[Recorded], list[Change]]:
        """Open the barriers up to `last`, which the log has. Return the entries and changes that listeners may now
        see."""
        self.durable_n = max(self.durable_n, last)
        self.payloads.release(last)
        return self.waiting.release(last)

    def made_journaled(self, last: int) -> None:
        """Note that journals and index have everything up to `last`; wake the readers that waited for it."""
        self.journaled_n = max(self.journaled_n, last)
        for key in [key for key, change in self.unjournaled.items() if change.n <= last]:
            del self.unjournaled[key]
        self.waiting.let_readers_in(last)

    async def caught_up(self, timeout: float = 5.0) -> None:
        """Wait until the index has everything that was appended until now, so that it is not older than what a caller
        has seen in memory. Raises StoreFailed; Unavailable after `timeout` seconds behind the log."""
        await self.durable()
        if self.journaled_n >= (target := self.durable_n):
            return
        try:
            await asyncio.wait_for(self.waiting.until_indexed(target), timeout)
        except TimeoutError:
            raise Unavailable("The index is behind; retry in a moment.") from None

    def fail(self, error: StoreFailed) -> None:
        """Fail for good, since the log cannot be written: every pending and later wait raises this error."""
        self.failure = error
        for _, future in self.waiting.barriers:
            if not future.done():
                future.set_exception(error)
        self.waiting.barriers.clear()

    # --- reading ------------------------------------------------------------------------------------------------------

    def find(self, cls: type[T], id: str) -> T | None:
        """Return the value in memory, or None. An owner's ended value stays in memory until the index has it."""
        try:
            value: T = self._parts[cls][id].tables[cls][id]
            return value
        except KeyError:
            change = self.unjournaled.get((cls, id))
        return change.value if change is not None and change.noun.read is not None else None

    def home(self, cls: type, id: str) -> str | None:
        """Return the key of the loaded session or owner that holds a value, or None."""
        part = self._parts[cls].get(id)
        return part.session_id if part is not None else None

    def get(self, cls: type[T], id: str) -> T:
        """Return the value in memory. Raises NotFound."""
        value = self.find(cls, id)
        if value is None:
            raise NotFound(f"There is no {self.nouns.by_class[cls].name} {id!r}.")
        return value

    def table(self, cls: type[T], session_id: str) -> dict[str, T]:
        """Return the values of a loaded session (or owner) by id, for reading only."""
        return (self.sessions.get(session_id) or self.owners[session_id]).tables[cls]

    def loaded(self, cls: type[T]) -> Iterator[T]:
        """Yield the values of all loaded sessions."""
        for part in list(self.sessions.values()):
            yield from list(part.tables[cls].values())

    async def load(self, session_id: str) -> None:
        """Load a session into memory. Raises NotFound (SessionDeleted), Damaged (its journal cannot be read)."""
        await self._load(self.sessions, session_id, self._read)

    def using(self, session_id: str) -> pins.Use:
        """Keep a session loaded while it is used (`pins.session`)."""
        return pins.session(self, session_id)

    async def load_owner(self, stream: str, owner: str) -> None:
        """Load the values of an owner in a stream into memory; an owner without entries has none. Raises Unavailable
        while the index is rebuilt, Damaged if its journal could not be read."""
        await self._load(self.owners, f"{stream}/{owner}", self._read_owner)

    async def _load(
        self, loaded: OrderedDict[str, Partition], key: str, read: Callable[[str], Coroutine[Any, Any, Partition]]
    ) -> None:
        if key in loaded:
            loaded.move_to_end(key)
            loaded[key].used = time.monotonic()
            return
        task = self._loading.get(key)
        if task is None:
            task = self._loading[key] = asyncio.create_task(read(key))
            task.add_done_callback(lambda _: self._loading.pop(key, None))
        await asyncio.shield(task)

    async def _read_owner(self, key: str) -> Partition:
        part = self.owners[key] = await asyncio.to_thread(streams.read, self.index, self.nouns, key)
        self._own(part)
        self.evict()
        return part

    async def _read(self, session_id: str) -> Partition:
        row = await asyncio.to_thread(self.index.first, ("tombstone", "session"), session_id)
        if row is None and session_id in self.sessions:
            return self.sessions[session_id]
        self._refuse_deleted(session_id, row)
        if row is None:
            raise NotFound(f"There is no session {session_id!r}.")
        part = await asyncio.to_thread(
            loading.load, self.root, self.nouns, session_id, row[1]["path"], index=self.index
        )
        self._refuse_deleted(session_id, None)
        if session_id not in self.sessions:
            self.adopt(part)
        return self.sessions[session_id]

    def _refuse_deleted(self, session_id: str, row: tuple[str, dict[str, Any]] | None) -> None:
        doc = row[1] if row and row[0] == "tombstone" else self.deleted.get(session_id)
        if doc is not None:
            raise SessionDeleted(
                f"The session {session_id!r} was deleted at {doc['deleted_at']}; git still has it: "
                f"kheish show {session_id} --at n:{doc['last_n']}"
            )

    def forget(self, session_id: str, tombstone: dict[str, Any]) -> None:
        """Drop a deleted session."""
        self.deleted[session_id] = tombstone
        self._disown(self.sessions.pop(session_id))
        for key in [key for key, change in self.unjournaled.items() if change.session == session_id]:
            del self.unjournaled[key]
        for one in [one for one, doc in self._recalled.items() if doc and doc.get("session_id") == session_id]:
            del self._recalled[one]
        self.touched.pop(session_id, None)

    def adopt(self, part: Partition) -> None:
        """Add a partition, read from its journal, to the loaded ones."""
        self.sessions[part.session_id] = part
        self._own(part)
        self.touched[part.session_id] = None
        self.evict()

    def _own(self, part: Partition) -> None:
        for cls, values in part.tables.items():
            self._parts[cls].update(dict.fromkeys(values, part))

    def _disown(self, part: Partition) -> None:
        for cls, values in part.tables.items():
            for id in values:
                self._parts[cls].pop(id, None)

    async def recall(self, cls: type, id: str) -> dict[str, Any] | None:
        """Return the document of a thing, from memory or the index."""
        if (doc := self._newest(cls, id)) is not None:
            return doc
        doc = await asyncio.to_thread(self.index.thing, self.nouns.by_class[cls].name, id)
        self._recalled[cls, id] = doc
        while len(self._recalled) > RECALLED:
            self._recalled.popitem(last=False)
        return self.recalled(cls, id)

    def recalled(self, cls: type, id: str) -> dict[str, Any] | None:
        """Return the document of a thing that is in memory or was recalled recently."""
        return self._newest(cls, id) or self._recalled.get((cls, id))

    def _newest(self, cls: type, id: str) -> dict[str, Any] | None:
        value, change = self.find(cls, id), self.unjournaled.get((cls, id))
        if value is None and change is not None:
            value = change.value
        return self.document(self.nouns.by_class[cls], value) if value is not None else None

    def document(self, noun: Noun, value: Any) -> dict[str, Any]:
        """Return a value as the API shows it, as plain data."""
        assert noun.view is not None
        doc: dict[str, Any] = encoding.plain(noun.view(value))
        return doc

    def place_session(self, session_id: str) -> str:
        """Return the folder of a new session."""
        return f"{self.folder('sessions')}/{session_id}"

    def folder(self, top: str, part: str | None = None) -> str:
        """Return the folder for a new entry of `top`: today's, or that of another part."""
        return self._folders.place(f"{top}/{part or ids.day(ids.stamp(self.clock()))}")

    def evict(self, limit: int = IDLE_SESSIONS) -> None:
        """Evict the least recently used sessions (and owners) beyond `limit`, if they are idle and journals have all of
        their entries."""
        before = time.monotonic() - 5.0
        for loaded in (self.sessions, self.owners):
            for key in loading.evictable(self.pins.free(loaded), self.journaled_n, before, len(loaded) - limit):
                self._disown(loaded.pop(key))
