"""The listing of all memory files in memory, so that no turn reads a file that did not change.

A note describes a file's last valid version. The text is kept only of files that go whole into prompts.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from kheish.domain.memory import file as memory_file, names
from kheish.domain.memory.file import Load, MemoryFile
from kheish.domain.memory.ledger import NOUN, Origin, read
from kheish.domain.memory.names import Place
from kheish.errors import FileRefused, Invalid
from kheish.runtime.memory import signatures
from kheish.runtime.memory.signatures import Signature
from kheish.state.state import State
from kheish.store import door
from kheish.store.edits import definitions as reading
from kheish.store.edits.problems import Problem

_NOTHING: Mapping[str, Note] = {}
_LAST = "\U0010ffff"  # after all names


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A memory file in force. `origin` is the ledger's entry of its content; None counts as an agent's."""

    place: Place
    name: str
    digest: str
    bytes: int
    changed_at: float  # the time of the file, in seconds since 1970
    description: str
    load: Load
    expires: str | None
    text: str | None  # of a file with `load: always`
    origin: Origin | None = None
    signature: Signature = b""  # of the name and the content, for searches

    @property
    def path(self) -> str:
        return self.place.path(self.name)

    @property
    def is_users(self) -> bool:
        """Return whether a user wrote (or accepted) this content."""
        return self.origin is not None and self.origin.origin == "person"

    @property
    def is_tainted(self) -> bool:
        """Return whether an agent wrote this content in a run that untrusted content had reached."""
        return self.origin is not None and self.origin.origin == "agent" and self.origin.tainted


@dataclass(frozen=True, slots=True)
class Seen:
    """A memory file as it is on disk: its note (None: absent or invalid), its content, and its problems."""

    path: str
    note: Note | None
    raw: bytes | None
    problems: tuple[Problem, ...] = ()


class Catalog:
    """The notes by place and name. Changes are made on the event loop only."""

    def __init__(self) -> None:
        self._places: dict[str, dict[str, Note]] = {}
        self._by_digest: dict[str, set[str]] = {}
        self._observers: list[set[str]] = []
        self.loaded = asyncio.Event()

    @asynccontextmanager
    async def changes(self) -> AsyncIterator[Set[str]]:
        """Collect the paths whose notes change meanwhile: what was read from disk before is older than they are."""
        paths: set[str] = set()
        self._observers.append(paths)
        try:
            yield paths
        finally:
            self._observers = [observer for observer in self._observers if observer is not paths]

    def of(self, place: Place) -> Mapping[str, Note]:
        """Return the notes of a place by name."""
        return self._places.get(place.folder, _NOTHING)

    def get(self, path: str) -> Note | None:
        """Return the note of a file by its path from the state root."""
        folder, _, name = path.rpartition("/")
        return self._places.get(folder, _NOTHING).get(name)

    def all(self) -> list[Note]:
        """Return all notes, by path."""
        return list(self.after(None))

    def after(self, path: str | None) -> Iterator[Note]:
        """Yield the notes that follow a path, by path. Only the folders that are reached are sorted."""
        for folder in sorted(self._places, key=lambda folder: f"{folder}/"):  # `a-b/` is before `a/`, as in paths
            if path is not None and f"{folder}/{_LAST}" < path:
                continue
            notes = self._places[folder]
            yield from (notes[name] for name in sorted(notes) if path is None or notes[name].path > path)

    def put(self, note: Note) -> None:
        """Add or replace a note."""
        self._drop(note.path)
        self._changed(note.path)
        self._places.setdefault(note.place.folder, {})[note.name] = note
        self._by_digest.setdefault(note.digest, set()).add(note.path)

    def drop(self, path: str) -> None:
        """Remove the note of a file, if there is one."""
        self._drop(path)
        self._changed(path)

    def _drop(self, path: str) -> None:
        folder, _, name = path.rpartition("/")
        notes = self._places.get(folder)
        note = notes.pop(name, None) if notes is not None else None
        if note is None:
            return
        if not notes:
            del self._places[folder]
        paths = self._by_digest[note.digest]
        paths.discard(path)
        if not paths:
            del self._by_digest[note.digest]

    def set_origin(self, origin: Origin, by: Set[str] | None = None) -> None:
        """Put an entry of the ledger into the notes of all files with this content. `by`: the changes of its author,
        which do not get its own."""
        for path in tuple(self._by_digest.get(origin.digest, ())):
            folder, _, name = path.rpartition("/")
            notes = self._places[folder]
            notes[name] = replace(notes[name], origin=origin)
            self._changed(path, by)

    def _changed(self, path: str, by: Set[str] | None = None) -> None:
        for observer in self._observers:
            if observer is not by:
                observer.add(path)


def look(root: Path, path: str) -> Seen:
    """Return a memory file as it is on disk. Blocks on disk."""
    known = names.parse(path)
    try:
        with door.opened(root, path) as descriptor:
            changed_at = os.fstat(descriptor).st_mtime
            raw = door.bounded(descriptor, names.MOST_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return Seen(path, None, None)
    except FileRefused as refused:
        return Seen(path, None, None, (_problem(path, "unreadable", f"the file {refused.reason}"),))
    except OSError as error:
        return Seen(path, None, None, (_problem(path, "unreadable", f"the file cannot be read: {error.strerror}"),))
    if known is None:
        return Seen(path, None, raw, (_problem(path, "bad_name", _misplaced(path)),))
    if len(raw) > names.MOST_BYTES:
        message = f"the file is larger than {names.MOST_BYTES // 1024} KiB; split it"
        return Seen(path, None, None, (_problem(path, "too_large", message),))
    return inspect(path, raw, changed_at)


def inspect(path: str, raw: bytes, changed_at: float) -> Seen:
    """Return the note of a content, or its problems. It may take long: call it in a thread."""
    place, name = names.file(path)
    parsed = reading.parse_markdown(MemoryFile, raw, path)
    value = parsed.value
    if value is None or any(problem.severity == "error" for problem in parsed.problems):
        return Seen(path, None, raw, tuple(parsed.problems))
    note = Note(
        place=place,
        name=name,
        digest=parsed.digest,
        bytes=len(raw),
        changed_at=changed_at,
        description=memory_file.description(value),
        load=value.load,
        expires=value.expires,
        text=value.body if value.load == "always" else None,
        signature=signatures.of(f"{name}\n{raw.decode('utf-8', 'replace')}"),
    )
    return Seen(path, note, raw, tuple(parsed.problems))


def with_origin(note: Note, origin: Origin | None) -> Note:
    """Return a note with the ledger's entry of its content."""
    return replace(note, origin=origin)


def digest(raw: bytes) -> str:
    """Return the sha256 of a content, in hex."""
    return hashlib.sha256(raw).hexdigest()


def origins(state: State, digests: Iterable[str]) -> dict[str, Origin]:
    """Return the ledger's entries of these contents. Blocks on disk: call it in a thread."""
    found: dict[str, Origin] = {}
    for one in digests:
        change = state.unjournaled.get((Origin, one))
        document = state.index.thing(NOUN.name, one) if change is None else None
        if change is not None:
            found[one] = change.value
        elif document is not None:
            found[one] = read(document)
    return found


def _problem(path: str, code: str, message: str) -> Problem:
    return Problem(path, None, None, "error", code, message)


def _misplaced(path: str) -> str:
    try:
        names.check_name(path.rpartition("/")[2])
    except Invalid as error:
        return error.detail
    return (
        "memory files lie in memory/shared, memory/personas/ID, memory/projects/ID or memory/sessions/ID, right in the "
        "folder"
    )
