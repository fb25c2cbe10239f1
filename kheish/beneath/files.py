"""Files and folders beneath a workspace: opened, read whole or hashed, replaced and removed, never through a link."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from kheish.beneath import kernel, names, pool, walk
from kheish.beneath.door import Door, Hidden, Root, opened
from kheish.beneath.walk import Place
from kheish.errors import NotAFolder, NotBeneath, NotThere

#: larger files are not read into memory as a whole
MAX_WHOLE = 16 * 1024 * 1024
#: of larger files only size and time are recorded, not the content
HASHED = 256 * 1024 * 1024
_CHUNK = 1024 * 1024
_NEIGHBOURS = 5000  # names of a folder that are searched for one like a missing name
_FILE = os.O_RDONLY | os.O_NONBLOCK  # NONBLOCK: a FIFO must not hang the open
#: permissions that a file keeps or is given; without those that make it run as its owner
_MODES = 0o777
_RUN = 0o100
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
    stat.S_IFLNK: "a link that changed meanwhile",
}


@dataclass(frozen=True, slots=True)
class Digest:
    """The identity of a file: its content, or size and time if it is very large."""

    path: str
    sha256: str | None
    bytes: int
    mtime_ns: int
    mode: int


def exists(path: Path) -> bool:
    """Return whether a workspace exists."""
    try:
        with opened(Door(path, Hidden())):
            return True
    except NotThere:
        return False


@contextmanager
def open_file(where: Door | Root, path: str) -> Iterator[tuple[BinaryIO, str]]:
    """Open a regular file for reading; yield it with its path from the workspace. Raises NotBeneath, NotThere."""
    with walk.place(where, path) as here, ExitStack() as stack:
        try:
            file = stack.enter_context(_opened(here, path))
        except FileNotFoundError:
            raise missing(here, path) from None
        yield file, here.path


@contextmanager
def open_folder(where: Door | Root, path: str) -> Iterator[tuple[int, str]]:
    """Open a folder; yield its descriptor and its path from the workspace. Raises NotBeneath, NotAFolder, NotThere."""
    with walk.place(where, path) as here:
        try:
            descriptor = enter(here.root, here.folder, here.name, path)
        except FileNotFoundError:
            raise missing(here, path) from None
        except NotADirectoryError:
            raise NotAFolder(f"{path}: not a folder.") from None
        try:
            yield descriptor, here.path
        finally:
            os.close(descriptor)


def enter(root: Root, folder: int, name: str, path: str) -> int:
    """Open a folder by its name in an open one. Raises OSError, NotBeneath."""
    descriptor = kernel.open_name(folder, name, walk.FOLDER)
    try:
        root.check_folder(descriptor, path)
    except BaseException:  # whatever the error, the descriptor must not leak
        os.close(descriptor)
        raise
    return descriptor


def read(where: Door | Root, path: str, limit: int) -> bytes:
    """Return at most `limit` bytes of a regular file. Raises NotBeneath, NotThere."""
    with open_file(where, path) as (file, _):
        return file.read(limit)


def digest(where: Door | Root, path: str, folder: str = ".") -> Digest | None:
    """Return the digest of a file relative to a folder of the workspace; None if it is not a regular file of it."""
    if folder != "." and not path.startswith("/"):
        path = f"{folder}/{path}"
    try:
        with open_file(where, path) as (file, found):
            return digest_of(file, found)
    except (NotBeneath, NotThere, OSError):
        return None


def digest_of(file: BinaryIO, path: str) -> Digest:
    """Return the digest of an open file."""
    status = os.fstat(file.fileno())
    sha256 = None
    if status.st_size <= HASHED:
        content, left = hashlib.sha256(), HASHED
        while left > 0 and (chunk := file.read(min(_CHUNK, left))):  # it may grow while it is read
            pool.check()
            content.update(chunk)
            left -= len(chunk)
        sha256 = content.hexdigest()
    return Digest(path, sha256, status.st_size, status.st_mtime_ns, stat.S_IMODE(status.st_mode))


def contents(here: Place) -> bytes | None:
    """Return all bytes of the file, or None if it is missing. Raises NotBeneath for anything but a regular file."""
    try:
        with _opened(here, here.path) as file:
            content = file.read(MAX_WHOLE + 1)
    except FileNotFoundError:
        return None
    if len(content) > MAX_WHOLE:
        raise NotBeneath(f"{here.path}: larger than {MAX_WHOLE // 1024**2} MiB; use bash to change it.")
    return content


def mode(here: Place) -> int | None:
    """Return the permissions of the file; None if it is missing."""
    try:
        return stat.S_IMODE(os.stat(here.name, dir_fd=here.folder, follow_symlinks=False).st_mode) & _MODES
    except FileNotFoundError:
        return None


def replace(here: Place, content: bytes, *, key: str, mode: int | None = None) -> None:
    """Write the file whole or not at all, keeping owner and mode; `key` names the temporary file. `mode` sets whether
    the file is executable from now on.

    The same key gives the same name, so that a repeated call cleans up after a crash.
    """
    temporary = f".kheish-{hashlib.sha256(key.encode()).hexdigest()[:16]}.tmp"
    with suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=here.folder)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    bits = 0o777 if mode is not None and mode & _RUN else 0o666
    try:
        with os.fdopen(kernel.open_name(here.folder, temporary, flags, bits), "wb") as file:
            file.write(content)
            file.flush()
            _keep_mode(here, file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(temporary, here.name, src_dir_fd=here.folder, dst_dir_fd=here.folder)
    except BaseException:  # whatever the error, no half-written file stays
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=here.folder)
        raise
    os.fsync(here.folder)


def remove(here: Place) -> None:
    """Remove the file's name from its folder, durably; does nothing if it is already gone."""
    with suppress(FileNotFoundError):
        os.unlink(here.name, dir_fd=here.folder)
    os.fsync(here.folder)


def missing(here: Place, path: str) -> NotThere:
    """Return the error for a missing file, with the nearest names in its folder."""
    with suppress(OSError), os.scandir(here.folder) as entries:
        near = {entry.name.casefold(): entry.name for entry in islice(entries, _NEIGHBOURS)}
        similar = [near[name] for name in get_close_matches(here.name.casefold(), sorted(near), n=3, cutoff=0.6)]
        if similar:
            listed = ", ".join(map(names.shown, similar))
            return NotThere(f"{path}: does not exist. Similar names in the same folder: {listed}.")
    return NotThere(f"{path}: does not exist.")


@contextmanager
def _opened(here: Place, path: str) -> Iterator[BinaryIO]:
    # The first check keeps us from opening a device at all; the check after the open is decisive.
    _check_regular(os.stat(here.name, dir_fd=here.folder, follow_symlinks=False), path)
    descriptor = kernel.open_name(here.folder, here.name, _FILE)
    try:
        status = os.fstat(descriptor)
        _check_regular(status, path)
    except BaseException:  # whatever the error, the descriptor must not leak
        os.close(descriptor)
        raise
    with os.fdopen(descriptor, "rb") as file:
        here.root.check(status, path)
        yield file


def _check_regular(status: os.stat_result, path: str) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), "a special file")
    hint = "; use list_files to see what is in it" if stat.S_ISDIR(status.st_mode) else ""
    raise NotBeneath(f"{path}: is {kind}, not a file{hint}.", reason="special")


def _keep_mode(here: Place, descriptor: int, wanted: int | None) -> None:
    try:
        old = os.stat(here.name, dir_fd=here.folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
        with suppress(PermissionError):
            os.fchown(descriptor, old.st_uid, old.st_gid)
    bits = stat.S_IMODE(old.st_mode) & _MODES
    if wanted is not None:  # as in git: a file is executable for all that can read it, or for none
        bits = bits | (bits & 0o444) >> 2 if wanted & _RUN else bits & ~0o111
    os.fchmod(descriptor, bits)
