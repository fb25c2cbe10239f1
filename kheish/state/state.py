"""State: what is in memory, and the one write. It has data and no verbs; modules have verbs and no data.

`append` numbers events, encodes them, folds them into the tables, and hands them to the log as one group: all or none
survive a crash. It is synchronous, so domain functions are atomic with respect to each other. *Durable* is a barrier
that is awaited at the rim: before an answer is sent, before an effect or a model call starts; listeners see an event
only after it.

Not everything is in memory. The rim calls verbs `async with state.using(session_id)`: the session is loaded (last
checkpoint and what follows), and stays. What was dropped is found by the index.
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
from kheish.state.changes import Change as Change
from kheish.state.changes import Waiting
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
IDLE_SESSIONS = 2000  # loaded sessions beyond this are evicted, the longest unused first
RECALLED = 4096


class State:
    """The loaded sessions, the numbers, and the way into the log.

    `nouns` fold what is appended; `companions(drafts, definitions)` returns what is appended before drafts, in the same
    group (the audit). `domain.nouns.state` makes the one of this product.
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
        self.slots: Mapping[str, str | None] = {}  # of the vault, each with why it cannot be used
        self.paused: set[str | None] = set()  # routes; None stands for everything
        self.n = 0  # the newest entry
        self.durable_n = 0  # the newest that is on disk
        self.journaled_n = 0  # the newest that is in journals and index
        self.streams: dict[str, int] = {}  # the last seq of each stream with one journal; `owners` have their own
        self.links: dict[str, str] = {}  # the sha256 of the last line of each journal that is chained
        self.sessions: OrderedDict[str, Partition] = OrderedDict()  # loaded, the longest unused first
        self.owners: OrderedDict[str, Partition] = OrderedDict()  # the same for what streams fold into
        self.pins = pins.Pins()
        self.touched: dict[str, None] = {}  # sessions with entries since a worker last looked
        self.waiting = Waiting()
        self.unjournaled: dict[tuple[type, str], Change] = {}  # newer than what the index says
        self.deleted: dict[str, dict[str, Any]] = {}  # tombstones of this process's life; the index has all
        self.failure: StoreFailed | None = None
        self.low_space: str | None = None
        self.hidden = beneath.Hidden()  # what no tool may open, wherever a workspace lies
        self._submit = submit
        self._companions = companions
        self._folders = Folders(root)
        self._owners: dict[type, dict[str, str]] = {}
        self._recalled: OrderedDict[tuple[type, str], dict[str, Any] | None] = OrderedDict()
        self._loading: dict[str, asyncio.Task[Partition]] = {}

    # --- the one write ------------------------------------------------------------------------------------------------

    def append(self, *drafts: Draft) -> tuple[Entry, ...]:
        """Write events that belong together. Raises StoreFailed; then nothing was written."""
        if self.failure:
            raise self.failure
        at = ids.stamp(self.clock())
        companions = self._companions(drafts, self.definitions)
        recorded = self._encode([*self._due(drafts), *companions, *drafts], at)  # may raise; nothing has changed then
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
            self.fail(error)  # memory is ahead of the log now: nothing may be answered from it any more
            raise
        self.waiting.entries.extend(recorded)
        return tuple(item.entry for item in recorded)

    def _due(self, drafts: Sequence[Draft]) -> list[Draft]:
        """Checkpoints that are due. They stand before what is appended: a checkpoint lets go of what has ended, and who
        appends an end looks at what it ended afterwards."""
        touched = {draft.session: self.sessions.get(draft.session) for draft in drafts if draft.session}
        due = (part for part in touched.values() if part and part.seq - part.checkpoint >= CHECKPOINT_EVERY)
        return [loading.checkpoint(part).on(part.session_id) for part in due]

    def _encode(self, drafts: Sequence[Draft], at: str) -> list[Recorded]:
        """The lines of events that come next. Changes nothing."""
        found: list[Recorded] = []
        seqs: dict[str, int] = {}
        paths: dict[str, str] = {}
        links = dict(self.links)
        for n, draft in enumerate(drafts, self.n + 1):
            journal, last = self._journal(draft, paths)
            seqs[journal] = seqs.get(journal, last) + 1
            linked = encoding.linked(draft, links.get(journal))
            found.append(encoding.encode(linked, n, seqs[journal], at, journal, self.scrub))
            encoding.follow(found[-1], links)
        return found

    def _journal(self, draft: Draft, paths: dict[str, str]) -> tuple[str, int]:
        """Where an event goes, and the last `seq` there. `paths`: of sessions that this group makes."""
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
                self._owners.get(cls, {}).pop(id, None)
            return
        for noun, id, value in loading.fold(part, entry):
            if noun.kept(value) is not False:
                self._owners.setdefault(noun.cls, {})[id] = part.session_id
            else:  # ended: until the index has it, `unjournaled` does
                self._owners.get(noun.cls, {}).pop(id, None)
            if noun.view:
                change = Change(entry.n, noun, id, part.session_id, part.path, value)
                self.waiting.changes.append(change)
                self.unjournaled[noun.cls, id] = change
        if entry.session is not None:
            self.touched[part.session_id] = None

    # --- durability ---------------------------------------------------------------------------------------------------

    async def durable(self) -> None:
        """Wait until all that was appended so far is on disk. Raises StoreFailed."""
        if self.failure:
            raise self.failure
        if self.durable_n >= self.n:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.barriers.append((self.n, future))
        await future

    def made_durable(self, last: int) -> tuple[list[Recorded], list[Change]]:
        """The log has everything up to `last`: open the barriers; returns what listeners may see now."""
        self.durable_n = max(self.durable_n, last)
        self.payloads.release(last)
        return self.waiting.release(last)

    def made_journaled(self, last: int) -> None:
        """Journals and index have everything up to `last`."""
        self.journaled_n = max(self.journaled_n, last)
        for key in [key for key, change in self.unjournaled.items() if change.n <= last]:
            del self.unjournaled[key]
        self.waiting.let_readers_in(last)

    async def caught_up(self, timeout: float = 5.0) -> None:
        """Wait until the index has all that is durable now. Raises Unavailable after `timeout` seconds."""
        target = self.durable_n
        if self.journaled_n >= target:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.readers.append((target, future))
        try:
            await asyncio.wait_for(future, timeout)
        except TimeoutError:
            raise Unavailable("The index is behind; try again in a moment.") from None

    def fail(self, error: StoreFailed) -> None:
        """The log cannot be written: every waiting and later answer is this error."""
        self.failure = error
        for _, future in self.waiting.barriers:
            if not future.done():
                future.set_exception(error)
        self.waiting.barriers.clear()

    # --- reading ------------------------------------------------------------------------------------------------------

    def find(self, cls: type[T], id: str) -> T | None:
        """Return the value in memory (an owner's that has ended is there until the index has it), or None."""
        session_id = self.home(cls, id)
        part = (self.sessions.get(session_id) or self.owners.get(session_id)) if session_id else None
        value: T | None = part.tables[cls].get(id) if part else None
        change = self.unjournaled.get((cls, id)) if value is None else None
        return change.value if change is not None and change.noun.read is not None else value

    def home(self, cls: type, id: str) -> str | None:
        """Return the key of the loaded session or owner that holds a value; None where none does."""
        return self._owners.get(cls, {}).get(id)

    def get(self, cls: type[T], id: str) -> T:
        """The value in memory. Raises NotFound."""
        value = self.find(cls, id)
        if value is None:
            raise NotFound(f"There is no {self.nouns.by_class[cls].name} {id!r}.")
        return value

    def table(self, cls: type[T], session_id: str) -> dict[str, T]:
        """One loaded session's (or owner's) values by id. To read only."""
        return (self.sessions.get(session_id) or self.owners[session_id]).tables[cls]

    def loaded(self, cls: type[T]) -> Iterator[T]:
        """The values of all loaded sessions."""
        for part in list(self.sessions.values()):
            yield from list(part.tables[cls].values())

    async def load(self, session_id: str) -> None:
        """Bring a session into memory. Raises NotFound (SessionDeleted), Damaged (its journal cannot be read)."""
        await self._load(self.sessions, session_id, self._read)

    def using(self, session_id: str) -> pins.Use:
        """Keep a session loaded while it is used (`pins.session`)."""
        return pins.session(self, session_id)

    async def load_owner(self, stream: str, owner: str) -> None:
        """Bring what a stream's entries of one owner come to into memory; nothing, where there are none. Raises
        Unavailable while the index is rebuilt, Damaged where its journal could not be read."""
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
        found = await asyncio.to_thread(self.index.first, ("tombstone", "session"), session_id)
        if found is None and session_id in self.sessions:
            return self.sessions[session_id]
        self._refuse_deleted(session_id, found)
        if found is None:
            raise NotFound(f"There is no session {session_id!r}.")
        part = await asyncio.to_thread(
            loading.load, self.root, self.nouns, session_id, found[1]["path"], index=self.index
        )
        self._refuse_deleted(session_id, None)
        if session_id not in self.sessions:
            self.adopt(part)
        return self.sessions[session_id]

    def _refuse_deleted(self, session_id: str, found: tuple[str, dict[str, Any]] | None) -> None:
        doc = found[1] if found and found[0] == "tombstone" else self.deleted.get(session_id)
        if doc is not None:
            raise SessionDeleted(
                f"The session {session_id!r} was deleted at {doc['deleted_at']}; git still has it: "
                f"kheish show {session_id} --at n:{doc['last_n']}"
            )

    def forget(self, session_id: str, tombstone: dict[str, Any]) -> None:
        """Let go of a session that is deleted."""
        self.deleted[session_id] = tombstone
        self._disown(self.sessions.pop(session_id))
        for key in [key for key, change in self.unjournaled.items() if change.session == session_id]:
            del self.unjournaled[key]
        for one in [one for one, doc in self._recalled.items() if doc and doc.get("session_id") == session_id]:
            del self._recalled[one]
        self.touched.pop(session_id, None)

    def adopt(self, part: Partition) -> None:
        """Put a partition that was read from its journal among the loaded ones."""
        self.sessions[part.session_id] = part
        self._own(part)
        self.touched[part.session_id] = None
        self.evict()

    def _own(self, part: Partition) -> None:
        for cls, values in part.tables.items():
            owners = self._owners.setdefault(cls, {})
            for id in values:
                owners[id] = part.session_id

    def _disown(self, part: Partition) -> None:
        for cls, values in part.tables.items():
            owners = self._owners.get(cls, {})
            for id in values:
                owners.pop(id, None)

    async def recall(self, cls: type, id: str) -> dict[str, Any] | None:
        """The document of a thing, from memory or the index."""
        if (found := self._newest(cls, id)) is not None:
            return found
        doc = await asyncio.to_thread(self.index.thing, self.nouns.by_class[cls].name, id)
        self._recalled[cls, id] = doc
        while len(self._recalled) > RECALLED:
            self._recalled.popitem(last=False)
        return self.recalled(cls, id)

    def recalled(self, cls: type, id: str) -> dict[str, Any] | None:
        """The document of a thing that is in memory, or was recalled a moment ago."""
        return self._newest(cls, id) or self._recalled.get((cls, id))

    def _newest(self, cls: type, id: str) -> dict[str, Any] | None:
        value, change = self.find(cls, id), self.unjournaled.get((cls, id))
        if value is None and change is not None:
            value = change.value
        return self.document(self.nouns.by_class[cls], value) if value is not None else None

    def document(self, noun: Noun, value: Any) -> dict[str, Any]:
        """A value as the API shows it, as plain data."""
        assert noun.view is not None
        found: dict[str, Any] = encoding.plain(noun.view(value))
        return found

    def place_session(self, session_id: str) -> str:
        """The folder of a new session."""
        return f"{self.folder('sessions')}/{session_id}"

    def folder(self, top: str) -> str:
        """The folder of today for one more entry of `sessions` or `flows`."""
        return self._folders.place(f"{top}/{ids.day(ids.stamp(self.clock()))}")

    def evict(self, limit: int = IDLE_SESSIONS) -> None:
        """Forget the longest unused sessions (and owners) beyond `limit`, where journals have all of theirs and nothing
        runs."""
        before = time.monotonic() - 5.0
        for loaded in (self.sessions, self.owners):
            for key in loading.evictable(self.pins.free(loaded), self.journaled_n, before, len(loaded) - limit):
                self._disown(loaded.pop(key))
