"""The folders whose files speak to agents: from the top of the git repository around a workspace down to the
workspace."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from kheish.beneath import Door, names as shown_names
from kheish.beneath.door import opened
from kheish.errors import NotBeneath, NotThere

_LEVELS = 40


@dataclass(frozen=True, slots=True)
class Folders:
    """The door to the top, and the folders below it as paths from there: the top first, the workspace last."""

    door: Door
    paths: tuple[str, ...]

    def shown(self, path: str) -> str:
        """Return a path from the top as it is seen from the workspace."""
        return os.path.relpath(path, self.paths[-1])


def find(door: Door) -> Folders:
    """Return the folders around a workspace. Blocks on disk.

    The repository must belong to this user, or to the owner of the workspace: anybody may make a repository in a shared
    folder such as /tmp, and its files would speak to all workspaces below.
    """
    alone = Folders(door, (".",))
    top = _top(door.path)
    if top is None or top == door.path:
        return alone
    above = Door(top, door.hidden)
    try:
        with opened(above):
            pass
    except (NotBeneath, NotThere):
        return alone
    names = [shown_names.shown(name) for name in door.path.relative_to(top).parts]
    return Folders(above, (".", *("/".join(names[: count + 1]) for count in range(len(names)))))


def _top(workspace: Path) -> Path | None:
    """Return the nearest folder with a repository, from the workspace upwards; None if there is none to trust."""
    with suppress(OSError):
        for folder in islice((workspace, *workspace.parents), _LEVELS):
            try:
                repository = os.lstat(f"{folder}/.git")  # for each turn of each run
            except FileNotFoundError:
                continue
            owners = {os.geteuid(), workspace.stat().st_uid}
            trusted = {repository.st_uid, folder.stat().st_uid} <= owners
            return folder if trusted else None
    return None
