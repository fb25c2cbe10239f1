"""Search for everything that git would run or obey in the repositories of a workspace, since the user's own git does so
outside a sandbox.

A confined command may commit, switch branches and fetch, which write objects, refs, the index and logs. It must not
write files that name programs: configuration, hooks, attributes, and the files that give their location.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from kheish.beneath import kernel

#: the read-only parts of a repository
_FIXED = ("config", "config.worktree", "commondir", "info/attributes")
#: limits of the search for repositories in a workspace: depth, and number of folders
_DEPTH, _MOST = 4, 2000
_CONFIG_BYTES = 1024 * 1024
_SKIPPED = frozenset(("node_modules", ".venv", "venv", "__pycache__", "target", ".tox"))
#: settings that name a file of hooks or more settings
_NAMED = re.compile(r"(?:^|\])[ \t]*(hookspath|path|excludesfile|attributesfile)[ \t]*=[ \t]*(.+?)[ \t]*$", re.I | re.M)


def repositories(workspace: Path) -> list[Path]:
    """Return every `.git` in the workspace, folders and files, the workspace's own first."""
    paths: list[Path] = []
    level, looked = [workspace], 0
    for _ in range(_DEPTH):
        below: list[Path] = []
        for folder in level:
            looked += 1
            if looked > _MOST:
                return paths
            try:
                with os.scandir(folder) as entries:
                    named = [entry for entry in entries if entry.is_dir(follow_symlinks=False) or entry.name == ".git"]
            except OSError:
                continue
            for entry in sorted(named, key=lambda entry: entry.name):
                if entry.name == ".git":
                    paths.append(Path(entry.path))
                elif entry.name not in _SKIPPED:
                    below.append(Path(entry.path))
        level = below
    return paths


def mounts(workspace: Path, home: Path, repositories: Sequence[Path]) -> dict[Path, tuple[str, ...]]:
    """Return the mounts, by place, that protect the repositories of a workspace.

    A repository's own folder is mounted on itself: a mount point cannot be renamed, so it cannot be replaced.
    """
    mounted: dict[Path, tuple[str, ...]] = {}
    for path in repositories:
        if path.is_symlink():
            path = path.resolve()
            if not path.is_relative_to(workspace):
                continue  # invisible to a command
        if path.is_file():
            mounted[path] = _read_only(path)
            continue
        for folder in (path, *_modules(path)):
            mounted |= _repository(folder)
        mounted |= {place: _read_only(place) for place in _named(workspace, path, home)}
    return mounted


def guarded(repositories: Sequence[Path]) -> tuple[Path, ...]:
    """Return missing files of the repositories that no command may create.

    No mount can reserve a name in a writable folder; the runner removes such files. If `commondir` exists, git reads
    the configuration from the folder that it names.
    """
    folders = [path for path in repositories if path.is_dir()]
    folders += [module for path in folders for module in _modules(path)]
    places = [folder / name for folder in folders for name in _FIXED if name != "config"]
    places += [tree / "config.worktree" for folder in folders for tree in _folders(folder / "worktrees")]
    return tuple(place for place in places if not os.path.lexists(place))


def _repository(folder: Path) -> dict[Path, tuple[str, ...]]:
    mounts: dict[Path, tuple[str, ...]] = {folder: ("--bind", str(folder), str(folder))}
    places = [folder / name for name in _FIXED]
    for tree in _folders(folder / "worktrees"):
        places += tree / "config.worktree", tree / "commondir", tree / "gitdir"
    mounts |= {place: _read_only(place) for place in places if place.is_file() and not place.is_symlink()}
    hooks = folder / "hooks"
    if hooks.is_dir() and not hooks.is_symlink():
        mounts[hooks] = _read_only(hooks)
    elif (folder / "config").is_file() and not os.path.lexists(hooks):
        # bubblewrap creates the folder if it is missing, as `git init` does
        mounts[hooks] = ("--dir", str(hooks), "--ro-bind", str(hooks), str(hooks))
    return mounts


def _modules(folder: Path) -> Iterator[Path]:
    """Yield the repositories of submodules, and of theirs; their names may have slashes."""
    for path in _folders(folder / "modules"):
        if (path / "HEAD").exists():
            yield path
            yield from _modules(path)
        else:
            for below in _folders(path):
                if (below / "HEAD").exists():
                    yield below
                    yield from _modules(below)


def _folders(path: Path) -> list[Path]:
    try:
        return sorted(one for one in path.iterdir() if one.is_dir() and not one.is_symlink())
    except OSError:
        return []


def _named(workspace: Path, repository: Path, home: Path) -> Iterator[Path]:
    """Yield folders and files in the workspace that the configuration names: `core.hooksPath` (.husky),
    `include.path`."""
    tree = repository.parent
    for file in (repository / "config", home / ".gitconfig", home / ".config/git/config"):
        for key, value in _NAMED.findall(_text(file, is_own=file.parent != repository)):
            written = Path(value.strip('"'))
            place = Path(os.path.normpath((tree if key.lower() == "hookspath" else file.parent) / written))
            if place.is_relative_to(workspace) and place != workspace and place.exists() and not place.is_symlink():
                yield place


def _text(path: Path, *, is_own: bool) -> str:
    """Return the text of a regular file. `is_own`: it is the user's, and may be a link; other files may come from a
    command."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if is_own else os.O_NOFOLLOW)
    try:
        file = kernel.regular_file(os.open(path, flags))
    except OSError:
        return ""
    if file is None:
        return ""
    with file, contextlib.suppress(OSError):
        return file.read(_CONFIG_BYTES).decode("utf-8", "replace")
    return ""


def _read_only(path: Path) -> tuple[str, ...]:
    return ("--ro-bind", str(path), str(path))
