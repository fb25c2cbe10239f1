"""Workspaces: the folders that sessions may use, and the door to their content.

A workspace never overlaps with the daemon's private folders: its state root, another daemon's, the folder of keys.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from kheish.beneath import Door, Hidden, door, globs
from kheish.errors import WorkspaceNotAllowed

if TYPE_CHECKING:
    from kheish.state.state import State

#: the depth to which a folder is searched for another daemon's state root
_LEVELS, _ENTRIES, _SECONDS = 3, 20_000, 2.0
#: exposes the environment, the memory and the open files of the daemon
_KERNEL = Path("/proc")


def door_of(state: State, workspace: str | Path, judged: Mapping[str, str] | None = None) -> Door:
    """Return the door to a workspace, with the daemon's hidden folders."""
    return Door(Path(workspace), state.hidden, judged)


def check(hidden: Hidden, workspace: Path) -> Path:
    """Return the real path of a workspace.

    Blocks on disk. Raises WorkspaceNotAllowed for a path that is not a folder, or that overlaps with a folder that the
    daemon hides or with the state root of any daemon.
    """
    if not workspace.is_absolute() or "\0" in str(workspace):
        raise WorkspaceNotAllowed(f"The workspace {str(workspace)!r} is not an absolute path.")
    try:
        real = Path(os.path.realpath(workspace))
        is_folder = real.is_dir()  # raises for a name that is too long
    except OSError as error:
        raise WorkspaceNotAllowed(f"The workspace {str(workspace)!r} cannot be read: {error.strerror}.") from None
    if _KERNEL in (real, *real.parents):  # the environment of this process has its credentials
        raise _overlapping(workspace, _KERNEL)
    if not is_folder:
        raise WorkspaceNotAllowed(f"The workspace {str(workspace)!r} is not a folder; make it first.")
    for path in hidden.paths:
        if _overlap(real, path):
            raise _overlapping(workspace, path)
    around = next((folder for folder in (real, *real.parents) if door.is_state_root(folder)), None)
    other_root = around or next(_state_roots(real), None)
    if other_root is not None:
        raise WorkspaceNotAllowed(
            f"The workspace {str(workspace)!r} and the state root {str(other_root)!r} overlap. That folder has "
            "format.yaml, .git, and .kheish or .git/kheish, as state roots have; an agent must not see or change one. "
            "Choose a folder beside it, or rename its format.yaml if it is none."
        )
    return real


def is_usable(where: Door) -> bool:
    """Return whether a session's workspace exists.

    Raises WorkspaceNotAllowed if it overlaps with a folder that the daemon hides: it may have been set before that was
    hidden, or on another machine.
    """
    if not where.path.is_dir():
        return False
    for path in where.hidden.paths:
        if _overlap(where.path, path):
            raise _overlapping(where.path, path)
    return True


def is_within(real: Path, allowed: Sequence[str], home: Path) -> bool:
    """Return whether a folder is, or lies in, one of those in a list (paths or globs; `~` is `home`)."""
    return any(_is_about(real, entry, home) for entry in allowed)


def _is_about(real: Path, entry: str, home: Path) -> bool:
    if entry == "~" or entry.startswith("~/"):
        entry = str(home) + entry[1:]
    if not entry.startswith("/"):
        return False
    if not globs.has_wild(entry):  # a plain path may be a link; resolve it
        entry = os.path.realpath(entry)
        return real == Path(entry) or Path(entry) in real.parents
    steps = globs.compiled(entry.rstrip("/"), is_loose=False)
    return globs.reach(steps, real.parts[1:]) is globs.Reach.YES


def _overlapping(workspace: Path, other: Path) -> WorkspaceNotAllowed:
    return WorkspaceNotAllowed(
        f"The workspace {str(workspace)!r} and {str(other)!r} overlap: an agent must not see or change a daemon's "
        "state root and its keys. Choose a folder beside it."
    )


def _overlap(real: Path, path: Path) -> bool:
    """Return whether either contains the other, by name or (bind mounts) by identity."""
    hidden = Path(os.path.realpath(path))
    if real == hidden or real in hidden.parents or hidden in real.parents:
        return True
    ours, theirs = _id(real), _id(hidden)
    above = {_id(folder) for folder in hidden.parents if folder != Path(folder.anchor)}
    around = {_id(folder) for folder in (real, *real.parents)}
    return (ours is not None and ours in above) or (theirs is not None and theirs in around)


def _id(path: Path) -> door.Id | None:
    with suppress(OSError):
        return door.id_of(path.stat())
    return None


def _state_roots(top: Path) -> Iterator[Path]:
    """Yield the state roots in a folder, down to the search depth; tools open no deeper ones."""
    deadline, entries_left = time.monotonic() + _SECONDS, _ENTRIES
    todo = deque([(top, 0)])
    while todo and entries_left > 0 and time.monotonic() < deadline:
        folder, level = todo.popleft()
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                entries_left -= 1
                if entries_left < 0 or time.monotonic() > deadline:
                    return
                if entry.is_dir(follow_symlinks=False) and entry.name != ".git":
                    below = Path(entry.path)
                    if door.is_state_root(below):
                        yield below
                    if level + 1 < _LEVELS:
                        todo.append((below, level + 1))
