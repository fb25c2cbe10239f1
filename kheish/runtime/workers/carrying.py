"""The carrying of workspaces: to a worker before the first step of a run, and back before its answer counts.

Between runs the workspace here is the one that counts. Runs of the same workspace on the same worker share a folder
there, as they would share it here.
"""

from __future__ import annotations

import asyncio
import logging
from base64 import b64decode, b64encode
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from kheish.beneath import Door, files, pool
from kheish.domain import events, runs, workspaces
from kheish.domain.runs import Run
from kheish.domain.workers.definition import WorkerFile
from kheish.errors import KheishError, NotBeneath, NotThere, WorkerProtocolError
from kheish.runtime.workers import returning
from kheish.runtime.workers.connection import Connection
from kheish.runtime.workers.depot import MOST_PACK, Depot
from kheish.runtime.workers.pool import Workers
from kheish.runtime.workers.returning import Returned
from kheish.state.state import State

log = logging.getLogger(__name__)

_PART = 4 * 1024 * 1024
_SHOWN = 100  # paths in an event
_EXCLUDED = 64 * 1024
#: how a git command that reads the workspace is confined: the workspace, the depot, the command line
Confine = Callable[[Path, Path, Sequence[str | Path]], Sequence[str | Path]]


class Carrying:
    """The workspaces of a daemon that are copied to workers. Its depots are in `folder`."""

    def __init__(self, state: State, workers: Workers, folder: Path, confine: Confine) -> None:
        self._state = state
        self._workers = workers
        self._folder = folder
        self._confine = confine
        self._locks: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

    def is_copied(self, run: Run) -> bool:
        """Return whether the workspace of a run is copied to its worker; else both share the file system."""
        if run.worker is None:
            return False
        found = self._state.definitions.by_kind["workers"].get(run.worker)
        file: WorkerFile | None = found.value if found is not None else None
        return run.placed is not None or file is None or file.workspace == "git"

    async def bring(self, run: Run) -> None:
        """Bring the workspace of a run to its worker, once. Raises KheishError."""
        if run.placed is not None or not self.is_copied(run):
            return
        assert run.worker is not None
        link, copy = self._workers.link(run.worker), self._copy(run.worker, run.settings.workspace)
        async with self._locks[run.worker, run.settings.workspace]:
            found = await copy.step(link, "open")
            holders = [str(one) for one in found["holders"]]
            ended = [one for one in holders if one == run.run_id or await self._has_ended(one)]
            if holders and len(ended) == len(holders) and run.run_id not in holders and await copy.knows(found["tip"]):
                self._report(run, copy, *await self._take(copy, link, run.run_id, None))  # of a run that was stopped
            commit, tip = await copy.snapshot(self._confine), found["tip"]
            placed = await copy.send(link, commit, str(tip) if tip else None, run.run_id, ended)
        placing = events.RunWorkspacePlaced(worker=run.worker, folder=str(placed["folder"]), base=str(placed["base"]))
        self._state.append(placing.on(run.session_id, run.run_id))
        await self._state.durable()

    async def give_back(self, run: Run) -> None:
        """Write what a run changed on its worker into its workspace here, and journal it. Raises KheishError."""
        if run.placed is None:
            return
        link, copy = self._workers.link(run.placed.worker), self._copy(run.placed.worker, run.settings.workspace)
        async with self._locks[run.placed.worker, run.settings.workspace]:
            self._report(run, copy, *await self._take(copy, link, run.run_id, run.run_id))

    def _report(self, run: Run, copy: _Copy, base: str, commit: str, ref: str, done: Returned) -> None:
        """Journal what came back, if anything did."""
        if commit == base:
            return
        assert run.worker is not None
        back = events.RunWorkspaceReturned(
            worker=run.worker, base=base, commit=commit, files=len(done.written),
            paths=tuple(done.written[:_SHOWN]), conflicts=tuple(done.conflicts[:_SHOWN]),
            refused=dict(list(done.refused.items())[:_SHOWN]), repository=str(copy.depot.path), ref=ref,
        )  # fmt: skip
        self._state.append(back.on(run.session_id, run.run_id))

    async def _take(
        self, copy: _Copy, link: Connection, run_id: str, holder: str | None
    ) -> tuple[str, str, str, Returned]:
        """Fetch the result, keep it as the run's, write it, and let the folder go that `holder` has."""
        found = await copy.step(link, "result")
        base, commit = str(found["tip"]), str(found["commit"])
        done, ref = Returned(), ""
        if commit != base:
            await copy.fetch(link, found)
            ref = await asyncio.to_thread(copy.depot.keep_result, run_id, commit)
            done = await asyncio.to_thread(returning.apply, copy.depot, copy.door(self._state), base, commit)
            if done.conflicts or done.refused:
                log.warning(
                    "%s: %d files of the worker's result were changed here as well, and %d refused; the result is the "
                    "commit %s in %s", copy.workspace, len(done.conflicts), len(done.refused), commit, copy.depot.path,
                )  # fmt: skip
        await copy.step(link, "settle", commit=commit, pack=found["pack"], run=holder)
        return base, commit, ref, done

    async def _has_ended(self, run_id: str) -> bool:
        doc = await self._state.recall(Run, run_id)
        return doc is None or doc["status"] in runs.FINAL

    def _copy(self, worker: str, workspace: str) -> _Copy:
        key = f"ws-{sha256(workspace.encode()).hexdigest()[:24]}"
        return _Copy(Depot(self._folder / f"{key}-{worker}.git"), key, Path(workspace))


class _Copy:
    """One workspace with its depot here, and the steps of its way to one worker."""

    def __init__(self, depot: Depot, key: str, workspace: Path) -> None:
        self.depot, self.key, self.workspace = depot, key, workspace

    def door(self, state: State) -> Door:
        return workspaces.door_of(state, self.workspace)

    async def step(self, link: Connection, step: str, **args: Any) -> Mapping[str, Any]:
        """Run a step on the worker; all may be repeated after a lost connection."""
        try:
            return await link.ask("workspace", {"step": step, "key": self.key, **args})
        except (KeyError, TypeError, ValueError) as error:
            raise WorkerProtocolError("The worker's answer about a workspace is not understood.") from error

    async def knows(self, tip: Any) -> bool:
        """Return whether the depot here has the worker's tip: it may have been restored without it."""
        return isinstance(tip, str) and await asyncio.to_thread(self.depot.has, tip)

    async def snapshot(self, confine: Confine) -> str:
        """Return the commit of the workspace as it is now."""
        excluded = await pool.run(Door(self.workspace), _excluded, Door(self.workspace))

        def make() -> str:
            self.depot.ensure(excluded)
            tip = self.depot.kept("tip")
            return self.depot.snapshot(self.workspace, tip, lambda argv: confine(self.workspace, self.depot.path, argv))

        return await asyncio.to_thread(make)

    async def send(
        self, link: Connection, commit: str, tip: str | None, run_id: str, ended: Sequence[str]
    ) -> Mapping[str, Any]:
        """Send what the worker lacks of a commit, and place it there."""
        known = tip if await self.knows(tip) else None
        name: str | None = None
        if commit != known:
            pack = await asyncio.to_thread(self.depot.pack, commit, known)
            try:
                name = await self._upload(link, pack)
            finally:
                await asyncio.to_thread(pack.unlink, missing_ok=True)
        placed = await self.step(link, "place", commit=commit, pack=name, run=run_id, ended=list(ended))
        await asyncio.to_thread(self.depot.keep, "tip", str(placed["base"]))
        return placed

    async def _upload(self, link: Connection, pack: Path) -> str:
        name, offset = f"{pack.stem}.pack", 0
        with await asyncio.to_thread(pack.open, "rb") as file:
            while data := await asyncio.to_thread(file.read, _PART):
                await self.step(link, "put", pack=name, offset=offset, bytes=b64encode(data).decode())
                offset += len(data)
        return name

    async def fetch(self, link: Connection, found: Mapping[str, Any]) -> None:
        """Fetch a result into the depot. The commit is made here, and must be the one that the worker named."""
        size = int(found["bytes"])
        if size > MOST_PACK:
            raise KheishError(f"The result of the worker is too large: {size} bytes; at most {MOST_PACK} are taken.")
        arriving = await asyncio.to_thread(self.depot.incoming)
        with await asyncio.to_thread(arriving.open, "wb") as file:
            while (offset := file.tell()) < size:
                part = await self.step(link, "get", pack=found["pack"], offset=offset)
                data = b64decode(str(part["bytes"]), validate=True)
                if not data or offset + len(data) > size:
                    raise WorkerProtocolError("The worker sent another pack than it announced.")
                await asyncio.to_thread(file.write, data)
        await asyncio.to_thread(self.depot.take, arriving)
        made = await asyncio.to_thread(self.depot.commit, str(found["tree"]), str(found["tip"]))
        if made != found["commit"]:
            raise WorkerProtocolError("The worker's result is not the commit that it named.")
        await asyncio.to_thread(self.depot.keep, "tip", made)


def _excluded(where: Door) -> bytes:
    """Return the patterns of the workspace's own repository that leave files out."""
    try:
        return files.read(where, ".git/info/exclude", _EXCLUDED)
    except (NotBeneath, NotThere, OSError):
        return b""
