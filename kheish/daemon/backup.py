"""Backup: pushes of the branch, on request and at intervals, and merges of commits pushed from other clones.

One push at a time, in a child process. What went wrong is a problem until a push succeeds; nothing is ever forced.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import orjson

from kheish import ids
from kheish.authoring import sources, widening
from kheish.authoring.adopting import Adopting
from kheish.authoring.checking import Outcome
from kheish.authoring.problems import Problems
from kheish.authoring.sources import Source, is_source
from kheish.daemon.status import Facts
from kheish.domain import events, routes
from kheish.domain.definitions import Definition
from kheish.domain.routes import Route
from kheish.errors import BackupDiverged, BackupFailed, Conflict, KheishError, TakenOver
from kheish.state.state import State
from kheish.store import files, lock
from kheish.store.git import remote, restored, root_format
from kheish.store.git.remote import Target
from kheish.store.pipes import Child, unpack

log = logging.getLogger(__name__)

TICK = 1.0
TRIES = 4  # times that the remote may move between a fetch and the push after it
FLUSH = 15.0  # seconds that the newest entries get to be committed first
CODES = ("backup_failed", "backup_diverged", "taken_over")

Went = Literal["never", "pushed", "failed", "diverged", "taken_over"]


@dataclass(frozen=True, slots=True)
class Pushed:
    """The newest push that succeeded; kept in `.git/kheish/backup.json`. `n`: the newest event in it."""

    commit: str
    n: int
    at: str
    url: str


class Backup:
    """Pushes a state root. `flush(timeout)` commits what is dirty; `file(path, content, headline)` puts a file of the
    daemon into the next commit. `mark` is set while the root is a restored one that has not taken over."""

    def __init__(
        self,
        state: State,
        facts: Facts,
        problems: Problems,
        adopting: Adopting,
        git: Child,
        *,
        flush: Callable[[float], Awaitable[bool]],
        file: Callable[[str, bytes, str], None],
    ) -> None:
        self._state, self._facts, self._problems, self._adopting, self._git = state, facts, problems, adopting, git
        self._flush, self._file = flush, file
        self._turn = asyncio.Lock()
        self._path = lock.private(state.root) / "backup.json"
        self._pushed: Pushed | None = None
        self._tried: tuple[float, str] | None = None  # when, and which remote
        self._tried_at: str | None = None
        self._outcome: Went = "never"
        self._error: str | None = None
        self.mark: restored.Mark | None = None

    async def start(self) -> None:
        """Read the result of the newest push and the restore mark."""
        self._pushed = await asyncio.to_thread(_read, self._path)
        self.mark = await asyncio.to_thread(restored.read, self._state.root)
        if self.mark is not None:
            self._problems.add("restored", "", RESTORED, severity="warning")

    async def run(self) -> None:
        """Push at intervals, and at once after a start or a change of the remote."""
        while True:
            await asyncio.sleep(TICK)
            if self._is_due():
                with contextlib.suppress(BackupFailed, BackupDiverged, TakenOver):  # already reported
                    try:
                        await self.push()
                    except KheishError as error:  # such as a restart of the git worker
                        log.warning("backup: %s", error.detail)

    def view(self) -> Mapping[str, Any]:
        """Return the backup's part of `GET /v1/status`."""
        config = self._state.definitions.config.backup
        return {
            "remote": config.remote,
            "every_seconds": config.every,
            "outcome": self._outcome,
            "tried_at": self._tried_at,
            "error": self._error,
            "pushed": asdict(self._pushed) if self._pushed else None,
            "restored": self.mark is not None,
        }

    async def push(self) -> Mapping[str, Any]:
        """Push now; the view. Raises BackupFailed, BackupDiverged, TakenOver; Conflict where there is no remote, or
        this is a restored root that has not taken over."""
        name = self._remote()
        if self.mark is not None:
            raise Conflict(RESTORED)
        async with self._turn:
            await self._attempt(name)
        return self.view()

    async def take_over(self) -> None:
        """Write a new incarnation to the remote: the daemon that pushed there so far pauses. Raises as `push`."""
        name = self._state.definitions.config.backup.remote or "origin"  # as a restore calls it
        if not await remote.is_there(self._state.root, name):
            raise Conflict(f"There is nothing to take over: git has no remote {name!r} here; kheish backup add URL")
        async with self._turn:
            new = replace(self._facts.format, incarnation=ids.new("inc"))
            self._file("format.yaml", root_format.format_file(new), f"taken over: incarnation {new.incarnation}")
            if not await self._flush(FLUSH):
                raise BackupFailed(f"Nothing can be committed now: {self._facts.held or 'the commit is not made yet'}")
            self._facts.format = new
            await self._attempt(name)
            await asyncio.to_thread(restored.clear, self._state.root)
            self.mark = None
            self._problems.clear("restored")

    # --- one push -----------------------------------------------------------------------------------------------------

    def _remote(self) -> str:
        name = self._state.definitions.config.backup.remote
        if name is None:
            raise Conflict("This state root has no backup (backup.remote in kheish.yaml): kheish backup add URL")
        return name

    def _is_due(self) -> bool:
        config = self._state.definitions.config.backup
        if config.remote is None or config.every is None or self.mark is not None or self._turn.locked():
            return False
        when, name = self._tried or (0.0, None)
        return name != config.remote or time.monotonic() >= when + config.every

    async def _attempt(self, name: str) -> None:
        """Push to a remote, and record the outcome."""
        self._tried_at = ids.now()
        try:
            self._pushed = await self._push(name)
        except (BackupFailed, BackupDiverged, TakenOver) as error:
            await self._tell(error)
            raise
        finally:
            self._tried = (time.monotonic(), name)
        self._outcome, self._error = "pushed", None
        for code in CODES:
            self._problems.clear(code)
        await asyncio.to_thread(_write, self._path, self._pushed)

    async def _push(self, name: str) -> Pushed:
        root = self._state.root
        to = await remote.target(root, name)
        await self._flush(FLUSH)  # where commits are held, what there is goes all the same
        for _ in range(TRIES):
            commit = (await self._git.request("tip"))["commit"]
            if await remote.push(root, to, commit):
                held = await self._git.request("resolve", rev=commit)
                return Pushed(commit, held["n"], ids.now(), to.url)
            await remote.fetch(root, to)
            await self._join(to)
        raise BackupFailed(f"Other pushes moved the remote {name} repeatedly; the daemon retries.")

    async def _join(self, to: Target) -> None:
        """Merge the commits that others pushed. Raise BackupDiverged, TakenOver or BackupFailed."""
        known = self._pushed.commit if self._pushed else None
        is_safe = self._state.definitions.config.backup.merge == "safe"
        asked = {"theirs": to.tracking, "known": known, "is_safe": is_safe}
        plan = await self._git.request("plan", **asked)
        if plan["verdict"] == "taken_over":
            raise TakenOver(TAKEN_OVER.format(name=to.name, why=plan["why"]))
        if plan["verdict"] == "diverged":
            raise self._diverged(to, plan["why"])
        changes: dict[str, str | None] = plan["changes"]
        async with self._adopting.lock:
            wanted = {path: blob for path, blob in changes.items() if is_source(path)}
            outcome = await self._outcome_of(to, wanted)
            if wrong := _faults(outcome, wanted):
                raise BackupDiverged(INVALID.format(name=to.name, why=wrong))
            if is_safe and (led := self._led_away(outcome)):
                raise self._diverged(
                    to, f"These routes lead to new destinations; a person must review and pull them: {led}."
                )
            if is_safe and (wider := widening.widened(self._in_force(outcome), outcome.world)):
                raise self._diverged(to, WIDER.format(fields="; ".join(wider[:5])))
            done = await self._git.request("join", **asked, expected=changes, remote=to.name)
        if "held" in done:
            raise BackupFailed(f"Commits that others pushed to {to.name} cannot be merged now: {done['held']}")
        if "dirty" in done:
            raise BackupDiverged(DIRTY.format(name=to.name, paths=", ".join(done["dirty"][:5])))
        if "commit" in done:
            log.info("merged from %s: %s", to.name, ", ".join(done["paths"][:10]) or "history only")
            self._facts.commit = done["commit"]
            await self._adopting.take(frozenset(changes))

    async def _outcome_of(self, to: Target, wanted: Mapping[str, str | None]) -> Outcome:
        """Return the outcome of a check of the Definitions after the merge."""
        found: dict[str, Source | None] = dict.fromkeys(wanted)
        for path in (path for path, blob in wanted.items() if blob is not None):
            read = await self._git.request("read", rev=to.tracking, path=path)
            found[path] = sources.of(path, read["text"].encode() if "text" in read else unpack(read["content"]))
        return await self._adopting.check(found)

    def _in_force(self, outcome: Outcome) -> dict[str, Definition]:
        """Return the Definitions in force for the files of an outcome."""
        return {path: one for path in outcome.concerned if (one := self._state.definitions.at(path)) is not None}

    def _diverged(self, to: Target, why: str) -> BackupDiverged:
        branch = to.ref.removeprefix("refs/heads/")
        return BackupDiverged(DIVERGED.format(name=to.name, why=why, root=self._state.root, branch=branch))

    def _led_away(self, outcome: Outcome) -> str:
        """Return the routes that would send prompts or a credential to a new destination; empty if there are none."""
        known = {routes.destination(route) for route in self._state.definitions.routes.values()}
        found = [path for path, one in outcome.world.items()
                 if isinstance(one.value, Route) and routes.destination(one.value) not in (None, *known)]  # fmt: skip
        return ", ".join(sorted(found)[:5])

    async def _tell(self, error: KheishError) -> None:
        """Report one problem at a time; pause the daemon if another one took over."""
        is_new = error.detail != self._error
        self._outcome = "failed"
        self._error = error.detail
        if isinstance(error, BackupDiverged):
            self._outcome = "diverged"
        elif isinstance(error, TakenOver):
            self._outcome = "taken_over"
            if None not in self._state.paused:
                self._state.paused.add(None)
                self._state.append(events.DaemonPaused(route=None).on())
                await self._state.durable()
        if is_new:
            log.error("backup: %s", error.detail)
        for code in CODES:
            if code != error.code:
                self._problems.clear(code)
        self._problems.add(error.code, "", error.detail)


RESTORED = (
    "This state root was restored from a backup: it started paused, and pushes nothing. `kheish resume` lets it act; "
    "`kheish resume --takeover` also takes over the remote, and the old daemon pauses itself at its next push."
)
TAKEN_OVER = (
    "Another daemon has taken over the remote {name}, and this one has paused itself. {why} Stop this daemon, and set "
    "its folder aside. Only if the takeover was a mistake: push to another remote (git remote set-url {name} URL), "
    "then `kheish resume`."
)
DIVERGED = (
    "The remote {name} has changes that cannot be merged automatically. {why} Nothing was pushed. Merge changes of "
    "your own files by hand: git -C {root} pull --no-rebase {name} {branch}; then `kheish backup push`. If another "
    "daemon has pushed there, give this root a remote of its own (git remote set-url {name} URL), or serve a fresh "
    "restore instead."
)
WIDER = "It lets agents do or spend more; a person must review and pull it: {fields}."
INVALID = (
    "The remote {name} has an edit that is not valid, so it was not merged, and nothing was pushed: {why}. Fix it "
    "there and push it, then `kheish backup push`."
)
DIRTY = (
    "The remote {name} has changes in files that have uncommitted changes here: {paths}. Nothing was pushed. Commit or "
    "undo them, then `kheish backup push`."
)


def _faults(outcome: Outcome, wanted: Mapping[str, str | None]) -> str:
    """Return the errors in the merged Definitions; empty if there are none."""
    faults = [(path, one) for path in wanted for one in outcome.errors(path)]
    wrong = [f"{path}:{one.line or 1}:{one.column or 1}: {one.message}" for path, one in faults]
    wrong += [f"{path} is removed there, but still referenced here" for path, blob in wanted.items()
              if blob is None and path in outcome.world]  # fmt: skip
    return "; ".join(wrong[:5])


def _read(path: Path) -> Pushed | None:
    try:
        return Pushed(**orjson.loads(path.read_bytes()))
    except (FileNotFoundError, orjson.JSONDecodeError, TypeError):
        return None


def _write(path: Path, pushed: Pushed) -> None:
    files.atomic_write(path, orjson.dumps(asdict(pushed)), fsync=False)
