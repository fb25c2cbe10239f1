"""Detection of changed files that have settled: the watcher's memory, without threads or clocks.

A hint (an event, or a scan that saw another stat) makes a path pending. A path is settled when its file is closed and
its stat has not changed for the quiet time. Only then is it read, and only a different digest counts as a change.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from kheish.errors import FileRefused
from kheish.store import door, names

#: seconds after which a file that a silent writer keeps open is read all the same (its close event may be lost)
OPEN_LIMIT = 10.0
#: seconds that a settled file waits for other files, so that they are reported as one set: for files that still change,
#: and for files that are only kept open
FOR_MOVING = 2.0
FOR_OPEN = 0.5
#: seconds for which an announced write of the daemon is expected
EXPECTED_FOR = 30.0

#: bytes of a file that are read to detect a change; a larger file counts as changed whenever its stat changes
_DIGESTED = 16 * 1024 * 1024

Signature = tuple[int, int, int, int]  # mtime_ns, size, inode, ctime_ns

_SCRATCH = (".tmp", ".part", ".swp", ".swx", ".swo", "~")


def passed_over(path: str) -> bool:
    """Return whether a path is a scratch file of an editor or a tool: `.x`, `x~`, `x.tmp`, `4913`, `#x#`."""
    return any(
        name.startswith(".")
        or name.endswith(_SCRATCH)
        or name == "4913"
        or (name.startswith("#") and name.endswith("#"))
        for name in path.split("/")
    )


class Held(IntEnum):
    """The state of a file's writers: whether a process may still be writing."""

    CLOSED = 0
    OPEN = 1  # opened, for an unknown purpose
    WRITING = 2


@dataclass(slots=True)
class _Pending:
    signature: Signature | None
    moved_at: float  # the time of the last stat change seen
    held: Held = Held.CLOSED
    closed: tuple[int, int] | None = None  # time and size at the last close

    def note(self, kind: str) -> None:
        """Update the state by an event about a writer."""
        content = self.signature and self.signature[:2]
        match kind:
            case "modified" if content != self.closed:  # else only its mode changed (watchdog 6 reports both)
                self.held = Held.WRITING
            case "opened":
                self.held = max(self.held, Held.OPEN)
            case "closed" | "moved" | "deleted":
                self.held, self.closed = Held.CLOSED, content
            case "closed_no_write" if self.held is Held.OPEN:
                self.held = Held.CLOSED


class Settling:
    """A debouncer of file changes. `covers` returns whether a path (relative, with `/`) matters; `quiet` is in seconds;
    all times are monotonic."""

    def __init__(self, root: Path, places: Sequence[str], covers: Callable[[str], bool], quiet: float) -> None:
        self._root, self._places, self._covers = root, places, covers
        self.quiet = quiet
        self._base = os.fspath(root)
        self._known: dict[str, tuple[Signature, str]] = {}
        self._pending: dict[str, _Pending] = {}
        self._expected: dict[str, dict[str | None, float]] = {}

    def baseline(self) -> None:
        """Record the present state of all files as known."""
        for path, signature in self._walk():
            self._known[path] = (signature, self._digest(path) or "")

    def expect(self, path: str, digest: str | None, now: float) -> None:
        """Announce a write of the daemon (None: a removal), so that it does not count as a user's change."""
        self._expected.setdefault(path, {})[digest] = now + EXPECTED_FOR

    def hint(self, path: str, kind: str, now: float) -> None:
        """Note that something happened to a path: `kind` is an event type of watchdog, or `scan`."""
        if not self._covers(path):
            return
        signature = self._signature(path)
        pending = self._pending.get(path)
        if pending is None:
            known = self._known.get(path)
            if signature == (known and known[0]) and path not in self._expected:  # only a read
                return
            pending = self._pending[path] = _Pending(signature, now)
        elif signature != pending.signature:
            pending.signature, pending.moved_at = signature, now
        pending.note(kind)

    def scan(self, now: float) -> None:
        """Compare the stat of every file with the known one, since events may have been lost."""
        signatures = dict(self._walk())
        for path in signatures.keys() | self._known.keys() | self._pending.keys() | self._expected.keys():
            pending, known = self._pending.get(path), self._known.get(path)
            before = pending.signature if pending else known and known[0]
            is_awaited = pending is None and path in self._expected
            if signatures.get(path) != before or is_awaited:
                self.hint(path, "scan", now)

    def wait(self, now: float) -> float | None:
        """Return the seconds until `take` may have results; None if nothing is pending."""
        if not self._pending:
            return None
        return max(0.02, min(self._rest(pending) for pending in self._pending.values()) - now)

    def take(self, now: float) -> frozenset[str]:
        """Return the paths whose content has changed and settled. Paths that changed together are returned together."""
        ready = [path for path, pending in self._pending.items() if self._rest(pending) <= now]
        if not ready:
            return frozenset()
        others = [pending for path, pending in self._pending.items() if self._rest(pending) > now]
        patience = FOR_MOVING if any(not pending.held for pending in others) else FOR_OPEN
        if others and now - min(self._rest(self._pending[path]) for path in ready) < patience:
            return frozenset()
        settled = frozenset([path for path in ready if self._settle(path, now)])
        self._forget(now)
        return settled

    def _rest(self, pending: _Pending) -> float:
        return pending.moved_at + (OPEN_LIMIT if pending.held else self.quiet)

    def _settle(self, path: str, now: float) -> bool:
        pending = self._pending[path]
        signature = self._signature(path)
        digest = self._digest(path) if signature else None
        if signature != pending.signature or self._signature(path) != signature:
            pending.signature, pending.moved_at = self._signature(path), now
            return False
        del self._pending[path]
        known = self._known.get(path)
        if signature and digest is not None:
            self._known[path] = (signature, digest)
        else:
            self._known.pop(path, None)
        if self._was_expected(path, digest, now):
            return False
        # A user may have undone a write of the daemon before it settled: the content is as known, and yet not in force.
        return digest != (known and known[1]) or self._awaits(path, now)

    def _was_expected(self, path: str, digest: str | None, now: float) -> bool:
        until = self._expected.get(path, {}).get(digest, 0.0)
        if until >= now:
            del self._expected[path]
        return until >= now

    def _awaits(self, path: str, now: float) -> bool:
        """Return whether a write of the daemon was announced and has not been seen."""
        return any(until >= now for until in self._expected.get(path, {}).values())

    def _forget(self, now: float) -> None:
        """Drop the writes that were expected and did not come. Once for all paths that settle, or it is quadratic."""
        self._expected = {
            name: live
            for name, all_ in self._expected.items()
            if (live := {key: end for key, end in all_.items() if end >= now})
        }

    def _signature(self, path: str) -> Signature | None:
        try:
            return _signature(names.lstat(self._base, path))
        except OSError:
            return None

    def _digest(self, path: str) -> str | None:
        """Return the sha256 of the content. An unreadable file has its own digest, so that it is reported once."""
        digest = hashlib.sha256()
        try:
            with door.opened(self._root, path) as descriptor:
                status = os.fstat(descriptor)
                if status.st_size > _DIGESTED:
                    return f"large:{_signature(status)}"
                digest.update(door.bounded(descriptor, _DIGESTED))
        except FileNotFoundError:
            return None
        except FileRefused as refused:
            return f"refused:{refused.reason}"
        except OSError as error:
            return f"unreadable:{error.errno}"
        return digest.hexdigest()

    def _walk(self) -> Iterator[tuple[str, Signature]]:
        for place in self._places:
            path = self._root / place
            signature = self._signature(place)
            if signature and self._covers(place):
                yield place, signature
            elif path.is_dir() and not path.is_symlink():
                for inner, found in door.walk(self._root, place):
                    if self._covers(inner) and (under := _signature(found)):
                        yield inner, under


def _signature(status: os.stat_result) -> Signature | None:
    """Return a value that changes with the file; None for a folder. A link, a pipe or a device has a signature as well,
    since it takes the place of a file, and its owner must get a report."""
    if stat.S_ISDIR(status.st_mode):
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_ctime_ns
