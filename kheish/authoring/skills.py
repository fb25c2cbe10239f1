"""A skill's folder in the state root: its name, and the files beside its SKILL.md, which are committed with it."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from kheish import ids
from kheish.domain.definitions import KINDS
from kheish.domain.skills.skill import FILE, is_name, normalized
from kheish.store import door, names
from kheish.store.edits.debounce import passed_over
from kheish.store.edits.problems import Problem

KIND = KINDS["skills"]
FOLDER = f"{KIND.name}/"
#: the files of a skill that are committed; further ones and larger ones are not
FILES = 2000
BYTES = 16 * 1024 * 1024


def named_wrong(path: str, has: Callable[[str], bool]) -> Iterator[Problem]:
    """Yield the problems of the place of a file under `skills/`: each skill is a folder, named after the skill. A skill
    may have files of any name, also a `SKILL.md` further down; `has` returns whether a file exists."""
    id, slash, name = path.removeprefix(FOLDER).partition("/")
    if not slash:
        stem = id.rpartition(".")[0] or id
        near = f"{stem}/{FILE}" if is_name(stem) else None
        yield Problem(path, None, None, "error", "bad_name", f"a skill is a folder: {FOLDER}<name>/{FILE}", near)
    elif name != FILE and has(KIND.path(id)):
        return
    elif "/" in name:
        folder = path.split("/")[-2]
        near = normalized(folder) or None
        message = f"the skill is not read: it lies in a sub-folder; move its folder to {FOLDER}{near or '<name>'}"
        yield Problem(path, None, None, "error", "bad_name", message, near and f"{FOLDER}{near}")
    elif name != FILE:
        yield Problem(path, None, None, "error", "bad_name", f"files of this name are not read; name it {FILE}", FILE)
    elif not ids.is_slug(id):
        near = normalized(id) or None
        message = f"{id!r} is not a legal name: use a-z, 0-9 and '-', beginning with a letter or digit"
        if near is not None and has(KIND.path(near)):
            message, near = f"{message}; there is a skill {near!r} already, so choose another name", None
        elif near is not None:
            message = f"{message}; name the folder {near}"
        yield Problem(path, None, None, "error", "bad_name", message, near)


def folder_of(path: str) -> str | None:
    """Return the name of the skill that a path lies in."""
    parts = path.split("/")
    return parts[1] if len(parts) > 2 and parts[0] == KIND.name else None


def lies_beside(path: str) -> bool:
    """Return whether a path is that of a file which is committed with a skill, but is not its `SKILL.md`."""
    parts = path.split("/")
    return folder_of(path) is not None and (len(parts) > 3 or parts[2].lower() != FILE.lower())


def beside(root: Path, paths: Iterable[str]) -> list[str]:
    """Return the files to commit for changed paths: of a SKILL.md all files beside it, else the file itself (also if it
    is gone). Blocks on disk."""
    made: dict[str, None] = {}
    for path in paths:
        skill = folder_of(path)
        if skill is None:
            continue
        if path == KIND.path(skill):
            made |= dict.fromkeys(_walk(root, f"{FOLDER}{skill}"))
        elif _is_small(root, path):
            made[path] = None
    return list(made)[:FILES]


def on_disk(root: Path, skill: str) -> list[str]:
    """Return the paths of all files of a skill. Blocks on disk."""
    return [path for path, _ in door.walk(root, f"{FOLDER}{skill}")]


def _walk(root: Path, folder: str) -> Iterator[str]:
    for path, status in door.walk(root, folder, skip=passed_over):
        if stat.S_ISREG(status.st_mode) and status.st_size <= BYTES and names.is_text(path):
            yield path


def _is_small(root: Path, path: str) -> bool:
    """Return whether a changed file may be committed, which a missing one always may."""
    if not names.is_text(path) or passed_over(path):
        return False
    try:
        status = names.within(root, path).lstat()
    except OSError:
        return True
    return stat.S_ISREG(status.st_mode) and status.st_size <= BYTES
