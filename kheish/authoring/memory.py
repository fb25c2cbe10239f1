"""Memory files that users write: adopted as edits, with their origin in the ledger.

A content that the ledger lacks is a user's if it was typed here: git had it in no object, or a user committed it here.
A content that a checkout, a merge or a pull brought stays without an entry, and so counts as an agent's until a user
accepts it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from itertools import islice
from pathlib import Path

from kheish.authoring import sources
from kheish.authoring.problems import Problems
from kheish.authoring.sources import Source
from kheish.domain.memory import ledger, names
from kheish.domain.memory.ledger import Author, Origin
from kheish.domain.memory.names import Place
from kheish.errors import KheishError, StoreFailed
from kheish.runtime import windows
from kheish.runtime.memory import catalog as listing, keeper as writing, section
from kheish.runtime.memory.catalog import Catalog, Note, Seen
from kheish.runtime.memory.keeper import Committed
from kheish.state.state import State
from kheish.store import door, parsing
from kheish.store.edits.debounce import passed_over
from kheish.store.edits.problems import Problem
from kheish.store.files import blob_id

log = logging.getLogger(__name__)

FOLDER = names.FOLDER
_BATCH = 100  # entries of the ledger in a group
_PASSES = 5  # readings of files that calls change meanwhile; the watcher reports later changes
_READ_ME = "readme.md"
_USER = Author(by="person", origin="person", via="edit")

#: paths with the blob ids of their contents → the paths whose content git brought
Brought = Callable[[Mapping[str, str]], Awaitable[Sequence[str]]]
#: a folder → its files in the branch, with their blob ids
Blobs = Callable[[str], Awaitable[Mapping[str, str]]]


def concerns(path: str) -> bool:
    """Return whether a path is one of memory, or of what lies wrongly there."""
    if not path.startswith(f"{FOLDER}/") or passed_over(path):
        return False
    return path.rpartition("/")[2].lower() != _READ_ME or names.parse(path) is not None


class MemoryFiles:
    """The adoption of memory files. `commit` adds changes to the next commit; `read(path, digest)` gives the watcher
    a content that it has perhaps not seen yet."""

    def __init__(
        self,
        state: State,
        problems: Problems,
        catalog: Catalog,
        *,
        commit: Callable[[Committed], None],
        brought: Brought,
        blobs: Blobs,
        held: Callable[[], Awaitable[str | None]],
        read: Callable[[str, str], None],
    ) -> None:
        self._state = state
        self._problems = problems
        self._read = read
        self._catalog = catalog
        self._commit = commit
        self._brought = brought
        self._blobs = blobs
        self._held = held
        self.is_unread = False  # whether edits from while no daemon ran are still to be adopted
        self._lock = asyncio.Lock()
        self._refused: set[str] = set()  # files beyond the limits of their places

    async def start(self) -> None:
        """Read all files, and adopt the edits from while no daemon ran.

        While another git is at work the files are only read, and the next start adopts them. Raises StoreFailed.
        """
        async with self._lock, self._catalog.changes() as changed:
            self.is_unread = await self._held() is not None
            paths = await asyncio.to_thread(_list_files, self._state.root)
            paths = sorted({*paths, *(note.path for note in self._catalog.all())})
            seen = await self._look(paths)
            known = await asyncio.to_thread(listing.origins, self._state, _digests(seen))
            try:
                if not self.is_unread:
                    await self._adopt(seen, known, changed, is_start=True)
            except StoreFailed:
                raise
            except KheishError as error:  # the git worker is being restarted
                log.warning("memory files cannot be adopted yet: %s", error.detail)
                self.is_unread = True
            if self.is_unread:
                self._list(seen, known, changed)
        self._catalog.loaded.set()

    async def take(self, paths: Iterable[str]) -> None:
        """Adopt files that a user changed, created or removed. Raises StoreFailed."""
        relevant = sorted({path for path in paths if concerns(path)} | self._refused)
        if not relevant:
            return
        await self._catalog.loaded.wait()
        async with self._lock:
            for _ in range(_PASSES):
                relevant = await self._take(relevant)
                if not relevant:
                    break

    async def _take(self, relevant: Sequence[str]) -> list[str]:
        """Adopt files as they are; return those that calls changed meanwhile, which must be read again."""
        async with self._catalog.changes() as changed:
            paths = sorted({*relevant, *await asyncio.to_thread(self._missing_beside, relevant)})
            seen = await self._look(paths)
            known = await asyncio.to_thread(listing.origins, self._state, _digests(seen))
            return sorted(await self._adopt(seen, known, changed, is_start=False))

    def _missing_beside(self, paths: Iterable[str]) -> list[str]:
        """Return the listed files beside some paths that are missing on disk: a move is a single edit. Blocks on
        disk."""
        places = {parsed[0] for path in paths if (parsed := names.parse(path)) is not None}
        notes = [note for place in places for note in tuple(self._catalog.of(place).values())]
        return [note.path for note in notes if not (self._state.root / note.path).exists()]

    async def _look(self, paths: Iterable[str]) -> list[Seen]:
        seen: list[Seen] = []
        rest = iter(paths)
        while part := list(islice(rest, _BATCH)):
            seen += await parsing.run(_look_at, self._state.root, part)
        return seen

    # --- adoption -----------------------------------------------------------------------------------------------------

    async def _adopt(
        self, seen: Sequence[Seen], known: dict[str, Origin], changed: Set[str], *, is_start: bool
    ) -> Set[str]:
        """Record the edits of users, list the files, report problems, and commit what changed.

        `changed` has the paths whose notes changed since these files were read. They are returned: what was read of
        them is outdated.
        """
        scrub = self._state.scrub
        raws = {one.path: Source(one.path, one.raw) for one in seen if one.note is not None and one.raw is not None}
        guarded = await parsing.run(sources.guarded, raws, scrub)
        faults = {path: source for path, source in guarded.items() if source.fault is not None}
        seen = [_with_fault(one, faults[one.path]) if one.path in faults else one for one in seen]
        before = {one.path: self._catalog.get(one.path) for one in seen}
        known |= await self._record(seen, known, changed)
        outdated = frozenset(changed)
        self._list(seen, known, outdated)
        head = await self._blobs(FOLDER) if is_start else {}
        edits: dict[str, bytes | None] = {}
        for one in seen:
            is_new = _blob(one) != head.get(one.path) if is_start else _is_changed(one, before[one.path])
            if (one.problems and one.note is None) or one.path in self._refused or not is_new or one.path in outdated:
                continue
            origin = known.get(one.note.digest) if one.note is not None else None
            if is_start and origin is not None and origin.origin == "agent" and origin.path == one.path:
                self._commit(_left_over(one, origin))  # a kill came before the commit
            else:
                edits[one.path] = one.raw
        if is_start:
            for one in seen:  # it may go before the watcher has seen it: that it never came would be no change
                if one.path in edits and one.note is not None:
                    self._read(one.path, one.note.digest)
            there = {one.path for one in seen}
            edits |= {path: None for path in head if path not in there and concerns(path)}
        if edits:
            self._commit(Committed(author=_USER, contents=edits, before={}))
        return outdated.intersection(before)

    async def _record(self, seen: Sequence[Seen], known: Mapping[str, Origin], changed: Set[str]) -> dict[str, Origin]:
        """Append the ledger's entries of users' edits and removals; return the new origins by digest. A file that a
        call changed meanwhile has neither."""
        unknown = [one for one in seen if one.note is not None and one.note.digest not in known]
        blobs = {one.path: blob_id(one.raw) for one in unknown if one.raw is not None}
        brought = set(await self._brought(blobs)) if blobs else set[str]()
        entries = [
            ledger.entry(_USER, one.path, one.note.digest, "written", before=_before(self._catalog, one.path))
            for one in unknown
            if one.note is not None and one.path not in brought and one.path not in changed
        ]
        for one in seen:
            old = self._catalog.get(one.path)
            is_gone = one.note is None and one.raw is None and not one.problems
            if is_gone and old is not None and one.path not in changed:
                entries.append(ledger.entry(_USER, one.path, old.digest, "removed", before=old.digest))
        made: dict[str, Origin] = {}
        rest = iter(entries)
        while part := list(islice(rest, _BATCH)):
            origins = await writing.append(self._state, self._catalog, part, by=changed)
            made |= {origin.digest: origin for origin in origins}
        return made

    def _list(self, seen: Sequence[Seen], known: Mapping[str, Origin], changed: Set[str]) -> None:
        """Put valid files into the listing, and report the problems. An invalid file keeps its last valid note.

        A note that changed since the file was read stays: a call wrote or marked the file, and it is read again.
        """
        places: dict[str, Place] = {}
        for one in seen:
            problems = list(one.problems)
            self._refused.discard(one.path)
            if one.note is not None and (refusal := self._refusal(one.note)) is not None:
                problems.append(Problem(one.path, None, None, "error", *refusal))
                self._refused.add(one.path)
                self._catalog.drop(one.path)
            elif one.path in changed:
                pass
            elif one.note is not None:
                self._catalog.put(replace(one.note, origin=known.get(one.note.digest)))
            elif one.raw is None and not one.problems:
                self._catalog.drop(one.path)
            self._problems.replace(one.path, problems)
            if (parsed := names.parse(one.path)) is not None:
                places[parsed[0].folder] = parsed[0]
        for place in places.values():
            self._check_texts(place)

    def _refusal(self, note: Note) -> tuple[str, str] | None:
        """Return the code and the words of the limit or the name that keeps a file from being used, if any."""
        others = [one for one in self._catalog.of(note.place).values() if one.name != note.name]
        twin = next((one.name for one in others if one.name.casefold() == note.name.casefold()), None)
        if twin is not None:
            return "bad_name", f"{note.name} differs from {twin} only by case; choose another name"
        if len(others) >= names.MOST_FILES:
            return "memory_full", f"{note.place.folder} has {names.MOST_FILES} files already; this file is not used"
        if sum(one.bytes for one in others) + note.bytes > names.MOST_TOTAL:
            kib = names.MOST_TOTAL // 1024
            return "memory_full", f"{note.place.folder} has more than {kib} KiB; this file is not used"
        return None

    def _check_texts(self, place: Place) -> None:
        """Report users' texts of a place that exceed what goes into a prompt."""
        texts = [one.text for one in self._catalog.of(place).values() if one.text is not None and one.is_users]
        total = sum(windows.tokens(text) for text in texts)
        if total <= section.TOKENS:
            return self._problems.clear("memory_over_limit", place.folder)
        message = (
            f"the texts with load: always have about {total} tokens, and {section.TOKENS} go into a prompt; those that "
            "do not fit are left out whole"
        )
        return self._problems.add("memory_over_limit", place.folder, message)

    def exceeded(self, session_id: str, paths: tuple[str, ...]) -> None:
        """Report users' texts of several places that together do not fit into the prompts of a session."""
        path = Place("session", session_id).folder
        if not paths:
            return self._problems.clear("memory_left_out", path)
        message = (
            f"prompts of the session {session_id} leave out {', '.join(paths[:5])}: the texts of users that it sees "
            f"exceed {section.TOKENS} tokens"
        )
        return self._problems.add("memory_left_out", path, message)

    def forget(self, place: Place) -> None:
        """Drop the files of a deleted session from the listing."""
        for note in tuple(self._catalog.of(place).values()):
            self._catalog.drop(note.path)
            self._problems.replace(note.path, [])


def _look_at(root: Path, paths: Sequence[str]) -> list[Seen]:
    return [listing.look(root, path) for path in paths]


def _list_files(root: Path) -> list[str]:
    return [path for path, _ in door.walk(root, FOLDER) if concerns(path)]


def _digests(seen: Sequence[Seen]) -> list[str]:
    return [one.note.digest for one in seen if one.note is not None]


def _with_fault(one: Seen, source: Source) -> Seen:
    """Return a file that may not be used, with the reason."""
    line, column = source.place or (None, None)
    problem = Problem(one.path, line, column, "error", source.code, f"the file {source.fault}")
    return Seen(one.path, None, one.raw, (*one.problems, problem))


def _blob(one: Seen) -> str | None:
    return None if one.raw is None else blob_id(one.raw)


def _is_changed(one: Seen, before: Note | None) -> bool:
    return (one.note and one.note.digest) != (before and before.digest)


def _before(catalog: Catalog, path: str) -> str | None:
    note = catalog.get(path)
    return None if note is None else note.digest


def _left_over(one: Seen, origin: Origin) -> Committed:
    """Return an agent's change that was written, and not committed, before the daemon was killed."""
    author = Author(by=origin.by, origin="agent", via="tool", run_id=origin.run_id, session_id=origin.session_id)
    return Committed(author=author, contents={one.path: one.raw}, before={})
