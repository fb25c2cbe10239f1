"""The effect of a workspace's ignore files on the contents of a folder below them.

ripgrep reads the ignore files of all folders above the one that it searches, up to the root of the disk. Those above
the workspace do not belong to it, so ripgrep is run without any of them. The rules of those in between are passed to it
as a single file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from kheish.beneath import files, globs, names
from kheish.beneath.door import Root
from kheish.errors import NotBeneath

#: by precedence: a later file wins
_KINDS = (".git/info/exclude", ".gitignore", ".ignore", ".rgignore")
_OF_GIT = _KINDS[:2]
_LIMIT = 1024 * 1024
_MOST = 10_000  # lines of all files


def above(root: Root, folder: str) -> bytes:
    """Return the lines of an ignore file that has the same effect on a folder as the files above it in the
    workspace."""
    steps = [] if folder == "." else [names.meant(step) for step in folder.split("/")]
    lines: dict[str, list[str]] = {kind: [] for kind in _KINDS}
    for at in range(len(steps) + 1):
        here = [names.shown(step) for step in steps[:at]]
        if _is_there(root, "/".join([*here, ".git"])):  # a repository of its own: git searches no further up
            for kind in _OF_GIT:
                lines[kind].clear()
        if at == len(steps):
            break
        for kind in _KINDS:
            for line in _lines(root, "/".join([*here, kind])):
                lines[kind] += _moved(line, steps[at:])
    whole = [line for kind in _KINDS for line in lines[kind]]
    return os.fsencode("\n".join([*whole[:_MOST], ""])) if whole else b""


def _is_there(root: Root, path: str) -> bool:
    try:
        with files.open_folder(root, path):
            return True
    except NotBeneath:
        return False


def _lines(root: Root, path: str) -> list[str]:
    try:
        return (
            os.fsdecode(files.read(root, path, _LIMIT).replace(b"\0", b"")).removeprefix("\ufeff").split("\n")[:_MOST]
        )
    except NotBeneath:
        return []


def _moved(line: str, steps: Sequence[str]) -> Iterator[str]:
    """Yield a line rewritten for a folder further down; nothing if it concerns only the upper folder."""
    text = line.rstrip("\r")
    text = text if text.endswith("\\ ") else text.rstrip(" ")
    if not text or text.startswith("#"):
        return
    sign, text = ("!", text[1:]) if text.startswith("!") else ("", text)
    only_folders = "/" if text.endswith("/") else ""
    core = text.rstrip("/")
    if "/" not in core:
        yield f"{sign}{core}{only_folders}"
        return
    for rest in _rest(core.lstrip("/").split("/"), steps):
        yield f"{sign}/{'/'.join(rest)}{only_folders}"


def _rest(parts: Sequence[str], steps: Sequence[str]) -> Iterator[Sequence[str]]:
    if not parts:
        return
    if not steps:
        yield parts
    elif parts[0] == "**":
        yield from _rest(parts[1:], steps)
        yield from _rest(parts, steps[1:])
    elif globs.matches(globs.name(parts[0]), steps[0]):
        yield from _rest(parts[1:], steps[1:])
