"""The inbox: each file that is dropped into `inbox/<session>/` becomes one run of that session, once.

A file is first moved out of the way, to `.git/kheish/inbox/<ticket>/<session>/<name>`: exactly the moved content is
submitted, and saving the same name again drops a new file. There it stays until a commit holds it in the session's
folder (or in `inbox/rejected/`), so a kill at any moment leaves it in one of the two places.

The ticket is the idempotency key: a drop that is resubmitted after a kill returns the same run, and another drop is
another request, whatever its content.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import re
import shutil
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kheish import ids
from kheish.auth import redaction
from kheish.authoring.problems import Problems
from kheish.errors import FileRefused, InsufficientStorage, Invalid, KheishError, StoreFailed
from kheish.state.state import State
from kheish.store import door, files, names
from kheish.store.edits.debounce import passed_over

log = logging.getLogger(__name__)

FOLDER = "inbox"
REJECTED = "inbox/rejected"
MAX_BYTES = 4 * 1024 * 1024  # as a request by HTTP
SUFFIXES = (".md", ".txt", ".yaml")
_QUIET = 0.3  # seconds without a change, for files dropped while no daemon ran
_SCAN_EVERY, _OLD = 10.0, 15.0  # seconds: an older file is no longer being written
#: seconds: how long a path is checked after its file was taken, and the minimal age of a new file there
_RECENT, _SETTLED = 5.0, 1.0
BY = "file"  # the author of a file is unknown
_ODD = re.compile(r"[^A-Za-z0-9._-]")
_NAME = 150
_PROBLEM = "inbox_waiting"
_REFUSED = "inbox_refused"


class Unusable(Exception):
    """A file that cannot become a run; the text is the reason."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A file that was moved out of the way. `path` is its original place, relative to the root."""

    ticket: Path
    path: str

    @property
    def file(self) -> Path:
        return names.within(self.ticket, self.inner)

    @property
    def inner(self) -> str:
        """Return the path of the file in the inbox."""
        return self.path.removeprefix(f"{FOLDER}/")


class Inbox:
    """The inbox.

    `submit(taken, content)` makes a run of a file and returns the file's new path, or raises Unusable. `held()` returns
    why the daemon must leave the work tree alone now, or None.
    """

    def __init__(
        self,
        state: State,
        problems: Problems,
        *,
        file: Callable[[str, bytes, str | None], None],
        edited: Callable[[Sequence[str]], None],
        submit: Callable[[Taken, bytes], Awaitable[str]],
        held: Callable[[], Awaitable[str | None]],
    ) -> None:
        self._state = state
        self._problems = problems
        self._file_next = file
        self._edited = edited
        self._submit = submit
        self._held = held
        self._lock = asyncio.Lock()
        self._away = state.root / ".git" / "kheish" / FOLDER
        self._later: set[str] = set()  # dropped, but not moved yet: a user's git is at work, or the disk is full
        self._waiting: list[Taken] = []  # moved, but not submitted yet
        self._filing: dict[str, tuple[Taken, bytes]] = {}  # files for the next commits, by their new path
        self._refused: frozenset[str] = frozenset()  # dropped entries that are no plain files
        self._scanned = 0.0
        self._recent: dict[str, float] = {}  # when a path was taken: the watcher may not report the same content again

    async def start(self) -> None:
        """Continue with the files that an earlier daemon had taken, and take those dropped while none ran."""
        self._waiting = await asyncio.to_thread(_list_moved, self._away)
        ages = await self._look()
        if ages:  # a recent file may still be written
            await asyncio.sleep(min(_QUIET, max(0.0, _QUIET - min(ages.values()))))
        await self.take(frozenset(ages))

    async def take(self, paths: frozenset[str]) -> None:
        """Take files that have settled. Raises StoreFailed."""
        self._later |= {path for path in paths if _is_dropped(path)}
        if self._later:
            await self._look()
        await self._take_waiting()

    async def look(self) -> None:
        """Retry every second the files that could not be taken, and now and then scan for files without an event."""
        if time.monotonic() - self._scanned > _SCAN_EVERY:
            self._scanned = time.monotonic()
            self._later |= {path for path, age in (await self._look()).items() if age > _OLD}
        if self._recent:
            again = await asyncio.to_thread(_ages, self._state.root, tuple(self._recent))
            self._later |= {path for path, age in again.items() if age > _SETTLED}
            before = time.monotonic() - _RECENT
            self._recent = {path: at for path, at in self._recent.items() if at > before}
        await self._take_waiting()

    async def _look(self) -> dict[str, float]:
        """Return the files in the inbox with their age.

        Entries that are no plain files are reported, and never taken.
        """
        ages, refused = await asyncio.to_thread(_scan, self._state.root)
        for path in self._refused - refused.keys():
            self._problems.clear(_REFUSED, path)
        for path, reason in refused.items():
            self._problems.add(_REFUSED, path, f"it {reason}; it is not adopted")
        self._refused = frozenset(refused)
        return ages

    async def _take_waiting(self) -> None:
        if not (self._later or self._waiting) or self._state.low_space:
            return
        async with self._lock:
            if (reason := await self._held()) is not None:
                log.info("the inbox is waiting: %s", reason)
                return
            paths, self._later = sorted(self._later), set()
            for path in paths:
                taken = await asyncio.to_thread(_move_away, self._state.root, self._away, path)
                if taken is not None:
                    self._waiting.append(taken)
                    self._recent[path] = time.monotonic()
            waiting, self._waiting = self._waiting, []
            free = _Free(self._state.root, self._filing)
            for taken in waiting:
                await self._settle(taken, free)

    # --- one file -----------------------------------------------------------------------------------------------------

    async def _settle(self, taken: Taken, free: _Free) -> None:
        """Submit the file, or reject it with the reason.

        If the daemon is at fault and not the file, it is retried later.
        """
        try:
            raw = await asyncio.to_thread(_read, taken)
            destination = await self._submit(taken, raw)
            self._file(taken, destination, raw, None)
        except Unusable as error:
            await self._reject(taken, str(error), free)
        except FileNotFoundError:
            log.warning("%s was taken, but is missing", taken.path)
        except StoreFailed:
            self._waiting.append(taken)
            raise
        except (InsufficientStorage, OSError) as error:
            self._wait(taken, str(error))
        except KheishError as error:
            if error.status >= 500:
                self._wait(taken, error.detail)
            else:
                lines = [error.detail, *(f"{fault.path}: {fault.message}" for fault in error.errors)]
                await self._reject(taken, "\n".join(lines), free)
        else:
            self._problems.clear(_PROBLEM, taken.path)

    def _wait(self, taken: Taken, reason: str) -> None:
        self._waiting.append(taken)
        self._problems.add(_PROBLEM, taken.path, f"it is not submitted yet: {reason}", severity="warning")

    async def _reject(self, taken: Taken, reason: str, free: _Free) -> None:
        log.warning("%s cannot be used: %s", taken.path, reason)
        raw = await asyncio.to_thread(_small, taken)
        if raw is not None:
            raw = redaction.scrub_file(raw, self._state.scrub)
        inner = plain_name(taken.path.removeprefix(f"{FOLDER}/").replace("/", "."))
        destination = await asyncio.to_thread(free.path, inner, raw)
        if raw is None:  # too large for a commit, or no plain file: it is moved unchanged
            await asyncio.to_thread(_rename, taken.file, self._state.root / destination)
        else:
            self._file(taken, destination, raw, f"rejected: {taken.path}")
        self._file(taken, f"{destination}.problem.txt", f"{taken.path} was not used.\n\n{reason}\n".encode(), None)

    def _file(self, taken: Taken, path: str, raw: bytes, headline: str | None) -> None:
        raw = redaction.scrub_file(raw, self._state.scrub)  # it will be in git
        before = self._filing.get(path)
        self._filing[path] = taken, raw
        if before is not None and before[0] != taken:  # the same file again
            shutil.rmtree(before[0].ticket, ignore_errors=True)
        self._file_next(path, raw, headline)
        self._edited([taken.path])  # a committed file is removed

    def filed(self, paths: list[str]) -> None:
        """Delete the kept files that a commit holds, once no further change of the same file is expected."""
        done = {taken.ticket for path in paths for taken, _ in [self._filing.pop(path, (None, b""))] if taken}
        over = done - {taken.ticket for taken, _ in self._filing.values()}
        if over:  # in a thread, since thousands take seconds; after a kill, the rest is the same drop again
            asyncio.get_running_loop().run_in_executor(None, _remove, over)


# --- files ------------------------------------------------------------------------------------------------------------


def _is_dropped(path: str) -> bool:
    return path.startswith(f"{FOLDER}/") and not path.startswith(f"{REJECTED}/") and not passed_over(path)


def _scan(root: Path) -> tuple[dict[str, float], dict[str, str]]:
    """Return the files in the inbox with the seconds since their last write, and other entries with the reason."""
    ages, refused, now = dict[str, float](), dict[str, str](), time.time()
    for path, status in door.walk(root, FOLDER, skip=lambda path: path == REJECTED or not _is_dropped(path)):
        if (reason := door.kind(status.st_mode)) is not None:
            refused[path] = reason
        else:
            ages[path] = now - status.st_mtime
    return ages, refused


def _ages(root: Path, paths: Iterable[str]) -> dict[str, float]:
    """Return the seconds since each of the existing files was written."""
    ages, now = dict[str, float](), time.time()
    for path in paths:
        with suppress(OSError):
            ages[path] = now - names.within(root, path).lstat().st_mtime
    return ages


def _list_moved(away: Path) -> list[Taken]:
    """Return the files that an earlier daemon had moved but not seen in a commit."""
    moved = []
    for ticket in sorted(away.iterdir()) if away.is_dir() else ():
        inside = [path for path, _ in door.walk(away, ticket.name)]
        if not inside:
            shutil.rmtree(ticket, ignore_errors=True)
        moved += [Taken(ticket, f"{FOLDER}/{path.partition('/')[2]}") for path in inside]
    return moved


def _move_away(root: Path, away: Path, path: str) -> Taken | None:
    """Move a dropped file. Returns None if it is missing, no plain file, or empty (a program begins to write)."""
    source = names.within(root, path)
    try:
        if source.is_symlink() or not source.is_file() or source.stat().st_size == 0:
            return None
        taken = Taken(away / ids.new("drop"), path)
        _rename(source, taken.file)
        # After a power cut, an accepted file must not reappear as another drop.
        files.durable_folder(taken.file.parent, upto=away.parent)
        with suppress(FileNotFoundError):  # the folder disappeared with its last file
            files.fsync_folder(source.parent)
        return taken
    except (FileNotFoundError, NotADirectoryError):
        return None


def _remove(tickets: Iterable[Path]) -> None:
    for ticket in tickets:
        shutil.rmtree(ticket, ignore_errors=True)


def _rename(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)


def _read(taken: Taken) -> bytes:
    try:
        return door.read(taken.ticket, taken.inner, most=MAX_BYTES)
    except FileRefused as refused:
        raise Unusable(f"It {refused.reason}.") from refused


def _small(taken: Taken) -> bytes | None:
    try:
        return door.read(taken.ticket, taken.inner, most=MAX_BYTES)
    except FileRefused:
        return None


class _Free:
    """Names for rejected files of one round: files of one name (odd names have the same) are read once."""

    def __init__(self, root: Path, filing: Mapping[str, tuple[Taken, bytes]]) -> None:
        self._root = root
        self._filing = filing
        self._numbers: dict[str, int] = {}  # the first that was not read
        self._known: dict[tuple[str, bytes], str] = {}  # the path of a name and a content

    def path(self, name: str, raw: bytes | None) -> str:
        """Return the path for a rejected file, beside others of the same name. An identical rejected file is reused."""
        stem, dot, suffix = name.rpartition(".")
        digest = hashlib.sha256(raw).digest() if raw is not None else b""
        while True:
            if raw is not None and (known := self._known.get((name, digest))) is not None:
                return known
            number = self._numbers.get(name, 1)
            path = f"{REJECTED}/{stem}{'' if number == 1 else f'.{number}'}{dot}{suffix}"
            self._numbers[name] = number + 1
            there = self._filing.get(path)
            if there is None and not os.path.lexists(self._root / path):
                if raw is not None:
                    self._known[name, digest] = path
                return path
            with suppress(FileRefused):
                content = there[1] if there is not None else door.read(self._root, path, most=MAX_BYTES)
                self._known[name, hashlib.sha256(content).digest()] = path


def plain_name(name: str) -> str:
    """Return a name that every file system accepts; its end is kept, for the suffix."""
    return _ODD.sub("_", name)[-_NAME:].lstrip(".")


# --- content ----------------------------------------------------------------------------------------------------------


def place_of(path: str) -> tuple[str, str]:
    """Return the session and the name of a dropped file. Raises Unusable."""
    parts = path.split("/")
    if not names.is_text(path):
        raise Unusable(f"Its name is not UTF-8: {path}. Each \\x stands for such a byte; rename it, and drop it again.")
    if len(parts) != 3:
        raise Unusable(f"Put it into {FOLDER}/<session>/: the folder names the session.")
    try:
        ids.check_slug(parts[1], "the session")
    except Invalid as error:
        raise Unusable(error.detail) from error
    if not parts[2].endswith(SUFFIXES):
        raise Unusable(f"Only {', '.join(SUFFIXES)} are accepted: text as .md or .txt, a whole submission as .yaml.")
    return parts[1], parts[2]
