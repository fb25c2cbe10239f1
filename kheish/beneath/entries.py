"""Files and links of a workspace as git has them: their mode and blob id, written, linked and removed in place.

A path is followed through real folders only: where a folder of it is a link, there is no such entry.
"""

from __future__ import annotations

import errno
import hashlib
import os
import posixpath
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from kheish.beneath import files, kernel, names, pool, walk
from kheish.beneath.door import Door
from kheish.beneath.walk import Intent, Place
from kheish.errors import NotBeneath, NotThere

FILE, PROGRAM, LINK = "100644", "100755", "120000"
#: stands for a folder, or anything else that git has no entry for
OTHER = ("other", "")
_PROBE = ".kheish-entry"  # a name that is no link, to reach the folder of an entry
_CHUNK = 1024 * 1024


@contextmanager
def _entry(where: Door, path: str, intent: Intent) -> Iterator[Place]:
    """Open the folder of an entry. Raises NotBeneath, NotThere."""
    parent, _, name = path.rpartition("/")
    if names.is_kept(name):
        raise NotBeneath(f"{names.shown(path)}: {names.kept_words(name)}.", reason="git")
    probe = posixpath.join(parent, _PROBE)
    with walk.place(where, names.as_path(probe), intent) as here:
        if here.path != names.shown(probe):
            raise NotThere(f"{names.shown(path)}: goes through a link.")
        yield Place(here.folder, name, names.shown(path), here.root)


def current(where: Door, path: str) -> tuple[str, str] | None:
    """Return mode and blob id of an entry, None if there is none, or OTHER. Raises NotBeneath."""
    try:
        with _entry(where, path, Intent.READ) as here:
            return _read(here)
    except (NotThere, FileNotFoundError):
        return None
    except NotBeneath:  # a file where the path has a folder
        return OTHER


def _read(here: Place) -> tuple[str, str]:
    status = os.stat(here.name, dir_fd=here.folder, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        target = os.fsencode(os.readlink(here.name, dir_fd=here.folder))
        return LINK, hashlib.sha1(b"blob %d\0" % len(target) + target, usedforsecurity=False).hexdigest()
    if not stat.S_ISREG(status.st_mode):
        return OTHER
    descriptor = kernel.open_name(here.folder, here.name, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        here.root.check(status, here.path)
        content = hashlib.sha1(b"blob %d\0" % status.st_size, usedforsecurity=False)
        while chunk := file.read(_CHUNK):
            pool.check()
            content.update(chunk)
    return (PROGRAM if status.st_mode & 0o100 else FILE), content.hexdigest()


def write(where: Door, path: str, content: bytes, *, mode: str, key: str) -> None:
    """Write a file whole, in folders that are made as needed. `key` names the temporary file. Raises NotBeneath."""
    with _entry(where, path, Intent.CREATE) as here, walk.told(here.path):
        _clear(here)
        files.replace(here, content, key=key, mode=0o755 if mode == PROGRAM else 0o644)


def link(where: Door, path: str, target: str, *, key: str) -> None:
    """Make a link. Raises NotBeneath, also for a target outside of the workspace."""
    inside = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    parts = inside.split("/")
    if target.startswith("/") or not target or parts[0] == ".." or any(map(names.is_kept, parts)):
        raise NotBeneath(f"{names.shown(path)}: the link leads out of the workspace.")
    temporary = f".kheish-{hashlib.sha256(key.encode()).hexdigest()[:16]}.tmp"
    with _entry(where, path, Intent.CREATE) as here, walk.told(here.path):
        _clear(here)
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=here.folder)
        os.symlink(target, temporary, dir_fd=here.folder)
        os.replace(temporary, here.name, src_dir_fd=here.folder, dst_dir_fd=here.folder)


def _clear(here: Place) -> None:
    """Remove an empty folder of the name: what was in it has gone."""
    try:
        os.rmdir(here.name, dir_fd=here.folder)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise


def remove(where: Door, path: str) -> None:
    """Remove an entry, and the folders of its path that are empty then. Raises NotBeneath."""
    with suppress(NotThere), _entry(where, path, Intent.EDIT) as here, walk.told(here.path):
        files.remove(here)
    parent = posixpath.dirname(path)
    while parent:
        try:
            with _entry(where, parent, Intent.EDIT) as here:
                os.rmdir(here.name, dir_fd=here.folder)
        except (OSError, NotThere, NotBeneath):
            return  # it is not empty
        parent = posixpath.dirname(parent)
