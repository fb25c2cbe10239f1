"""The targets of a call's paths, on the machine that has its workspace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kheish.beneath import Door, targets, walk
from kheish.beneath.door import opened
from kheish.domain import workspaces
from kheish.domain.permissions import grant as permission_grant, match as permission_match, shell as permission_shell
from kheish.domain.permissions.rules import SHELL_TOOLS, ToolCall
from kheish.domain.runs import Run
from kheish.errors import NotBeneath
from kheish.runtime import places
from kheish.state.state import State

#: beginnings of the paths of `read_file` that lie in no workspace
APART = ("skill:", "asset:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """A workspace and its machine. `run` waits for the worker, if one is lost; None: a question of a user."""

    state: State
    workspace: Path
    worker: str | None = None
    session_id: str | None = None
    run_id: str | None = None

    @property
    def door(self) -> Door:
        """The access to the workspace on this machine."""
        return workspaces.door_of(self.state, self.workspace)


def where(state: State, run: Run) -> Where:
    """Return where the tools of a run act."""
    return Where(
        state=state,
        workspace=Path(run.workspace),
        worker=run.worker,
        session_id=run.session_id,
        run_id=run.run_id,
    )


def located(door: Door, call: ToolCall) -> tuple[ToolCall, Mapping[str, str]]:
    """Return the call with its resolved paths and folders, and the paths that resolve elsewhere than written. Opens the
    workspace: call it in a thread of the pool."""
    if call.tool in SHELL_TOOLS:
        folders = places.look_up(door.path, permission_grant.folders(call))
        return replace(call, resolved=tuple(_redirected(door, call.arguments)), places=folders), {}
    paths = [path for path in permission_match.paths_of(call.tool, call.arguments) if isinstance(path, str)]
    own = [path for path in paths if path.startswith(APART)] if call.tool == "read_file" else []
    if own:  # a skill's file or an asset, which lie in no workspace: rules judge the path as it is written
        return replace(call, resolved=tuple(own)), {}
    leads = _leads(door, paths) if paths else {}
    moved = {path: place for path, place in leads.items() if place not in (path, permission_match.NOWHERE)}
    return replace(call, resolved=tuple(leads.values())), moved


def _redirected(door: Door, raw: Mapping[str, Any]) -> Iterator[str]:
    """Yield the display form of each redirection target of a command line."""
    folder = str(raw.get("workdir") or ".")
    for redirect in permission_shell.read(str(raw.get("command", ""))).redirections:
        target = targets.resolve_target(door, redirect.target or "", folder)
        known = target.names if redirect.target is not None and target.refused is None else None
        yield permission_match.NOWHERE if known is None else "/".join(known) or "."


def _leads(door: Door, paths: Sequence[str]) -> dict[str, str]:
    leads = {}
    try:
        with opened(door) as root:
            for path in paths:
                try:
                    leads[path] = walk.resolved(root, path)
                except NotBeneath:  # the target is missing or outside: the tool will report it
                    leads[path] = permission_match.NOWHERE
    except NotBeneath:
        return {}
    return leads
