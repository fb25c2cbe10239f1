"""The carrying of workspaces: to a worker before the first step of a run, and back before its answer counts.

Between runs the workspace here is the one that counts. Runs of the same workspace on the same worker share a folder
there, as they would share it here. What changed there otherwise, by a run that was stopped or by a command in the
background, comes back when that run has ended, and before the next run. Copies that no session needs are removed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from kheish import ids
from kheish.domain import events, runs
from kheish.domain.runs import Run
from kheish.domain.workers.definition import WorkerFile
from kheish.errors import KheishError, NotFound, WorkerProtocolError
from kheish.runtime.workers import copies, returning
from kheish.runtime.workers.connection import Connection
from kheish.runtime.workers.copies import Confine, Copy
from kheish.runtime.workers.depot import Depot
from kheish.runtime.workers.pool import Workers
from kheish.runtime.workers.returning import Returned
from kheish.state.state import State
from kheish.store.files import remove_tree

log = logging.getLogger(__name__)

_SHOWN = 100  # paths in an event
_MOST = 10_000  # copies of a worker, and runs that hold one
#: seconds without a run after which a copy is removed: the next run makes it again
_UNUSED = 30 * 86400.0


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
            ended = [one for one in _holders(found) if one == run.run_id or await self._has_ended(one)]
            if run.run_id not in ended and len(ended) == len(_holders(found)) and await self._has_rest(copy, found):
                done = await self._take(copy, link, run.run_id, None)
                self._report(run.session_id, run.run_id, run.worker, copy, *done)
            commit, tip = await copy.snapshot(self._confine, run.run_id), found["tip"]
            placed = await copy.send(link, commit, str(tip) if tip else None, run.run_id, ended)
            await asyncio.to_thread(copy.release, [one for one in ended if one != run.run_id])
        placing = events.RunWorkspacePlaced(worker=run.worker, folder=str(placed["folder"]), base=str(placed["base"]))
        self._state.append(placing.on(run.session_id, run.run_id))
        await self._state.durable()

    async def give_back(self, run: Run) -> None:
        """Write what a run changed on its worker into its workspace here, and journal it. Raises KheishError."""
        if run.placed is None:
            return
        link, copy = self._workers.link(run.placed.worker), self._copy(run.placed.worker, run.settings.workspace)
        async with self._locks[run.placed.worker, run.settings.workspace]:
            done = await self._take(copy, link, run.run_id, run.run_id)
            self._report(run.session_id, run.run_id, run.placed.worker, copy, *done)

    async def settle(self, worker: str, run_id: str) -> None:
        """Bring back what an ended run changed, when its worker answers; a run that gave it back changes nothing.
        Raises KheishError."""
        doc = await self._state.recall(Run, run_id)
        if doc is not None:
            workspace = str(doc["settings"]["workspace"])
            async with self._locks[worker, workspace]:
                await self._settle(self._workers.link(worker), self._copy(worker, workspace), run_id)

    async def _settle(self, link: Connection, copy: Copy, run_id: str) -> None:
        """Take what an ended run left, if it holds the copy, and journal it in its session if that exists."""
        found = await copy.step(link, "open")
        is_open = run_id in _holders(found) and await asyncio.to_thread(copy.expects, run_id)
        if not is_open or not await self._has_rest(copy, found):
            return
        done = await self._take(copy, link, run_id, run_id)
        if (doc := await self._state.recall(Run, run_id)) is None:
            return
        try:
            async with self._state.using(doc["session_id"]):
                self._report(doc["session_id"], run_id, link.worker, copy, *done)
        except NotFound:
            log.info("%s: the result of %s was written, and its session is deleted", copy.workspace, run_id)

    async def _has_rest(self, copy: Copy, found: Mapping[str, Any]) -> bool:
        """Return whether the worker's folder can be compared with what both sides had last."""
        return found.get("is_there") is True and await copy.knows(found["tip"])

    async def tidy(self, worker: str) -> set[str]:
        """Bring back what ended runs left on a worker, and remove the copies that no session needs, or that no run used
        for long. Return the runs that hold a copy and have not ended. Raises KheishError."""
        link, live = self._workers.link(worker), set[str]()
        listed = (await link.ask("workspace", {"step": "list", "key": "all"})).get("copies")
        if not isinstance(listed, list) or len(listed) > _MOST or not all(isinstance(one, Mapping) for one in listed):
            raise WorkerProtocolError("The worker's list of workspaces is not understood.")
        for one in listed:
            try:
                live.update(await self._tidy(link, str(one["key"]), one))
            except (KheishError, KeyError, TypeError, ValueError, OSError) as error:
                log.warning("worker %s: the copy %s cannot be tidied: %s", worker, one.get("key"), error)
        return live

    async def _tidy(self, link: Connection, key: str, one: Mapping[str, Any]) -> Sequence[str]:
        holders = _holders(one)
        if live := [run for run in holders if not await self._has_ended(run)]:
            return live
        noted = await asyncio.to_thread(copies.noted, self._folder / f"{ids.check_slug(key)}-{link.worker}.git")
        if noted is not None and key == _key(workspace := noted[0]):
            for run in holders:
                await self.settle(link.worker, run)
            if time.time() - noted[1] > _UNUSED or not await self._is_used(workspace):
                await self._drop(link, workspace, holders)
        elif float(one["idle"]) > _UNUSED:  # of a daemon that has lost its depots
            await link.ask("workspace", {"step": "drop", "key": key, "ended": holders})
        return ()

    async def _drop(self, link: Connection, workspace: str, ended: Sequence[str]) -> None:
        """Remove the copy of a workspace, after what commands in the background changed there came back."""
        copy = self._copy(link.worker, workspace)
        async with self._locks[link.worker, workspace]:
            found = await copy.step(link, "open")
            if await asyncio.to_thread(copy.expects) and await self._has_rest(copy, found):
                await self._take(copy, link, "last", None)
            await copy.drop(link, ended)

    async def _is_used(self, workspace: str) -> bool:
        """Return whether a session that has not ended has a workspace."""
        await self._state.caught_up()
        found = await asyncio.to_thread(
            self._state.index.things, "session", limit=1, statuses=("idle", "busy"), fields={"workspace": workspace}
        )
        return bool(found.items)

    async def prune(self) -> None:
        """Remove the depots here that no run used for long, and whose workspace no session has. Until then, users can
        fetch the results of ended sessions."""
        for path in await asyncio.to_thread(lambda: list(self._folder.glob("ws-*.git"))):
            noted = await asyncio.to_thread(copies.noted, path)
            if noted is not None and time.time() - noted[1] > _UNUSED and not await self._is_used(noted[0]):
                await asyncio.to_thread(remove_tree, path)

    def _report(
        self, session_id: str, run_id: str, worker: str, copy: Copy, base: str, commit: str, ref: str, done: Returned
    ) -> None:
        """Journal what came back, if anything did."""
        if commit == base:
            return
        back = events.RunWorkspaceReturned(
            worker=worker, base=base, commit=commit, files=len(done.written),
            paths=tuple(done.written[:_SHOWN]), conflicts=tuple(done.conflicts[:_SHOWN]),
            refused=dict(list(done.refused.items())[:_SHOWN]), repository=str(copy.depot.path), ref=ref,
        )  # fmt: skip
        self._state.append(back.on(session_id, run_id))

    async def _take(
        self, copy: Copy, link: Connection, run_id: str, holder: str | None
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
        if holder is not None:
            await asyncio.to_thread(copy.release, [holder])
        return base, commit, ref, done

    async def _has_ended(self, run_id: str) -> bool:
        doc = await self._state.recall(Run, run_id)
        return doc is None or doc["status"] in runs.FINAL

    def _copy(self, worker: str, workspace: str) -> Copy:
        key = _key(workspace)
        return Copy(Depot(self._folder / f"{key}-{worker}.git"), key, Path(workspace))


def _key(workspace: str) -> str:
    """Return the name of a workspace on its workers."""
    return f"ws-{sha256(workspace.encode()).hexdigest()[:24]}"


def _holders(found: Mapping[str, Any]) -> list[str]:
    """Return the runs that hold a copy, as the worker says. Raises WorkerProtocolError."""
    holders = [str(one) for one in found["holders"]]
    if len(holders) > _MOST or not all(map(ids.is_slug, holders)):
        raise WorkerProtocolError("The worker's list of runs is not understood.")
    return holders
