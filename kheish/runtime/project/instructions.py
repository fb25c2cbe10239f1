"""Project instructions: the AGENTS.md of each folder from the top of the repository down to the workspace."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kheish.beneath import Door, files, names as shown_names, pool
from kheish.beneath.door import opened
from kheish.domain import conventions, workspaces
from kheish.domain.instructions import PROJECT_FILES
from kheish.domain.permissions import decide as permissions, rules as permission_rules
from kheish.domain.permissions.rules import SandboxFacts, ToolCall
from kheish.domain.runs import Run
from kheish.domain.sessions.session import Session
from kheish.errors import NotBeneath, WorkspaceSlow
from kheish.runtime.project import folders
from kheish.runtime.project.folders import Folders
from kheish.state.state import State

BYTES = 32 * 1024  # of all files together
_SECONDS = 5.0
_CUT = "\n[… the rest is left out: project instructions have {} KiB at most]"


@dataclass(frozen=True, slots=True)
class Instructions:
    """The text of all files, and their paths as they are seen from the workspace."""

    text: str
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """A file: the name in its folder, its path from the workspace, and where it was found if it is a link."""

    name: str
    shown: str
    real: str
    raw: bytes


async def read(state: State, run: Run) -> Instructions | None:
    """Return the instructions for a run; None if there are none that may be read, or their folder does not respond.

    A rule that denies reading a file applies here too; if the file is a link, so does a rule that asks.
    """
    door = workspaces.door_of(state, run.settings.workspace)
    try:
        parts = await pool.within(_SECONDS, door, _read, door)
    except (NotBeneath, WorkspaceSlow):
        return None
    session = state.get(Session, run.session_id)
    scopes = permission_rules.scopes(state.definitions.permissions, session.settings["permission_rules"])
    return _joined([part for part in parts if _may_be_read(part, scopes, door)])


def _read(door: Door) -> list[_Part]:
    """Return the file of each folder, the nearest last. The workspace's own errors are its caller's."""
    around = folders.find(door)
    names = {folder: _names(around, folder) for folder in around.paths}
    if not any(names.values()):  # most workspaces have none, and each turn looks for them
        return []
    parts = []
    with opened(around.door) as root:
        for folder in around.paths:
            pool.check()
            for name in names[folder]:
                path = _path(folder, name)
                try:
                    with files.open_file(root, path) as (file, real):
                        if ".git" in real.split("/"):  # git's own files have URLs with passwords
                            continue
                        parts.append(
                            _Part(name, around.shown(path), _real(around, folder, path, real), file.read(BYTES + 1))
                        )
                        break
                except (NotBeneath, OSError):
                    continue
    return parts


def _names(around: Folders, folder: str) -> list[str]:
    """Return the names of the files that a folder seems to have, by a glance that opens nothing."""
    top = os.fspath(around.door.path)
    return [name for name in PROJECT_FILES if os.path.lexists(f"{top}/{shown_names.meant(_path(folder, name))}")]


def _path(folder: str, name: str) -> str:
    return name if folder == "." else f"{folder}/{name}"


def _real(around: Folders, folder: str, path: str, real: str) -> str:
    """Return where a file was found, as rules judge it: from the workspace, or from the file's own folder above it."""
    inside = around.paths[-1]
    base = inside if folder == inside or real.startswith(f"{inside}/") else folder
    return real if base == "." else real.removeprefix(f"{base}/")


def _may_be_read(part: _Part, scopes: permission_rules.Scopes, door: Door) -> bool:
    verdict = permissions.decide(
        ToolCall(tool="read_file", effect="read", arguments={"path": part.name}, resolved=(part.real,)),
        mode="default",
        scopes=scopes,
        sandbox=SandboxFacts(mode="off", available=True),
        workspace=door.path,
    )
    closed = ("deny",) if part.real == part.name else ("deny", "ask")
    return verdict.decision not in closed


def _joined(parts: Sequence[_Part]) -> Instructions | None:
    """Return the texts, the nearest last. If they are too long together, those farther away are cut."""
    kept = list(_within_limit(parts))[::-1]
    if not kept:
        return None
    if len(kept) == 1:
        return Instructions(kept[0][1], (kept[0][0].shown,))
    text = "\n\n".join(f"From {part.shown}:\n\n{text}" for part, text in kept)
    return Instructions(text, tuple(part.shown for part, _ in kept))


def _within_limit(parts: Sequence[_Part]) -> Iterator[tuple[_Part, str]]:
    """Yield the files that have room with their texts, the nearest first."""
    room = BYTES
    for part in reversed(parts):
        raw = part.raw.removeprefix(conventions.BOM)
        text = raw[:room].decode("utf-8", "replace").strip()
        if len(raw.rstrip()) > room:
            yield part, f"{text}{_CUT.format(BYTES // 1024)}".strip()
            return
        if text:
            yield part, text
        room = max(0, room - len(raw))
