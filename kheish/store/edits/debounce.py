"""Which watched files changed in content and have come to rest: the watcher's memory, without threads or clocks.

A hint (an event, or a scan that saw another stat) makes a path pending. It is settled when it is closed and its stat
has not moved for the quiet time; only then is it read, and only another digest counts as a change.
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

#: how long a writer may keep a file open in silence until it is read all the same (its close event may be lost)
OPEN_LIMIT = 10.0
#: how long a settled file waits for others, so that they are reported as one set: for such as still move, and for
#: such as someone only keeps open
FOR_MOVING = 2.0
FOR_OPEN = 0.5
#: how long an announced write of the daemon is expected
EXPECTED_FOR = 30.0

#: bytes of a file that are read to see whether it is another; a larger one is another whenever its stat is
_DIGESTED = 16 * 1024 * 1024

Signature = tuple[int, int, int, int]  # mtime_ns, size, inode, ctime_ns

_SCRATCH = (".tmp", ".part", ".swp", ".swx", ".swo", "~")


def passed_over(path: str) -> bool:
    """True for what editors and tools leave beside a file while they work: `.x`, `x~`, `x.tmp`, `4913`, `#x#`."""
    return any(
        name.startswith(".")
        or name.endswith(_SCRATCH)
        or name == "4913"
        or (name.startswith("#") and name.endswith("#"))
        for name in path.split("/")
    )


class Held(IntEnum):
    """Whether someone may still be writing."""

    CLOSED = 0
    OPEN = 1  # opened, for what is not known
    WRITING = 2


@dataclass(slots=True)
class _Pending:
    signature: Signature | None
    moved_at: float  # when its stat was last seen to move
    held: Held = Held.CLOSED
    closed: tuple[int, int] | None = None  # time and size when it was last closed

    def note(self, kind: str) -> None:
        """What an event says about whether someone may still be writing."""
        content = self.signature and self.signature[:2]
        match kind:
            case "modified" if content != self.closed:  # else only its mode changed (watchdog 6 calls that the same)
                self.held = Held.WRITING
            case "opened":
                self.held = max(self.held, Held.OPEN)
            case "closed" | "moved" | "deleted":
                self.held, self.closed = Held.CLOSED, content
            case "closed_no_write" if self.held is Held.OPEN:
                self.held = Held.CLOSED


class Settling:
    """`covers` says which paths (relative, with `/`) matter; `quiet` is in seconds; all times are monotonic."""

    def __init__(self, root: Path, places: Sequence[str], covers: Callable[[str], bool], quiet: float) -> None:
        self._root, self._places, self._covers = root, places, covers
        self.quiet = quiet
        self._known: dict[str, tuple[Signature, str]] = {}
        self._pending: dict[str, _Pending] = {}
        self._expected: dict[str, dict[str | None, float]] = {}

    def baseline(self) -> None:
        """Take all files as they are now as known."""
        for path, signature in self._walk():
            self._known[path] = (signature, self._digest(path) or "")

    def expect(self, path: str, digest: str | None, now: float) -> None:
        """The daemon is about to write this content (None: to remove the file): no change of a person's."""
        self._expected.setdefault(path, {})[digest] = now + EXPECTED_FOR

    def hint(self, path: str, kind: str, now: float) -> None:
        """Something happened to a path: `kind` is an event type of watchdog, or `scan`."""
        if not self._covers(path):
            return
        signature = self._signature(path)
        pending = self._pending.get(path)
        if pending is None:
            known = self._known.get(path)
            if signature == (known and known[0]):  # a mere read
                return
            pending = self._pending[path] = _Pending(signature, now)
        elif signature != pending.signature:
            pending.signature, pending.moved_at = signature, now
        pending.note(kind)

    def scan(self, now: float) -> None:
        """Compare the stat of every file with what is known: events may have been lost."""
        found = dict(self._walk())
        for path in found.keys() | self._known.keys() | self._pending.keys():
            pending, known = self._pending.get(path), self._known.get(path)
            before = pending.signature if pending else known and known[0]
            if found.get(path) != before:
                self.hint(path, "scan", now)

    def wait(self, now: float) -> float | None:
        """Seconds until `take` may have something; None where nothing is pending."""
        if not self._pending:
            return None
        return max(0.02, min(self._rest(pending) for pending in self._pending.values()) - now)

    def take(self, now: float) -> frozenset[str]:
        """The paths whose content is another than when last known, and has settled; together what moved together."""
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
        return digest != (known and known[1]) and not self._was_expected(path, digest, now)

    def _was_expected(self, path: str, digest: str | None, now: float) -> bool:
        until = self._expected.get(path, {}).get(digest, 0.0)
        if until >= now:
            del self._expected[path]
        return until >= now

    def _forget(self, now: float) -> None:
        """Drop the writes that were expected and did not come. Once for all paths that settle, or it is quadratic."""
        self._expected = {
            name: live
            for name, all_ in self._expected.items()
            if (live := {key: end for key, end in all_.items() if end >= now})
        }

    def _signature(self, path: str) -> Signature | None:
        try:
            return _signature(names.within(self._root, path).lstat())
        except OSError:
            return None

    def _digest(self, path: str) -> str | None:
        """Return the sha256 of the content; what cannot be read has its own digest, so that it is reported once."""
        digest = hashlib.sha256()
        try:
            with door.opened(self._root, path) as descriptor:
                found = os.fstat(descriptor)
                if found.st_size > _DIGESTED:
                    return f"large:{_signature(found)}"
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


def _signature(found: os.stat_result) -> Signature | None:
    """Return what changes when a file does; None for a folder. A link, a pipe or a device has one as well: it stands
    where a file is read, and its owner is to be told so."""
    if stat.S_ISDIR(found.st_mode):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_ctime_ns
