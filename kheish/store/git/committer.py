"""When to commit: at once where it is quiet, at most once a second, at the latest some seconds after an entry.

The daemon's side. The work is done by the git worker; nothing here blocks.
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
_SUBJECT = 160


@dataclass(frozen=True, slots=True)
class Cut:
    """Everything that one commit holds: all entries from `n_from` up to `n_to`, and none above.

    `n_from` is above `n_to` where there is no new one (something is put back, a person edited).
    `journals`: path → (size in bytes, digest of these); `records`: (path, data or None to remove);
    `pending`: (path, kind, data or None);
    `files`: (path, content); `edits`: a person's paths; `spills`: paths that are on the disk; `deletes`: paths;
    `removes`: folders that go away with all that is in them.
    """

    n_from: int
    n_to: int
    message: str = ""
    trailers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    author: Literal["person"] | None = None
    journals: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    files: Sequence[tuple[str, bytes | str]] = ()
    records: Sequence[tuple[str, Mapping[str, Any] | None]] = ()
    pending: Sequence[tuple[str, Literal["approval", "question"], Mapping[str, Any] | None]] = ()
    edits: Sequence[str] = ()
    spills: Sequence[str] = ()
    deletes: Sequence[str] = ()
    removes: Sequence[str] = ()

    def frame(self) -> dict[str, Any]:
        """The payload of the worker's `commit`."""
        named = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        return {"cut": {"n_from": named.pop("n_from"), "n_to": named.pop("n_to")}, **named}


def message(headlines: Sequence[str], *, sessions: int, runs: int) -> str:
    """The subject of a commit: the one thing that happened, or how much did."""
    if len(headlines) == 1:
        plain = HIDDEN.sub("\ufffd", " ".join(headlines[0].split()))
        line = "".join(one if one.isprintable() or one in "\u200c\u200d" else "\ufffd" for one in plain)
        return line if len(line) <= _SUBJECT else f"{line[: _SUBJECT - 1]}…"
    if runs:
        return f"{_count(runs, 'run')} in {_count(sessions, 'session')}"
    if sessions:
        return _count(sessions, "session")
    return _count(len(headlines), "change") if headlines else "journals go on"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


class Committer:
    """Commits what `gather` hands out, one cut at a time.

    `gather()` returns the next cut, or None where nothing is dirty; a cut that it returned is its no more: it is
    tried until it is committed. Where it raises an error of Kheish or hold.Held, it is asked again.
    `on_committed(n_to, commit)` is called then; `on_notice(answer)` for an answer that says `held` (with the reason),
    `error`, or a `put_back` or `doubted` that is not empty. `every` is in seconds.
    """

    def __init__(
        self,
        child: Child,
        gather: Callable[[], Awaitable[Cut | None]],
        on_committed: Callable[[int, str], None],
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
        self._again = False  # the last try came to nothing
        self._earliest = float("-inf")
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def start(self) -> asyncio.Task[None]:
        """Begin to commit; the task ends with `close`, with StoreFailed, or with what `gather` or a callback raised."""
        self._task = asyncio.create_task(self._run())
        return self._task

    def touch(self, now: bool = False) -> None:
        """Say that something is dirty; `now` where a run ended or paused, or a person edited."""
        due = self._clock() + (0.0 if now else self._every)
        if self._due is None or due < self._due:
            self._due = due
            self._wake.set()

    def leave_out(self, journal: str) -> None:
        """A journal that cannot be made whole: the cut that waits for it is committed without it."""
        if self._cut is not None:
            kept = {path: held for path, held in self._cut.journals.items() if path.rpartition("/")[0] != journal}
            self._cut = dataclasses.replace(self._cut, journals=kept)

    async def flush(self, timeout: float = 30.0) -> bool:
        """Commit until nothing is dirty; False where that did not come about in `timeout` seconds (held)."""
        try:
            async with asyncio.timeout(timeout):
                while True:
                    wait = await self._step()
                    if wait is None:
                        return True
                    await asyncio.sleep(wait if self._again else 0.0)
        except TimeoutError:
            return False

    async def revive(self) -> None:
        """Start the git worker again where it ended."""
        async with self._turn:
            if not self._child.alive:
                await self._respawn()

    async def close(self) -> None:
        """Stop; what is dirty stays in the log."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)  # what it raised, whoever awaits it was told
            self._task = None

    async def _run(self) -> None:
        while True:
            await self._until_due()
            self._due = None
            wait = await self._step()
            self._earliest = self._clock() + (wait or 0.0)
            if self._again:
                self._due = self._earliest

    async def _until_due(self) -> None:
        """Wait for the time that was asked for, and for a second since the last commit."""
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
        """One try. None where there was nothing to commit, else how many seconds to wait before the next.

        It goes on where whoever waits for it is cancelled (at a stop, by a timeout): what a cut was gathered from is
        in no other place than in this try, so the next commit would lack it, and the log would be cut behind it.
        """
        return await asyncio.shield(asyncio.create_task(self._try()))

    async def _try(self) -> float | None:
        async with self._turn:
            self._again, is_kept = True, self._cut is not None
            try:
                cut = self._cut = self._cut or await self._gather()
            except hold.Held as held:
                self._tell({"held": str(held), "short": []})
                return _RETRY
            except StoreFailed:  # a journal's fsync: the next would say that all is well
                raise
            except KheishError as error:  # what gathers is being started again
                self._tell({"error": error.detail})
                return _RETRY
            if cut is None:
                self._again = False
                return None
            began = self._clock()
            try:
                answer = await self._child.request("commit", **cut.frame())
            except ChildGone as gone:
                self._tell({"error": gone.detail})
                return await self._respawn()
            except StoreFailed:
                raise
            except KheishError as error:  # a full disk, say: the log has it all, so it waits
                self._tell({"error": error.detail})
                return _FAILED_RETRY
            if "held" in answer:
                self._tell(answer)
                return _RETRY
            self._cut, self._again = None, False
            if is_kept:
                self.touch(now=True)  # whoever said so since that cut was gathered was given this one instead
            self._on_committed(answer["n_to"], answer["commit"])
            if answer["put_back"] or answer.get("doubted"):
                self._tell(answer)
            return max(0.0, began + _GAP - self._clock())

    async def _respawn(self) -> float:
        if self._closed:
            return _FAILED_RETRY
        try:
            await self._child.respawn()
        except OSError as error:
            self._tell({"error": f"The git worker cannot be started: {error}"})
            return _FAILED_RETRY
        return _RETRY

    def _tell(self, answer: dict[str, Any]) -> None:
        if self._on_notice is not None:
            self._on_notice(answer)

    @staticmethod
    def _clock() -> float:
        return asyncio.get_running_loop().time()
