"""The real targets of a command line's redirections beneath the workspace: the names that rules are judged on."""

from __future__ import annotations

import os
import posixpath
import stat
from dataclasses import dataclass

from kheish.beneath import names, walk
from kheish.beneath.door import Door, opened
from kheish.errors import NotBeneath, NotThere, Reason


@dataclass(frozen=True, slots=True)
class Target:
    """The target of a path: `names` from the workspace, with links resolved, in shown form; or the reason of its
    refusal."""

    names: tuple[str, ...] | None
    refused: Reason | None = None
    is_link: bool = False
    exists: bool = False


def resolve_target(door: Door, target: str, folder: str = ".") -> Target:
    """Return the file that bash would open for a target, relative to a folder of the workspace. Writes nothing."""
    path = target if target.startswith("/") else posixpath.join(folder, target)
    # A word of a command line holds its characters literally; nothing in it is an escape of ours.
    try:
        path = names.shown(path)
        with opened(door) as root, walk.place(root, path) as here:
            return _judged(root.door, path, here)
    except NotThere:
        return Target(None, "git" if any(map(names.is_kept, path.split("/"))) else "missing")
    except NotBeneath as error:
        return Target(None, error.reason)
    except ValueError:
        return Target(None, "unreadable")


def _judged(door: Door, path: str, here: walk.Place) -> Target:
    parts = tuple(here.path.split("/")) if here.path != "." else ()
    try:
        status: os.stat_result | None = os.stat(here.name, dir_fd=here.folder, follow_symlinks=False)
    except FileNotFoundError:
        status = None
    if any(names.is_kept(names.meant(name)) for name in parts):
        return Target(None, "git")
    if status is not None:
        here.root.check(status, path)
        if not stat.S_ISREG(status.st_mode):
            return Target(None, "special")
    written = [part for part in posixpath.normpath(path).split("/") if part not in ("", ".")]
    if path.startswith("/"):
        written = written[len([part for part in str(door.path).split("/") if part]) :]
    return Target(parts, None, is_link=list(parts) != written, exists=status is not None)
