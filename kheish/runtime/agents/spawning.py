"""The spawn of a child: what it needs from disk and index first, then one synchronous decision."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kheish.beneath import pool
from kheish.domain import keys, workspaces
from kheish.domain.agents import narrowing, spawn
from kheish.domain.agents.agent import Agent, of_session
from kheish.domain.agents.spawn import Child, Spawn
from kheish.domain.events import Draft, changed
from kheish.domain.events.agents import Worktree
from kheish.domain.runs import Run, Status
from kheish.domain.sessions.session import Session
from kheish.errors import Fault, Invalid, KheishError
from kheish.runtime.agents import contexts, files
from kheish.runtime.agents.worktrees import Worktrees
from kheish.state.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request for a child before its files are read. `cwd` is a folder, relative to the parent's workspace."""

    spawn: Spawn
    cwd: str | None = None
    context: str | None = None


async def prepared(state: State, parent_session: str, request: Request) -> Spawn:
    """Return a request with its agent file, and its folder as a real path. The parent's session is loaded.

    Raises NotFound, Invalid, AgentExists.
    """
    parent, wanted = of_session(state, parent_session), request.spawn
    folder = state.get(Session, parent_session).settings["workspace"] or ""
    if wanted.agent is not None:
        file, snapshot = await files.find(state, folder, wanted.agent)
        wanted = changed(wanted, file=file, snapshot=snapshot)
    if request.cwd is not None:
        real = await pool.run(workspaces.door_of(state, folder), _real_folder, Path(folder) / request.cwd)
        if real is None:
            raise Invalid("/cwd: is no folder of the parent's workspace.", errors=[Fault("/cwd", "is no folder")])
        wanted = changed(wanted, workspace=real)
    await _check_sibling(state, parent, wanted)
    return wanted


def _real_folder(path: Path) -> str | None:
    """Return the real path of a folder, if there is one."""
    with suppress(OSError, ValueError):  # a name that is too long, or that no file can have
        real = Path(os.path.realpath(path))
        return str(real) if real.is_dir() else None
    return None


async def _check_sibling(state: State, parent: Agent, wanted: Spawn) -> None:
    """Raise AgentExists if a settled sibling has the name."""
    if wanted.key is not None and wanted.key.result is not None:
        return
    if parent.children == len(parent.live):
        return  # none has settled: their names are in memory
    await state.caught_up()
    fields = {"parent": parent.agent_id, "path": f"{parent.path}/{wanted.name}"}
    page = await asyncio.to_thread(state.index.things, "agent", limit=1, fields=fields)
    if page.items:
        raise spawn.taken(parent.agent_id, wanted.name)


def run_of(state: State, agent: Agent) -> Run | None:
    """Return the run on whose behalf a caller spawns: the one that has the slot of the agent's session."""
    active = state.get(Session, agent.session_id).active
    return state.find(Run, active) if active is not None else None


def _current(state: State, agent: Agent, run: Run | None) -> Run | None:
    """Return a run as it is now. If it has ended since a caller's request began, without being stopped, return the run
    that has the slot now."""
    run = state.find(Run, run.run_id) if run is not None else None
    ended_by_itself = run is not None and run.status in (Status.COMPLETED, Status.FAILED)
    return run_of(state, agent) if ended_by_itself else run


async def planned(state: State, parent_session: str, run: Run | None, request: Request) -> Child:
    """Return the child that may be spawned; nothing changes. Width is checked before all else.

    Raises ScopeTooWide, SpawnQuota, AgentExists, AgentStateConflict, RunStateConflict, NotFound, Invalid.
    """
    parent, wanted = of_session(state, parent_session), request.spawn
    if request.cwd is not None:
        folder = state.get(Session, parent_session).settings["workspace"] or ""
        wanted = changed(wanted, workspace=os.path.normpath(Path(folder) / request.cwd))
    spawn.check_width(state, narrowing.rights(state, parent, run), wanted)
    wanted = await prepared(state, parent_session, request)
    parent = of_session(state, parent_session)
    return spawn.plan(state, parent, _current(state, parent, run), wanted)


async def spawned(
    state: State, parent_session: str, run: Run | None, request: Request, trees: Worktrees | None
) -> tuple[Child, list[Draft]]:
    """Return a child and the group that creates it, to be appended before the next await. Raises as `planned`, and as
    `intake.submit`."""
    child = await planned(state, parent_session, run, request)
    context = request.context or (child.wanted.file.context if child.wanted.file is not None else None) or "none"
    tree: Worktree | None = None
    if child.isolation == "worktree":
        if trees is None:
            raise Invalid("Worktrees are not possible here.", errors=[Fault("/isolation", "is not possible here")])
        tree = await trees.make(child.settings["workspace"], child.agent_id, child.wanted.name, child.wanted.finish)
    try:
        path, carried = state.place_session(child.session_id), None
        if context != "none":
            carried = await contexts.carried(state, parent_session, child.session_id, path, context)
        if tree is None and carried is None:
            return child, spawn.drafts(state, child)
        run = _current(state, of_session(state, parent_session), run)
        spawn.plan(state, of_session(state, parent_session), run, child.wanted)  # others may have spawned meanwhile
        opening, conversation = carried if carried is not None else (None, None)
        child = changed(child, parent=of_session(state, parent_session), run=run)
        group = spawn.drafts(state, child, worktree=tree, opening=opening)
        if conversation is not None:
            contexts.adopt(state, child.session_id, path, conversation)
        return child, group
    except KheishError:
        if tree is not None and trees is not None:
            await trees.discard(tree)
        raise


def key_of(parent: str, request_id: str | None, request: Mapping[str, Any]) -> Any:
    """Return the idempotency key of a spawn; the same request id gives the same child."""
    return keys.of(f"agents/{parent}/sidechains", request_id, request)
