"""Expansion of a pattern as bash does it, beneath a workspace, with limits on the names returned and on the names
read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from kheish.beneath import files, globs, names, pool
from kheish.beneath.door import Door, Root, opened
from kheish.errors import NotBeneath

_LOOKED_AT = 20_000  # names in all folders that a pattern may read
_FOLDERS = 2000


@dataclass(slots=True)
class _Budget:
    names: int = _LOOKED_AT
    folders: int = _FOLDERS


def expand(door: Door, pattern: str, folder: str = ".", most: int = 500) -> list[str]:
    """Return the paths that match a pattern, relative to a folder of the workspace, in shown form, sorted.

    Hidden names need a pattern that begins with a dot. Links to folders are followed if they stay inside.
    """
    path = pattern if pattern.startswith("/") else f"{folder}/{pattern}"
    root = str(door.path).rstrip("/")
    if path.startswith("/"):
        if not path.startswith(root + "/"):
            return []
        path = path[len(root) :]
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        return []
    try:
        with opened(door) as top:
            return sorted(islice(_found(top, ".", parts, _Budget()), most))
    except NotBeneath:
        return []


def _found(root: Root, prefix: str, parts: list[str], budget: _Budget) -> Iterator[str]:
    if not parts:
        yield prefix.removeprefix("./")
        return
    part, rest = parts[0], parts[1:]
    if not globs.has_wild(part):
        yield from _found(root, f"{prefix}/{names.shown(part)}", rest, budget)
        return
    for name in _names(root, prefix, part, budget):
        yield from _found(root, f"{prefix}/{names.shown(name)}", rest, budget)


def _names(root: Root, folder: str, part: str, budget: _Budget) -> list[str]:
    """Return the names of a folder that match a pattern."""
    pool.check()
    if budget.names <= 0 or budget.folders <= 0:
        return []
    budget.folders -= 1
    step = globs.name(part)
    try:
        with files.open_folder(root, folder) as (descriptor, _), os.scandir(descriptor) as entries:
            seen = [entry.name for entry in islice(entries, budget.names)]
    except (NotBeneath, OSError):
        return []
    budget.names -= len(seen)
    return [name for name in seen if (part[0] == "." or name[0] != ".") and globs.matches(step, name)]
