"""The writer of memory files, on behalf of an author: compare-and-swap, with the ledger's entry before the file.

A crash between both leaves an entry about a content that no file has. The other order would leave an agent's content
that looks like a user's edit.
"""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Callable, Sequence, Set
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from weakref import WeakValueDictionary

from kheish.domain.events import Draft
from kheish.domain.events.memory import Change, MemoryChanged as MemoryEntry
from kheish.domain.memory import ledger, names
from kheish.domain.memory.ledger import MEMORY, Author, Origin
from kheish.domain.memory.names import Place
from kheish.errors import (
    FileRefused,
    InsufficientStorage,
    Invalid,
    MemoryChanged,
    MemoryFull,
    NotFound,
    TooLarge,
    Unavailable,
)
from kheish.runtime.memory import catalog as listing
from kheish.runtime.memory.catalog import Catalog, Note
from kheish.state import encoding, pins
from kheish.state.state import State
from kheish.store import door, exchange, parsing
from kheish.store.edits import definitions as reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """Contents to commit on behalf of an author, by path (None: removed), and the contents that they replaced."""

    author: Author
    contents: dict[str, bytes | None]
    before: dict[str, bytes | None]


@dataclass(frozen=True, slots=True)
class Content:
    """A file's content at a moment, with its digest; None and None for an absent file."""

    raw: bytes | None
    digest: str | None


class Keeper:
    """The writer. `expect(path, digest)` announces a write to the watcher, and `wrote(path)` reports it. `commit` adds
    it to the next commit. `held()` returns why nothing may be written now (another git is at work), or None."""

    def __init__(
        self,
        state: State,
        catalog: Catalog,
        *,
        expect: Callable[[str, str | None], None],
        wrote: Callable[[str], None],
        commit: Callable[[Committed], None],
        held: Callable[[], str | None],
    ) -> None:
        self.state = state
        self.catalog = catalog
        self._expect = expect
        self._wrote = wrote
        self._commit = commit
        self._held = held
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def lock(self, place: Place) -> asyncio.Lock:
        """Return the lock of a place: its limits are checked under it."""
        return self._locks.setdefault(place.folder, asyncio.Lock())

    async def content(self, path: str) -> Content:
        """Return the content of a file now. Raises Invalid for a link or another thing than a file."""
        return await asyncio.to_thread(self._content, path)

    def _content(self, path: str) -> Content:
        try:
            raw = door.read(self.state.root, path)
        except (FileNotFoundError, NotADirectoryError):
            return Content(None, None)
        except FileRefused as refused:
            raise Invalid(f"{path} {refused.reason}.") from None
        return Content(raw, listing.digest(raw))

    # --- changes ------------------------------------------------------------------------------------------------------

    async def write(self, author: Author, place: Place, name: str, content: bytes, *, seen: str | None) -> Note:
        """Create the file (`seen` None), or replace the content with the digest `seen`.

        Raises MemoryChanged, MemoryFull, TooLarge, Invalid, InvalidDefinition, Unavailable, InsufficientStorage.
        """
        path = place.path(name)
        lock = self.lock(place)
        async with lock:
            before = await self._check_seen(path, seen, content)
            note = await self.check(place, name, content)
            if before.digest == note.digest:  # a call that is repeated after a crash finds its own work done
                return await self._record(author, note, before.digest)
            recorded = await self._record(author, note, before.digest)
            await self._swap(path, content, before)
            self.catalog.put(recorded)
            self._committed(author, {path: content}, {path: before.raw})
        return recorded

    async def remove(self, author: Author, place: Place, name: str, *, seen: str | None) -> None:
        """Remove the file with the content `seen` (None: whatever its content). Raises as `write`, NotFound."""
        path = place.path(name)
        lock = self.lock(place)
        async with lock:
            before = await self.content(path)
            if before.raw is None or before.digest is None:
                raise NotFound(f"There is no memory file {path}.")
            if seen is not None and seen != before.digest:
                raise changed(path, before, None)
            await self._append(ledger.entry(author, path, before.digest, "removed", before=before.digest))
            await self._swap(path, None, before)
            self.catalog.drop(path)
            self._committed(author, {path: None}, {path: before.raw})

    async def rename(
        self, author: Author, source: tuple[Place, str], target: tuple[Place, str], *, seen: str | None
    ) -> None:
        """Give the file with the content `seen` (None: whatever its content) another path, which must be free. Raises
        as `write`, NotFound."""
        path, new_path = source[0].path(source[1]), target[0].path(target[1])
        lock = self.lock(target[0])
        async with lock:
            before = await self.content(path)
            if before.raw is None or before.digest is None:
                raise NotFound(f"There is no memory file {path}.")
            if seen is not None and seen != before.digest:
                raise changed(path, before, None)
            await self._check_seen(new_path, None, before.raw)
            note = await self.check(*target, before.raw, moved_from=path)
            entry = ledger.entry(author, path, before.digest, "renamed", before=before.digest, new_path=new_path)
            origin = await self._append(entry)
            await self._swap(new_path, before.raw, Content(None, None))
            await self._swap(path, None, before)
            self.catalog.drop(path)
            self.catalog.put(replace(note, origin=origin))
            self._committed(author, {path: None, new_path: before.raw}, {path: before.raw})

    async def copy(self, note: Note, content: bytes, *, by: str) -> None:
        """Write a file whose content the ledger has, or never will; a file that is there stays. Raises Unavailable,
        InsufficientStorage."""
        if (reason := self._held()) is not None:
            raise Unavailable(f"Memory cannot be changed now. {reason}")
        try:
            await self._swap(note.path, content, Content(None, None))
        except MemoryChanged:
            return
        self.catalog.put(note)
        self._committed(Author(by=by, origin="person", via="api"), {note.path: content}, {})

    async def finish_rename(self, author: Author, path: str, new_path: str, seen: str) -> None:
        """Remove the old name of a file whose new name was given before a crash. Raises MemoryChanged."""
        place, name = names.file(path)
        await self.remove(author, place, name, seen=seen)
        there = await asyncio.to_thread(listing.look, self.state.root, new_path)
        if there.note is not None:
            known = await asyncio.to_thread(listing.origins, self.state, [there.note.digest])
            self.catalog.put(replace(there.note, origin=known.get(there.note.digest)))

    async def mark(self, author: Author, path: str, change: Change, *, seen: str | None) -> Note:
        """Make a file a user's (`accepted`) or an agent's (`revoked`) without a change of its content. Raises NotFound,
        MemoryChanged."""
        place, name = names.file(path)
        lock = self.lock(place)
        async with lock:
            before = await self.content(path)
            if before.raw is None or before.digest is None:
                raise NotFound(f"There is no memory file {path}.")
            if seen is not None and not before.digest.startswith(seen):
                raise changed(path, before, None)
            note = await self.check(place, name, before.raw)
            origin = await self._append(ledger.entry(author, path, before.digest, change, before=before.digest))
            note = replace(note, origin=origin)
            self.catalog.put(note)
        return note

    # --- checks -------------------------------------------------------------------------------------------------------

    async def check(self, place: Place, name: str, content: bytes, *, moved_from: str | None = None) -> Note:
        """Return the note that the content would have. Raises TooLarge, MemoryFull, Invalid, InvalidDefinition."""
        path = place.path(names.check_name(name))
        await self.catalog.loaded.wait()
        if len(content) > names.MOST_BYTES:
            raise TooLarge(
                f"{path} would have {len(content)} bytes; a memory file has at most {names.MOST_BYTES // 1024} KiB."
            )
        self._check_room(place, name, len(content), moved_from)
        text = content.decode("utf-8", "replace")
        if encoding.holds_secret(text, self.state.scrub) or self.state.scrub(content) != content:
            raise Invalid(f"{path} would hold a stored secret; memory is committed and pushed, so leave it out.")
        seen = await parsing.run(listing.inspect, path, content, time.time())
        if seen.note is None:
            raise reading.refusal(path, [one for one in seen.problems if one.severity == "error"])
        known = self.catalog.get(path)
        same = known is not None and known.digest == seen.note.digest
        return replace(seen.note, origin=known.origin) if known is not None and same else seen.note

    def _check_room(self, place: Place, name: str, size: int, moved_from: str | None) -> None:
        others = {
            other: note for other, note in self.catalog.of(place).items() if other != name and note.path != moved_from
        }
        if len(others) >= names.MOST_FILES:
            raise MemoryFull(
                f"{place.folder} has {len(others)} files, and at most {names.MOST_FILES} are kept.",
                limit="files",
            )
        total = sum(note.bytes for note in others.values()) + size
        if total > names.MOST_TOTAL:
            most = names.MOST_TOTAL // 1024
            raise MemoryFull(
                f"{place.folder} would have {total} bytes, and at most {most} KiB are kept.",
                limit="bytes",
            )
        twin = next((other for other in others if other.casefold() == name.casefold()), None)
        if twin is not None:
            raise Invalid(f"{name!r} differs from {twin!r} only by case; choose another name.")

    async def _check_seen(self, path: str, seen: str | None, content: bytes) -> Content:
        """Return the present content. Raises MemoryChanged unless it is the one that was seen, or the new one."""
        before = await self.content(path)
        if before.digest not in (seen, listing.digest(content)):
            raise changed(path, before, content)
        return before

    # --- steps --------------------------------------------------------------------------------------------------------

    async def _record(self, author: Author, note: Note, before: str | None) -> Note:
        origin = await self._append(ledger.entry(author, note.path, note.digest, "written", before=before))
        return replace(note, origin=origin)

    async def _append(self, entry: Draft) -> Origin:
        """Append an entry of the ledger, and wait until it is durable."""
        return (await self.append([entry]))[0]

    async def append(self, entries: Sequence[Draft]) -> list[Origin]:
        """Append entries of the ledger as a group, and wait until they are durable."""
        if (reason := self._held()) is not None:
            raise Unavailable(f"Memory cannot be changed now. {reason}")
        return await append(self.state, self.catalog, entries)

    async def _swap(self, path: str, content: bytes | None, before: Content) -> None:
        self._expect(path, None if content is None else listing.digest(content))
        try:
            await asyncio.to_thread(exchange.swap, self.state.root, path, content, seen=before.raw)
        except exchange.Differs as differs:
            there = differs.content
            raise changed(path, Content(there, listing.digest(there) if there is not None else None), content) from None
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise InsufficientStorage(f"{path} cannot be written: the disk is full.") from error
            raise Unavailable(f"{path} cannot be written: {error.strerror}.") from error
        self._wrote(path)

    def _committed(self, author: Author, contents: dict[str, bytes | None], before: dict[str, bytes | None]) -> None:
        self._commit(Committed(author=author, contents=contents, before=before))


async def append(state: State, catalog: Catalog, entries: Sequence[Draft], by: Set[str] | None = None) -> list[Origin]:
    """Append entries of the ledger as a group, and wait until they are durable. Returns their origins. `by`: as in
    `Catalog.set_origin`."""
    digests = [entry.event.digest for entry in entries if isinstance(entry.event, MemoryEntry)]
    async with AsyncExitStack() as used:
        for digest in dict.fromkeys(digests):
            await used.enter_async_context(pins.owner(state, MEMORY, digest))
        state.append(*entries)
        origins = [state.get(Origin, digest) for digest in digests]
    await state.durable()
    for origin in origins:
        catalog.set_origin(origin, by)
    return origins


def changed(path: str, current: Content, yours: bytes | None) -> MemoryChanged:
    """Return the error that a file differs from what its writer saw, with both versions."""
    return MemoryChanged(
        f"{path} changed meanwhile: read it again, and repeat the change on its present content.",
        current=_version(current.raw),
        yours=_version(yours),
    )


def _version(raw: bytes | None) -> dict[str, str] | None:
    if raw is None:
        return None
    return {"digest": listing.digest(raw), "content": raw[: names.MOST_BYTES].decode("utf-8", "replace")}
