"""A copied workspace as the daemon has it: its depot here, and the steps of its way to one worker and back."""

from __future__ import annotations

import asyncio
import os
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kheish.beneath import Door, files, pool
from kheish.domain import workspaces
from kheish.errors import KheishError, NotBeneath, NotThere, WorkerProtocolError
from kheish.runtime.workers.connection import Connection
from kheish.runtime.workers.depot import MOST_PACK, Depot
from kheish.state.state import State
from kheish.store.files import remove_tree

_PART = 4 * 1024 * 1024
_EXCLUDED = 64 * 1024
#: the file of a depot here that names its workspace; a run writes it anew, so that its time is that of the last use
_NOTE = "workspace"
#: its folder with a file for each run that was brought, and gave nothing back yet
_BROUGHT = "brought"
#: how a git command that reads the workspace is confined: the workspace, the depot, the command line
Confine = Callable[[Path, Path, Sequence[str | Path]], Sequence[str | Path]]


def noted(depot: Path) -> tuple[str, float] | None:
    """Return the workspace of a depot here, and the time of its last use; None if no run has used it. Blocks on
    disk."""
    try:
        return os.fsdecode((depot / _NOTE).read_bytes()), (depot / _NOTE).stat().st_mtime
    except OSError:
        return None


class Copy:
    """One workspace with its depot here, and the steps of its way to one worker."""

    def __init__(self, depot: Depot, key: str, workspace: Path) -> None:
        self.depot, self.key, self.workspace = depot, key, workspace

    def expects(self, run_id: str | None = None) -> bool:
        """Return whether a run was brought to the worker and gave nothing back yet; without one, whether any was
        brought since the copy was removed. A worker that names other runs is not believed. Blocks on disk."""
        return (self.depot.path / _BROUGHT / (run_id or "")).exists()

    def release(self, run_ids: Iterable[str]) -> None:
        """Expect nothing of runs any more. Blocks on disk."""
        for run_id in run_ids:
            (self.depot.path / _BROUGHT / run_id).unlink(missing_ok=True)

    async def drop(self, link: Connection, ended: Sequence[str]) -> None:
        """Remove the copy on the worker, from which nothing is expected then."""
        await self.step(link, "drop", ended=list(ended))
        await asyncio.to_thread(remove_tree, self.depot.path / _BROUGHT)

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

    async def snapshot(self, confine: Confine, run_id: str) -> str:
        """Return the commit of the workspace as it is now, for a run that it is brought for."""
        excluded = await pool.run(Door(self.workspace), _excluded, Door(self.workspace))

        def make() -> str:
            self.depot.ensure(excluded)
            (self.depot.path / _NOTE).write_bytes(os.fsencode(self.workspace))
            (self.depot.path / _BROUGHT).mkdir(exist_ok=True)
            (self.depot.path / _BROUGHT / run_id).touch()
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
