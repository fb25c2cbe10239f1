"""The schedule of commits: at once if it is quiet, at most once a second, and at the latest some seconds after an
entry.

This is the daemon's side. The git worker does the work; nothing here blocks.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from kheish.errors import KheishError, StoreFailed
from kheish.store.git import hold
from kheish.store.git.textconv import HIDDEN
from kheish.store.pipes import Child, ChildGone

_GAP = 1.0
_RETRY = 0.5
_FAILED_RETRY = 5.0
_LAST_ATTEMPT = 10.0  # seconds that a stop waits for an attempt
_SUBJECT = 160


@dataclass(frozen=True, slots=True)
class Cut:
    """The content of a commit: all entries from `n_from` up to `n_to`, and none above.

    `n_from` is above `n_to` if there is no new entry (files are restored, a user edited). `journals` maps path → (size
    in bytes, digest of that much). `records` has (path, data or None to remove), `pending` (path, data or None, the
    lines that a user fills in), `files` (path, content). `authored` has changes of memory, each a commit of its own
    (`store.git.authored`). `edits` are a user's paths, `spills` paths that are on disk, `deletes` paths to delete,
    `removes` folders to delete with everything in them.
    """

    n_from: int
    n_to: int
    message: str = ""
    trailers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    author: Literal["person"] | None = None
    journals: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    files: Sequence[tuple[str, bytes | str]] = ()
    records: Sequence[tuple[str, Mapping[str, Any] | None]] = ()
    pending: Sequence[tuple[str, Mapping[str, Any] | None, str]] = ()
    edits: Sequence[str] = ()
    authored: Sequence[Mapping[str, Any]] = ()
    spills: Sequence[str] = ()
    deletes: Sequence[str] = ()
    removes: Sequence[str] = ()

    def frame(self) -> dict[str, Any]:
        """Return the payload of the worker's `commit`."""
        named = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        return {"cut": {"n_from": named.pop("n_from"), "n_to": named.pop("n_to")}, **named}


def message(headlines: Sequence[str], *, sessions: int, runs: int) -> str:
    """Return the subject of a commit: its single headline, or the number of changes."""
    if len(headlines) == 1:
        plain = HIDDEN.sub("\ufffd", " ".join(headlines[0].split()))
        line = "".join(
            character if character.isprintable() or character in "\u200c\u200d" else "\ufffd" for character in plain
        )
        return line if len(line) <= _SUBJECT else f"{line[: _SUBJECT - 1]}…"
    if runs:
        return f"{_count(runs, 'run')} in {_count(sessions, 'session')}"
    if sessions:
        return _count(sessions, "session")
    return _count(len(headlines), "change") if headlines else "journals go on"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


class Committer:
    """A loop that commits the cuts from `gather`, one at a time.

    `gather()` returns the next cut, or None if nothing is dirty. It must not return the same cut twice: the committer
    retries a cut until it is committed. If it raises a Kheish error or hold.Held, it is called again later.
    `on_committed(n_to, commit, time)` follows each commit. `on_notice(answer)` follows an answer with `held` (the
    reason), `error`, or a non-empty `put_back` or `doubted`. `every` is in seconds.
    """

    def __init__(
        self,
        child: Child,
        gather: Callable[[], Awaitable[Cut | None]],
        on_committed: Callable[[int, str, int], None],
        every: float = 5.0,
        *,
        on_notice: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self._child = child
        self._gather = gather
        self._on_committed = on_committed
        self._on_notice = on_notice
        self._every = every
        self._wake = asyncio.Event()
        self._due: float | None = None
        self._cut: Cut | None = None
        self._is_failed = False  # whether the last attempt failed
        self._earliest = float("-inf")
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self.measure: Callable[[float, str], None] = lambda seconds, outcome: None  # gets each attempt

    def start(self) -> asyncio.Task[None]:
        """Start committing. The task ends with `close`, with StoreFailed, or with an error raised by `gather` or a
        callback."""
        self._task = asyncio.create_task(self._run())
        return self._task

    def touch(self, now: bool = False) -> None:
        """Mark the state as dirty; `now` if a run ended or paused, or a user edited."""
        due = self._clock() + (0.0 if now else self._every)
        if self._due is None or due < self._due:
            self._due = due
            self._wake.set()

    def leave_out(self, journal: str) -> None:
        """Commit the pending cut without a journal that cannot be repaired."""
        if self._cut is not None:
            kept = {path: held for path, held in self._cut.journals.items() if path.rpartition("/")[0] != journal}
            self._cut = dataclasses.replace(self._cut, journals=kept)

    async def flush(self, timeout: float = 30.0) -> bool:
        """Commit until nothing is dirty; return False if that takes longer than `timeout` seconds (held)."""
        try:
            async with asyncio.timeout(timeout):
                while True:
                    wait = await self._step()
                    if wait is None:
                        return True
                    await asyncio.sleep(wait if self._is_failed else 0.0)
        except TimeoutError:
            return False

    async def revive(self) -> None:
        """Restart the git worker if it has exited."""
        async with self._turn:
            if not self._child.alive:
                await self._respawn()

    async def close(self) -> None:
        """Stop; dirty state stays in the log. An attempt that is under way ends first, if it does soon: its end is
        reported to the scribe, which is closed afterwards."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)  # errors were reported to the task's awaiter
            self._task = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_ATTEMPT), self._turn:
                pass

    async def _run(self) -> None:
        while True:
            await self._until_due()
            self._due = None
            wait = await self._step()
            self._earliest = self._clock() + (wait or 0.0)
            if self._is_failed:
                self._due = self._earliest

    async def _until_due(self) -> None:
        """Wait for the due time, and for a second since the last commit."""
        while True:
            self._wake.clear()
            wait = None
            if self._due is not None:
                wait = max(self._due, self._earliest) - self._clock()
                if wait <= 0:
                    return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wake.wait()

    async def _step(self) -> float | None:
        """Make one attempt. Return None if there was nothing to commit, else the number of seconds before the next.

        The attempt continues if its caller is cancelled (at a stop, by a timeout). The data that a cut was gathered
        from exists only in this attempt: the next commit would lack it, and the log would be truncated behind it.
        """
        return await asyncio.shield(asyncio.create_task(self._try()))

    async def _try(self) -> float | None:
        async with self._turn:
            self._is_failed, is_kept = True, self._cut is not None
            try:
                cut = self._cut = self._cut or await self._gather()
            except hold.Held as held:
                self._report({"held": str(held), "short": []})
                return _RETRY
            except StoreFailed:  # a journal's fsync failed: a second would report success
                raise
            except KheishError as error:  # the source of cuts is restarting
                self._report({"error": error.detail})
                return _RETRY
            if cut is None:
                self._is_failed = False
                return None
            began = self._clock()
            try:
                answer = await self._child.request("commit", **cut.frame())
            except ChildGone as gone:
                self.measure(self._clock() - began, "failed")
                self._report({"error": gone.detail})
                return await self._respawn()
            except StoreFailed:
                raise
            except KheishError as error:  # for instance a full disk: the log has everything, so it can wait
                self.measure(self._clock() - began, "failed")
                self._report({"error": error.detail})
                return _FAILED_RETRY
            self.measure(self._clock() - began, "held" if "held" in answer else "committed")
            if "held" in answer:
                self._report(answer)
                return _RETRY
            self._cut, self._is_failed = None, False
            if is_kept:
                self.touch(now=True)  # requests since that cut was gathered were answered with it: commit theirs now
            self._on_committed(answer["n_to"], answer["commit"], answer["time"])
            if answer["put_back"] or answer.get("doubted"):
                self._report(answer)
            return max(0.0, began + _GAP - self._clock())

    async def _respawn(self) -> float:
        if self._closed:
            return _FAILED_RETRY
        try:
            await self._child.respawn()
        except OSError as error:
            self._report({"error": f"The git worker cannot be started: {error}"})
            return _FAILED_RETRY
        return _RETRY

    def _report(self, answer: dict[str, Any]) -> None:
        if self._on_notice is not None:
            self._on_notice(answer)

    @staticmethod
    def _clock() -> float:
        return asyncio.get_running_loop().time()
