"""A workspace as the daemon opens it: its folder, what must not be opened there, and what a verdict was given for."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from kheish.beneath import kernel
from kheish.errors import NotBeneath, NotThere

#: device and inode: what a file or folder is, whatever it is called and wherever it is mounted
Id = tuple[int, int]
_MOST = 2000  # files of one hidden folder that are known by their inode
#: what only the root of a daemon's state has
_SIGNS = (".kheish/token", ".git/kheish")


@dataclass(frozen=True, slots=True)
class Hidden:
    """What nothing may open beneath a workspace: the daemon's state, its keys. A folder stands for all that is in it,
    and for the files right in it also where they have another name (a hard link)."""

    paths: tuple[Path, ...] = ()

    def ids(self) -> frozenset[Id]:
        """Return what these paths are now; those that are not there are left out."""
        found: set[Id] = set()
        for path in self.paths:
            with suppress(OSError):
                found.add(id_of(path.stat()))
            with suppress(OSError), os.scandir(path) as entries:
                for entry in islice(entries, _MOST):
                    if entry.is_file(follow_symlinks=False):
                        found.add(id_of(entry.stat(follow_symlinks=False)))
        return frozenset(found)


#: hides nothing
NOTHING = Hidden()


@dataclass(frozen=True, slots=True)
class Door:
    """One workspace. `judged`: paths as a call wrote them, with the names that the rules were asked about, links
    resolved; where it is given, every path leads exactly there (a path that is not in it: as written), and a link on
    the way is refused, for it was put there since."""

    path: Path
    hidden: Hidden = NOTHING
    judged: Mapping[str, str] | None = None
    is_state_root: bool = False  # the daemon's own, for what is no work of an agent

    def judging(self, judged: Mapping[str, str] | None) -> Door:
        """Return the same workspace, for a call that the rules have judged."""
        return replace(self, judged=judged)


@dataclass(frozen=True, slots=True)
class Root:
    """A workspace that is open."""

    descriptor: int
    door: Door
    hidden: frozenset[Id]

    def check(self, status: os.stat_result, path: str) -> None:
        """Raise NotBeneath for what the daemon hides."""
        if id_of(status) in self.hidden:
            raise NotBeneath(
                f"{path}: belongs to the daemon (its state or its keys); no tool goes there.", reason="hidden"
            )

    def check_folder(self, folder: int, path: str) -> None:
        """Raise NotBeneath for a folder that the daemon hides, or that is the state root of another daemon."""
        self.check(os.fstat(folder), path)
        if is_state_root(folder):
            raise NotBeneath(f"{path}: lies in the state root of a daemon; no tool goes there.", reason="hidden")


@contextmanager
def opened(where: Door | Root) -> Iterator[Root]:
    """Open a workspace; for many files of one, once for all. Raises NotBeneath, NotThere."""
    if isinstance(where, Root):
        yield where
        return
    descriptor = _open(where)
    try:
        root = Root(descriptor, where, where.hidden.ids())
        if not where.is_state_root:
            root.check_folder(descriptor, str(where.path))
        yield root
    finally:
        os.close(descriptor)


def _open(door: Door) -> int:
    try:
        return kernel.open_root(door.path)
    except FileNotFoundError as error:
        raise NotThere(f"{door.path}: the workspace does not exist.") from error
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise NotBeneath(
                f"{door.path}: a folder on the way to the workspace is a link now, or no folder; set the session's "
                "workspace to its real path."
            ) from error
        raise NotBeneath(f"{door.path}: the workspace cannot be opened ({error.strerror}).") from error


def is_state_root(folder: int | Path) -> bool:
    """Return whether a folder is the state root of a daemon."""
    for sign in _SIGNS:
        with suppress(OSError):
            if isinstance(folder, Path):
                (folder / sign).lstat()
            else:
                os.stat(sign, dir_fd=folder, follow_symlinks=False)
            return True
    return False


def id_of(status: os.stat_result) -> Id:
    """Return device and inode."""
    return status.st_dev, status.st_ino
