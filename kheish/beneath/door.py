"""A workspace as the daemon opens it: its folder, the paths that must not be opened there, and the judged paths of a
call."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from kheish.beneath import kernel
from kheish.errors import NotBeneath, NotThere

#: device and inode: the identity of a file or folder, whatever its name and wherever it is mounted
Id = tuple[int, int]
_MOST = 2000  # files of a hidden folder that are identified by inode
#: seconds; a folder that changed this shortly before it was read may change again without another time (FAT has 2 s)
_SETTLED = 3.0
_KNOWN = 256  # hidden paths whose identities are kept
#: entries that the root of a daemon's state has together: one of the alternatives of each. The daemon's own root is
#: known by device and inode (`Hidden`), whatever is in it.
_SIGNS = (("format.yaml",), (".git",), (".kheish", ".git/kheish"))


@dataclass(frozen=True, slots=True)
class Hidden:
    """The paths beneath a workspace that nothing may open: the daemon's state, its keys. A folder stands for everything
    in it. The files directly in it are hidden under other names as well (a hard link)."""

    paths: tuple[Path, ...] = ()

    def ids(self) -> frozenset[Id]:
        """Return the present identities of these paths; missing paths are left out."""
        return frozenset().union(*map(_ids_of, self.paths))


#: hides nothing
NOTHING = Hidden()


@dataclass(frozen=True, slots=True)
class _Identified:
    """The identities of a hidden path, and the times of its folder when they were read."""

    times: tuple[Id, int, int]
    ids: frozenset[Id]


_identified: dict[Path, _Identified] = {}


def _ids_of(path: Path) -> frozenset[Id]:
    """Return the identities of a path and of the files directly in it.

    A file that is made in a folder, moved there or removed changes the folder's times. While these stay the same, the
    folder is not read again: each look at it costs the other threads their turn.
    """
    began = time.time()
    try:
        status = path.stat()
    except OSError:
        return frozenset()
    own, known = id_of(status), _identified.get(path)
    times = own, status.st_mtime_ns, status.st_ctime_ns
    if known is not None and known.times == times:
        return known.ids
    found, is_whole = {own}, True
    if stat.S_ISDIR(status.st_mode):
        try:
            with os.scandir(path) as entries:
                for entry in islice(entries, _MOST):
                    with suppress(FileNotFoundError):  # it has gone meanwhile
                        if entry.is_file(follow_symlinks=False):
                            found.add(id_of(entry.stat(follow_symlinks=False)))
        except OSError:  # for lack of descriptors, say
            is_whole = False
    ids = frozenset(found)
    if is_whole and max(times[1:]) / 1e9 < began - _SETTLED:
        if len(_identified) >= _KNOWN:
            _identified.clear()
        _identified[path] = _Identified(times, ids)
    return ids


@dataclass(frozen=True, slots=True)
class Door:
    """A workspace. `judged` maps paths as a call wrote them to the names that the rules judged, with links resolved. If
    it is given, every path leads exactly there (a path that is not in it: as written). A link on the way is refused,
    since it was created after the verdict."""

    path: Path
    hidden: Hidden = NOTHING
    judged: Mapping[str, str] | None = None
    is_state_root: bool = False  # the daemon's own, for work that is not an agent's

    def judging(self, judged: Mapping[str, str] | None) -> Door:
        """Return the same workspace, for a call that the rules have judged."""
        return replace(self, judged=judged)


@dataclass(frozen=True, slots=True)
class Root:
    """An open workspace."""

    descriptor: int
    door: Door
    hidden: frozenset[Id]

    def check(self, status: os.stat_result, path: str) -> None:
        """Raise NotBeneath for a path that the daemon hides."""
        if id_of(status) in self.hidden:
            raise NotBeneath(
                f"{path}: belongs to the daemon (its state or its keys); tools may not open it.", reason="hidden"
            )

    def check_folder(self, folder: int, path: str) -> None:
        """Raise NotBeneath for a folder that the daemon hides, or that is the state root of another daemon."""
        self.check(os.fstat(folder), path)
        if is_state_root(folder):
            raise NotBeneath(f"{path}: lies in the state root of a daemon; tools may not open it.", reason="hidden")


@contextmanager
def opened(where: Door | Root) -> Iterator[Root]:
    """Open a workspace, once for many of its files. Raises NotBeneath, NotThere."""
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
                f"{door.path}: a folder on the way to the workspace is now a link, or not a folder; set the session's "
                "workspace to its real path."
            ) from error
        raise NotBeneath(f"{door.path}: the workspace cannot be opened ({error.strerror}).") from error


def is_state_root(folder: int | Path) -> bool:
    """Return whether a folder is the state root of a daemon. A single file that a tool, a build or a clone makes in a
    workspace does not make it one."""
    return all(any(_has(folder, name) for name in alternatives) for alternatives in _SIGNS)


def _has(folder: int | Path, name: str) -> bool:
    try:
        if isinstance(folder, Path):
            (folder / name).lstat()
        else:
            os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    return True


def id_of(status: os.stat_result) -> Id:
    """Return device and inode."""
    return status.st_dev, status.st_ino
