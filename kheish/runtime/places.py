"""The places of a command's folders: the workspace's own, another repository's, or behind a link."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from kheish.domain.permissions import match as permission_match
from kheish.domain.permissions.rules import Place

_LINK = "`{}` is a link"


def look_up(workspace: Path, folders: Iterable[str]) -> Mapping[str, Place]:
    """Return the place of each folder, seen from the workspace. Blocks on disk; opens nothing."""
    return {folder: _place(workspace, folder) for folder in folders}


def _place(workspace: Path, folder: str) -> Place:
    names = permission_match.beneath(workspace, folder)
    if names is None:
        return Place(elsewhere="it lies outside of the workspace")
    repository = _explain_bare_repository(workspace, "the workspace")
    if repository is None and _mode(workspace / ".git") == stat.S_IFLNK:
        repository = f"{_LINK.format('.git')}"
    current = workspace
    for at, name in enumerate(names, 1):
        current = current / name
        shown = "/".join(names[:at])
        match _mode(current):
            case None:
                return Place(repository=repository, elsewhere=f"`{shown}` does not exist yet")
            case stat.S_IFLNK:
                return Place(repository=repository, elsewhere=_LINK.format(shown))
        if _mode(current / ".git") is not None:
            repository = f"`{shown}` is another repository"
        repository = _explain_bare_repository(current, f"`{shown}`") or repository
    return Place(repository=repository)


def _explain_bare_repository(folder: Path, shown: str) -> str | None:
    """Return why git takes a folder as a repository without `.git`: the same names as its own `is_git_directory`."""
    parts = [name for name in ("HEAD", "objects", "refs", "commondir") if _mode(folder / name) is not None]
    is_bare = "HEAD" in parts and ("commondir" in parts or len(parts) == 3)
    return f"{shown} looks like a bare repository" if is_bare else None


def _mode(path: Path) -> int | None:
    try:
        return stat.S_IFMT(path.lstat().st_mode)
    except (OSError, ValueError):
        return None
