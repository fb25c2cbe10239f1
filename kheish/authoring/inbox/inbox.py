"""The inbox: each file that is dropped into `inbox/<session>/` becomes one run of that session, once.

A file is first moved out of the way (`tickets`): exactly the moved content is submitted, and saving the same name again
drops a new file. There it stays until a commit holds it in the session's folder (or in `inbox/rejected/`), so a kill at
any moment leaves it in one of the two places.

Its place there is the idempotency key: a drop that is resubmitted after a kill returns the same run, and another drop
is another request, whatever its content.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from kheish import ids
from kheish.auth import redaction
from kheish.authoring.inbox import rejects, tickets
from kheish.authoring.inbox.rejects import REJECTED, Rejection
from kheish.authoring.inbox.tickets import FOLDER, Dropped, Taken
from kheish.authoring.problems import Problems
from kheish.errors import FileRefused, InsufficientStorage, Invalid, KheishError, StoreFailed, TooMany
from kheish.state.state import State
from kheish.store import door, names
from kheish.store.edits.debounce import passed_over

log = logging.getLogger(__name__)

SUFFIXES = (".md", ".txt", ".yaml")
_QUIET = 0.3  # seconds without a change, for files dropped while no daemon ran
_SCAN_EVERY, _OLD = 10.0, 15.0  # seconds: an older file is no longer being written
#: seconds: how long a path is checked after its file was taken, and the minimal age of a new file there
_RECENT, _SETTLED = 5.0, 1.0
BY = "file"  # the author of a file is unknown
#: files that are read together, if they are small
_TOGETHER = 500
#: rejected files that are logged one by one, of those that are taken together
_LOGGED = 20
_PROBLEM = "inbox_waiting"
_REFUSED = "inbox_refused"


class Unusable(Exception):
    """A file that cannot become a run; the text is the reason."""


class Inbox:
    """The inbox.

    `submit(taken, content)` makes a run of a file and returns the file's new path, or raises Unusable;
    `observe(taken, content)` makes an observation of a file below `inbox/observations/`. `held()` returns
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
        observe: Callable[[Taken, bytes], Awaitable[None]],
        held: Callable[[], Awaitable[str | None]],
    ) -> None:
        self._state = state
        self._problems = problems
        self._file_next = file
        self._edited = edited
        self._submit = submit
        self._observe = observe
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
        self._waiting = await asyncio.to_thread(tickets.list_moved, self._away)
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
            moved, failed = await asyncio.to_thread(tickets.move, self._state.root, self._away, paths)
            self._note_moved(paths, moved, failed)
            waiting, self._waiting = self._waiting, []
            await self._settle(waiting)

    def _note_moved(self, paths: Iterable[str], moved: Sequence[Taken], failed: Mapping[str, str]) -> None:
        now = time.monotonic()
        self._waiting += moved
        self._recent |= {taken.path: now for taken in moved}
        self._later |= failed.keys()
        for path in paths:
            if path not in failed:
                self._problems.clear(_PROBLEM, path)
            else:
                self._problems.add(_PROBLEM, path, f"it cannot be moved yet: {failed[path]}", severity="warning")

    # --- files that were taken ----------------------------------------------------------------------------------------

    async def _settle(self, waiting: Sequence[Taken]) -> None:
        """Submit the files, and reject those that cannot be used. Raises StoreFailed."""
        free = rejects.Names(self._state.root, self._filing)
        await self._settle_observed([one for one in waiting if one.is_observed], free)
        waiting = [one for one in waiting if not one.is_observed]
        at = 0
        try:
            while at < len(waiting):
                contents = await asyncio.to_thread(
                    tickets.read, self._away, waiting[at:][:_TOGETHER], self._state.scrub
                )
                rejections = list[Rejection]()
                for dropped in contents:
                    rejection = await self._settle_file(waiting[at], dropped)
                    rejections += [rejection] if rejection is not None else []
                    at += 1
                await self._reject(rejections, free)
        except StoreFailed:
            self._waiting += waiting[at:]
            raise

    async def _settle_file(self, taken: Taken, dropped: Dropped | FileRefused | OSError | None) -> Rejection | None:
        """Submit the file. Return its rejection, if it cannot be used.

        If the daemon is at fault and not the file, it is retried later.
        """
        if dropped is None:
            log.warning("%s was taken, but is missing", taken.path)
            return None
        if isinstance(dropped, FileRefused):
            return Rejection(taken, None, f"It {dropped.reason}.")
        if isinstance(dropped, OSError):
            self._wait(taken, str(dropped))
            return None
        clean = dropped.cleaned(self._state.scrub)
        try:
            destination = await self._submit(taken, dropped.raw)
        except Unusable as error:
            return Rejection(taken, clean, str(error))
        except StoreFailed:
            raise
        except (InsufficientStorage, OSError) as error:
            self._wait(taken, str(error))
        except KheishError as error:
            if error.status < 500:
                lines = [error.detail, *(f"{fault.path}: {fault.message}" for fault in error.errors)]
                return Rejection(taken, clean, "\n".join(lines))
            self._wait(taken, error.detail)
        else:
            self._file(taken, destination, clean, None)
            self._problems.clear(_PROBLEM, taken.path)
        return None

    async def _settle_observed(self, waiting: Sequence[Taken], free: rejects.Names) -> None:
        """Make observations of files. Raises StoreFailed."""
        for at, taken in enumerate(waiting):
            try:
                rejection = await self._observe_file(taken)
            except StoreFailed:
                self._waiting += waiting[at:]
                raise
            if rejection is not None:
                await self._reject([rejection], free)

    async def _observe_file(self, taken: Taken) -> Rejection | None:
        """Make an observation of a file. Return its rejection, if it cannot be used."""
        raw: bytes | None = None
        try:
            raw = await asyncio.to_thread(
                tickets.read_one, self._away, taken, self._state.definitions.config.assets.max
            )
            if raw is not None:
                await self._observe(taken, raw)
        except Unusable as error:
            return Rejection(taken, None, str(error))
        except FileRefused as refused:
            return Rejection(taken, None, f"It {refused.reason}.")
        except StoreFailed:
            raise
        except (InsufficientStorage, TooMany, OSError) as error:
            self._wait(taken, str(error))
        except KheishError as error:
            if error.status < 500:
                return Rejection(taken, await self._committable(taken, raw), error.detail)
            self._wait(taken, error.detail)
        else:
            await asyncio.to_thread(tickets.remove, self._away, [taken])
            self._edited([taken.path])
            self._problems.clear(_PROBLEM, taken.path)
        return None

    async def _committable(self, taken: Taken, raw: bytes | None) -> bytes | None:
        """Return the content of a refused observation as a commit may hold it; None if its source may have to forget
        it."""
        source = self._state.definitions.by_kind["sources"].get(taken.path.split("/")[2])
        if raw is None or source is None or source.value.is_encrypted:
            return None
        return await asyncio.to_thread(redaction.scrub_file, raw, self._state.scrub)

    def _wait(self, taken: Taken, reason: str) -> None:
        self._waiting.append(taken)
        self._problems.add(_PROBLEM, taken.path, f"it is not submitted yet: {reason}", severity="warning")

    async def _reject(self, rejections: Sequence[Rejection], free: rejects.Names) -> None:
        if not rejections:
            return
        for rejection in rejections[:_LOGGED]:
            log.warning("%s cannot be used: %s", rejection.taken.path, rejection.reason)
        if more := len(rejections[_LOGGED:]):
            log.warning("%d more files cannot be used; the reasons are in %s", more, REJECTED)
        places = await asyncio.to_thread(free.place, rejections)
        for rejection, place in zip(rejections, places, strict=True):
            taken, reason = rejection.taken, rejection.reason
            if isinstance(place, OSError):
                self._wait(taken, str(place))
                continue
            if rejection.clean is not None:
                self._file(taken, place, rejection.clean, f"rejected: {taken.path}")
            text = f"{taken.path} was not used.\n\n{reason}\n".encode()
            self._file(taken, f"{place}.problem.txt", redaction.scrub_file(text, self._state.scrub), None)
            self._problems.clear(_PROBLEM, taken.path)

    def _file(self, taken: Taken, path: str, clean: bytes, headline: str | None) -> None:
        """Hand a file, which may hold no secret, to the next commit."""
        before = self._filing.get(path)
        self._filing[path] = taken, clean
        if before is not None and before[0] != taken:  # the same file again
            tickets.remove(self._away, [before[0]])
        self._file_next(path, clean, headline)
        self._edited([taken.path])  # a committed file is removed

    def filed(self, paths: Iterable[str]) -> None:
        """Delete the kept files that a commit holds, once no further change of the same file is expected."""
        done = {taken for path in paths for taken, _ in [self._filing.pop(path, (None, b""))] if taken}
        over = done - {taken for taken, _ in self._filing.values()}
        if over:  # in a thread, since thousands take seconds; after a kill, the rest is the same drop again
            asyncio.get_running_loop().run_in_executor(None, tickets.remove, self._away, over)


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


# --- content ----------------------------------------------------------------------------------------------------------


def source_of(path: str) -> tuple[str, str]:
    """Return the source and the name of a file that was dropped as an observation. Raises Unusable."""
    parts = path.split("/")
    if len(parts) != 4 or not names.is_text(path):
        raise Unusable(f"Put it into {FOLDER}/{tickets.OBSERVED}<source>/, with a name that is UTF-8.")
    return parts[2], parts[3]


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
