"""The watcher of users' files. It reports changed files to the event loop, once, when they have settled.

Events are hints; files are the truth. watchdog's threads only put hints into a queue. A single thread of our own
rescans, waits for quiet, reads, and reports. If events are unavailable it polls, and `mode` shows that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from kheish.store import names
from kheish.store.edits.debounce import Settling, passed_over

Mode = Literal["events", "polling"]
Settled = Callable[[frozenset[str]], None]

#: in seconds
SCAN_EVERY: dict[Mode, float] = {"events": 10.0, "polling": 1.0}
QUIET: dict[Mode, float] = {"events": 0.3, "polling": 2.0}
#: seconds after which a new folder is scanned a second time, since files may arrive before its watch is in place
_LOOK_AGAIN = (0.05, 0.5, 1.5)
#: seconds for which hints are handled before due work (a scan, settled files) must be done
_AT_ONCE = 2.0

_REF_FILES = (".git/HEAD", ".git/packed-refs")
_REF_FOLDERS = (".git/refs/heads", ".git/refs/tags")
_IN_REF_FOLDERS = tuple(f"{folder}/" for folder in _REF_FOLDERS)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Hint:
    path: str
    kind: str


@dataclass(frozen=True, slots=True)
class _Expect:
    path: str
    digest: str | None


@dataclass(frozen=True, slots=True)
class _Scan:
    done: Future[None]


@dataclass(frozen=True, slots=True)
class _Folder:
    """The message that a folder appeared or disappeared."""


@dataclass(frozen=True, slots=True)
class _Stop:
    pass


_Message = _Hint | _Expect | _Scan | _Folder | _Stop


@dataclass(frozen=True)
class _Area:
    """The watched area; paths are relative to `root`, with `/`."""

    root: Path
    folders: tuple[str, ...]
    files: tuple[str, ...]
    refs: bool

    @cached_property
    def inside(self) -> tuple[str, ...]:
        """The beginnings of paths in the folders."""
        return tuple(f"{folder}/" for folder in self.folders)

    @cached_property
    def prefix(self) -> str:
        """The beginning of paths as watchdog reports them, as text."""
        return names.text(f"{self.root}/")

    def places(self) -> tuple[str, ...]:
        return (*self.folders, *self.files, *(_REF_FILES + _REF_FOLDERS if self.refs else ()))

    def targets(self) -> list[tuple[str, bool]]:
        """Return the folders to watch, and for each whether to include everything below."""
        targets = [("", False), *((folder, True) for folder in self.folders)]
        if self.refs:
            targets += [(".git", False), (".git/refs", False), *((folder, True) for folder in _REF_FOLDERS)]
        return targets

    def covers(self, path: str) -> bool:
        if path.startswith(".git/"):
            known = path in _REF_FILES or path.startswith(_IN_REF_FOLDERS)
            return self.refs and known and not path.endswith(".lock")
        is_known = path.startswith(self.inside) or path in self.files or path in self.folders
        return is_known and not passed_over(path)

    def messages(self, event: Any) -> Iterator[_Message]:
        """Yield the messages for an event of watchdog. An atomic replace comes as `moved`, with the file's name in
        `dest_path`."""
        kind = event.event_type
        if event.is_directory:
            if kind in ("created", "moved", "deleted"):
                yield _Folder()
            return
        for name, what in ((event.src_path, "deleted" if kind == "moved" else kind), (event.dest_path, kind)):
            path = names.text(name).removeprefix(self.prefix)
            if kind != "attrib" and self.covers(path):
                # git replaces files whole, so a process that has the old file open is never seen to close it
                yield _Hint(path, "scan" if path.startswith(".git/") else what)


class Watcher:
    """A watcher of `folders` (with everything below) and `files` of `root`. Start it before the files are first read.

    `on_settled` (and `on_refs`, for branches, tags and HEAD) is called on the loop with paths relative to `root`.
    Deleted files are reported like changed files. `mode="polling"` works without events.
    """

    def __init__(
        self,
        root: Path,
        folders: Sequence[str],
        files: Sequence[str],
        on_settled: Settled,
        loop: asyncio.AbstractEventLoop,
        *,
        on_refs: Settled | None = None,
        mode: Mode = "events",
    ) -> None:
        self._area = _Area(root.absolute(), tuple(folders), tuple(files), on_refs is not None)
        self._on_settled, self._on_refs, self._loop = on_settled, on_refs, loop
        self._mode: Mode = mode
        self._reason: str | None = None
        self._settling = Settling(self._area.root, self._area.places(), self._area.covers, QUIET[mode])
        self._messages: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        self._look_at: list[float] = []
        self._watching: _Watching | None = None
        self._thread: threading.Thread | None = None

    @property
    def mode(self) -> Mode:
        """The present way of detecting changes."""
        return self._mode

    @property
    def reason(self) -> str | None:
        """The reason for polling although events were requested."""
        return self._reason

    async def start(self) -> None:
        """Start watching; changes after the return are detected."""
        ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="kheish-watcher", daemon=True)
        self._thread.start()
        await asyncio.wrap_future(ready)

    async def stop(self) -> None:
        """Stop all threads; nothing is reported after that."""
        if self._thread is not None:
            self._messages.put(_Stop())
            await asyncio.to_thread(self._thread.join)
            self._thread = None
            _release(self._messages)

    async def rescan(self) -> None:
        """Scan every file now; changes are reported when they have settled."""
        if self._thread is not None and self._thread.is_alive():
            done: Future[None] = Future()
            self._messages.put(_Scan(done))
            await asyncio.wrap_future(done)

    def expect(self, path: str, digest: str | None) -> None:
        """Announce a write of the daemon before it is made (`digest`: sha256 in hex; None: a removal)."""
        self._messages.put(_Expect(path, digest))

    def look(self, path: str) -> None:
        """Look at a file that the daemon has written: its folder may be so new that no event reports it."""
        self._messages.put(_Hint(path, "scan"))

    # --- the thread ----------------------------------------------------------------------------------------------

    def _run(self, ready: Future[None]) -> None:
        try:
            self._cover()
            self._settling.baseline()
            ready.set_result(None)
            self._serve()
        finally:
            if self._watching is not None:
                self._watching.stop()
            if not ready.done():
                ready.set_exception(RuntimeError("the watcher could not start"))
            _release(self._messages)

    def _serve(self) -> None:
        scan_at = time.monotonic() + SCAN_EVERY[self._mode]
        while True:
            now = time.monotonic()
            waits = [at - now for at in (scan_at, *self._look_at)]
            settle = self._settling.wait(now)
            try:
                wait = min(waits if settle is None else [*waits, settle])
                message = self._messages.get(timeout=max(0.0, wait))
            except queue.Empty:
                message = None
            if self._handle_waiting(message):
                return
            now = time.monotonic()
            if now >= min((scan_at, *self._look_at)):
                self._scan()
                self._look_at = [at for at in self._look_at if at > now]
                scan_at = time.monotonic() + SCAN_EVERY[self._mode]
            if self._messages.empty():  # waiting hints may show that a file is still open
                self._report(self._settling.take(now))

    def _handle_waiting(self, message: _Message | None) -> bool:
        """Handle a message and all that wait behind it before the next scan: a thousand new folders need a single scan.
        Return whether to stop."""
        until = time.monotonic() + _AT_ONCE
        while message is not None and not isinstance(message, _Stop):
            self._handle(message)
            if time.monotonic() > until:
                return False
            try:
                message = self._messages.get_nowait()
            except queue.Empty:
                return False
        return message is not None

    def _handle(self, message: _Message) -> None:
        now = time.monotonic()
        match message:
            case _Hint(path, kind):
                self._settling.hint(path, kind, now)
            case _Expect(path, digest):
                self._settling.expect(path, digest, now)
            case _Folder():
                self._look_at = [*self._look_at[:1], *(now + after for after in _LOOK_AGAIN)]
            case _Scan(done):
                self._scan()
                _settle(done)

    def _scan(self) -> None:
        self._cover()
        self._settling.scan(time.monotonic())

    def _cover(self) -> None:
        """Watch each existing folder; if the system gives no more watches, poll from now on."""
        if self._mode == "polling":
            return
        try:
            self._watching = self._watching or _Watching(self._dispatch)
            for place, recursive in self._area.targets():
                self._watching.cover(self._area.root / place, recursive)
            if self._look_at:  # a new folder: watchdog does not report a missing watch
                self._watching.probe()
        except (OSError, ImportError) as error:
            self._mode, self._reason = "polling", str(error)
            self._settling.quiet = QUIET["polling"]
            _log.warning("polling files, since events are unavailable: %s", error)
            if self._watching is not None:
                self._watching.stop()
                self._watching = None

    def _dispatch(self, event: Any) -> None:
        for message in self._area.messages(event):
            self._messages.put(message)

    def _report(self, paths: frozenset[str]) -> None:
        refs = frozenset(path for path in paths if path.startswith(".git/"))
        with contextlib.suppress(RuntimeError):  # the loop was closed without stop(): no listener is left
            if paths - refs:
                self._loop.call_soon_threadsafe(self._on_settled, paths - refs)
            if refs and self._on_refs is not None:
                self._loop.call_soon_threadsafe(self._on_refs, refs)


def _release(messages: queue.SimpleQueue[_Message]) -> None:
    """Release all waiting callers, since no answer will come."""
    while not messages.empty():
        message = messages.get()
        if isinstance(message, _Scan):
            _settle(message.done)


def _settle(done: Future[None]) -> None:
    """Release the caller of a scan, unless it is gone: a stop cancels requests that wait."""
    if done.set_running_or_notify_cancel():
        done.set_result(None)


class _Watching:
    """The observer of watchdog, and the folder of each of its watches (by inode: the folder may be replaced)."""

    def __init__(self, dispatch: Callable[[Any], None]) -> None:
        from watchdog.observers import Observer

        # A folder that is created while its parent is registered is registered twice, which is harmless.
        warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning, "watchdog")
        self._handler: Any = _Handler(dispatch)
        self._observer = Observer()
        self._observer.start()
        self._watches: dict[Path, tuple[Any, int]] = {}

    def cover(self, folder: Path, recursive: bool) -> None:
        """Watch the folder if it exists. Raises OSError if the system gives no watch."""
        try:
            inode = folder.lstat().st_ino if folder.is_dir() and not folder.is_symlink() else None
        except FileNotFoundError:
            inode = None
        watch, watched = self._watches.get(folder, (None, None))
        if inode == watched:
            return
        if watch is not None:
            del self._watches[folder]
            with contextlib.suppress(KeyError):
                self._observer.unschedule(watch)
        if inode is not None:
            with contextlib.suppress(FileNotFoundError):
                made = self._observer.schedule(self._handler, str(folder), recursive=recursive)
                self._watches[folder] = (made, inode)

    def probe(self) -> None:
        """Check that another watch is available. Raises OSError."""
        self._observer.unschedule(self._observer.schedule(self._handler, os.sep))

    def stop(self) -> None:
        self._observer.stop()
        self._observer.join()


class _Handler:
    def __init__(self, dispatch: Callable[[Any], None]) -> None:
        self.dispatch = dispatch
