"""Compare-and-swap of a user's file: the new content takes the place of exactly the content that was seen.

An editor may save at the same moment. So the files are exchanged by the kernel (`renameat2`), and what came out is
compared: other content is put back. *Rejected:* comparing before a plain rename, since a save in between would be lost.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import stat
from pathlib import Path

from kheish.beneath import kernel
from kheish.store import files
from kheish.store.files import contained, durable_folder, fsync_folder

_EXCHANGE = 2
_AT_FDCWD = -100
_ABSENT = frozenset({errno.ENOSYS, errno.EINVAL, errno.EPERM, errno.EOPNOTSUPP})
_libc = ctypes.CDLL(None, use_errno=True)
_serial = itertools.count()


class Differs(Exception):
    """The error that the file differs from the content that was seen; `content` is its content (None: no file)."""

    def __init__(self, content: bytes | None) -> None:
        super().__init__("the file differs")
        self.content = content


def swap(root: Path, path: str, content: bytes | None, *, seen: bytes | None) -> None:
    """Replace the file's content (None: remove the file) if it is still `seen` (None: no file).

    The change is durable on return. Blocks on disk. Raises Differs, Invalid (a link on the way), OSError.
    """
    target = contained(root, path)
    if not target.parent.is_dir():
        durable_folder(target.parent, upto=root)
    scratch = target.with_name(f".{target.name[:40]}.{os.getpid()}.{next(_serial)}.kheish-tmp")
    try:
        if content is None:
            _take_out(target, scratch, seen)
        else:
            _write(scratch, content, _mode(target))
            if seen is None:
                _create(target, scratch)
            else:
                _exchange(root, target, scratch, content, seen)
    finally:
        scratch.unlink(missing_ok=True)
    fsync_folder(target.parent)


def _create(target: Path, scratch: Path) -> None:
    try:
        os.link(scratch, target)
    except FileExistsError:
        raise Differs(_content(target)) from None


def _take_out(target: Path, scratch: Path, seen: bytes | None) -> None:
    """Remove a file whose content was seen; other content is put back."""
    if seen is None:
        raise Differs(_content(target))
    try:
        target.rename(scratch)
    except FileNotFoundError:
        raise Differs(None) from None
    there = _content(scratch)
    if there != seen:
        if scratch.is_dir() and not scratch.is_symlink():
            scratch.rename(target)
        else:
            os.link(scratch, target)  # a file that was saved there meanwhile is newer still
        raise Differs(there)


def _exchange(root: Path, target: Path, scratch: Path, content: bytes, seen: bytes) -> None:
    before = _content(target)
    if before != seen:
        raise Differs(before)
    if not _exchanged(scratch, target):
        scratch.rename(target)  # a system without the call
        return
    there = _content(scratch)
    if there == seen:
        return
    _exchanged(scratch, target)
    if (newest := _content(scratch)) is not None and newest != content:  # a second save came in between
        files.put_aside(root, target.relative_to(root).as_posix(), newest)
    raise Differs(there)


def _exchanged(source: Path, target: Path) -> bool:
    """Return whether the kernel has exchanged two files. Raises OSError."""
    call = getattr(_libc, "renameat2", None)
    if call is None:
        return False
    if call(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _ABSENT:
        return False
    if code == errno.ENOENT:
        raise Differs(None)
    raise OSError(code, os.strerror(code), str(target))


def _write(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _mode(target: Path) -> int:
    try:
        return stat.S_IMODE(target.lstat().st_mode) & 0o777
    except FileNotFoundError:
        return 0o644


def _content(path: Path) -> bytes | None:
    """Return the content of a regular file, or None."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    file = kernel.regular_file(descriptor)
    if file is None:
        return None
    with file:
        return file.read()
