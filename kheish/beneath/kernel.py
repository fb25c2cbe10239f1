"""Opening a single name in an open folder so that the kernel itself lets nothing lead out of it: `openat2(2)`.

Kernels before 5.6, and systems that filter the call, have plain `openat` with O_NOFOLLOW, which is as strict for a
single name. The whole walk is ours in both cases, because rules are judged on the names along the way.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_NUMBER = 437  # of openat2, the same on every architecture that Python runs on
_NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 0x02, 0x04, 0x08
_AT_FDCWD = -100
#: errors of a kernel or a filter without the call
_ABSENT = frozenset({errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP})
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PASSING = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_libc = ctypes.CDLL(None, use_errno=True)


class _How(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


def open_name(folder: int, name: str, flags: int, mode: int = 0) -> int:
    """Open a single name in an open folder, never through a link. Raises OSError (ELOOP or ENOTDIR for a link)."""
    if "/" in name or name in ("", "..") or "\0" in name:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), name)
    flags |= os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = _openat2(folder, name, flags, mode, _BENEATH | _NO_SYMLINKS | _NO_MAGICLINKS)
    return os.open(name, flags, mode, dir_fd=folder) if descriptor is None else descriptor


def open_root(path: Path) -> int:
    """Open a workspace by its real path. Raises OSError: ELOOP if a folder of the path is now a link."""
    if not path.is_absolute():
        raise OSError(errno.EINVAL, "not an absolute path", str(path))
    descriptor = _openat2(_AT_FDCWD, os.fspath(path), _FOLDER, 0, _NO_SYMLINKS | _NO_MAGICLINKS)
    return _by_steps(path) if descriptor is None else descriptor


def is_there() -> bool:
    """Return whether this kernel has `openat2`."""
    descriptor = _openat2(_AT_FDCWD, "/", _FOLDER, 0, _NO_MAGICLINKS)
    if descriptor is None:
        return False
    os.close(descriptor)
    return True


def _openat2(folder: int, path: str, flags: int, mode: int, resolve: int) -> int | None:
    """Return a descriptor, or None if the call is missing."""
    how = _How(flags, mode if flags & os.O_CREAT else 0, resolve)
    while True:
        descriptor = _libc.syscall(_NUMBER, folder, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
        if descriptor >= 0:
            return int(descriptor)
        code = ctypes.get_errno()
        if code in _ABSENT:
            return None  # plain openat gives the same error if the file itself is refused
        # EAGAIN: another process has a lease on the file, which it may keep for long; no name is `..`, for which a
        # rename elsewhere would be the cause
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code), path)


def _by_steps(path: Path) -> int:
    """Open an absolute path folder by folder, without links."""
    folder = os.open(path.anchor, _PASSING)
    try:
        for part in path.parts[1:-1]:
            inner = os.open(part, _PASSING, dir_fd=folder)
            os.close(folder)
            folder = inner
        return os.open(path.parts[-1] if len(path.parts) > 1 else ".", _FOLDER, dir_fd=folder)
    finally:
        os.close(folder)


def regular_file(descriptor: int) -> BinaryIO | None:
    """Return the file of a descriptor, which closes it; None for anything but a regular file, whose descriptor is
    closed at once. `os.fdopen` raises for a folder, and leaves its descriptor open."""
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    return None
