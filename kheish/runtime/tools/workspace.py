"""Paths beneath a session's workspace, opened folder by folder: no `..`, no link and no race leads out of it."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from kheish.runtime.tools.base import ToolError

#: larger files are not taken into memory as a whole
MAX_WHOLE = 16 * 1024 * 1024
_MAX_LINKS = 40
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # NONBLOCK: a FIFO must not hang the open
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
    stat.S_IFLNK: "a link that changed meanwhile",
}


class NotAFolder(ToolError):
    """The path leads to something else than a folder."""


class Missing(ToolError):
    """The path goes through a folder that is not there."""


class Intent(StrEnum):
    """What the path is wanted for: CREATE makes missing folders; EDIT and CREATE keep out of `.git`."""

    READ = "read"
    EDIT = "edit"
    CREATE = "create"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path leads: an open folder, the name in it ("." for the folder itself), the path from the workspace.

    `name` was no link when it was looked at; every use of it says O_NOFOLLOW or works on the name itself.
    """

    folder: int
    name: str
    path: str


@contextmanager
def place(workspace: Path, path: str, intent: Intent) -> Iterator[Place]:
    """Resolve `path` beneath `workspace`; links that stay inside are followed. Raises ToolError."""
    with told(path):
        stack = [(os.open(workspace, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), "")]
        try:
            name = _walk(stack, deque(_parts(workspace, path)), workspace, path, intent)
            steps = [step for _, step in stack[1:]] + ([name] if name != "." else [])
            yield Place(stack[-1][0], name, "/".join(steps) or ".")
        finally:
            for descriptor, _ in stack:
                os.close(descriptor)


def canonical(workspace: Path, path: str) -> str:
    """Where `path` leads, links resolved, as a path from the workspace (for permission rules). Raises ToolError.

    What does not exist is taken as written.
    """
    with told(path):
        stack = [(os.open(workspace, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), "")]
        todo = deque(_parts(workspace, path))
        try:
            name = _walk(stack, todo, workspace, path, Intent.READ)
            rest = [name] if name != "." else []
        except FileNotFoundError as error:
            rest = [os.fsdecode(error.filename), *todo]
            if ".." in rest:
                raise ToolError(f"{path}: goes through a folder that does not exist.") from None
        finally:
            for descriptor, _ in stack:
                os.close(descriptor)
    return "/".join([step for _, step in stack[1:]] + rest) or "."


@contextmanager
def open_file(workspace: Path, path: str) -> Iterator[tuple[BinaryIO, str]]:
    """A regular file, open for reading, and its path from the workspace. Raises ToolError."""
    with place(workspace, path, Intent.READ) as here, ExitStack() as opened:
        try:
            file = opened.enter_context(_opened(here, path))
        except FileNotFoundError:
            raise missing(here, path) from None
        yield file, here.path


@contextmanager
def open_folder(workspace: Path, path: str) -> Iterator[tuple[int, str]]:
    """A folder's open descriptor and its path from the workspace. Raises ToolError."""
    with place(workspace, path, Intent.READ) as here:
        try:
            descriptor = os.open(here.name, _FOLDER, dir_fd=here.folder)
        except FileNotFoundError:
            raise missing(here, path) from None
        except NotADirectoryError:
            raise NotAFolder(f"{path}: not a folder.") from None
        try:
            yield descriptor, here.path
        finally:
            os.close(descriptor)


def contents(here: Place) -> bytes | None:
    """All bytes of the file, or None where there is none. Raises ToolError for what is not a regular file."""
    try:
        with _opened(here, here.path) as file:
            if os.fstat(file.fileno()).st_size > MAX_WHOLE:
                raise ToolError(f"{here.path}: larger than {MAX_WHOLE // 1024**2} MiB; use bash to change it.")
            return file.read()
    except FileNotFoundError:
        return None


def replace(here: Place, content: bytes, *, key: str) -> None:
    """Write the file whole or not at all, keeping mode and owner; `key` names the temporary file.

    The same key gives the same name, so that a call that is made again sweeps up what a crash left behind.
    """
    temporary = f".kheish-{hashlib.sha256(key.encode()).hexdigest()[:16]}.tmp"
    with suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=here.folder)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(temporary, flags, 0o666, dir_fd=here.folder), "wb") as file:
            file.write(content)
            file.flush()
            _keep_mode(here, file.fileno())
            os.fsync(file.fileno())
        os.replace(temporary, here.name, src_dir_fd=here.folder, dst_dir_fd=here.folder)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=here.folder)
        raise
    os.fsync(here.folder)


def remove(here: Place) -> None:
    """Remove the file's name from its folder, durably; nothing where it is gone already."""
    with suppress(FileNotFoundError):
        os.unlink(here.name, dir_fd=here.folder)
    os.fsync(here.folder)


def missing(here: Place, path: str) -> ToolError:
    """The error for a file that is not there, with the nearest names in its folder."""
    with suppress(OSError):
        entries = os.listdir(here.folder)  # noqa: PTH208 - a descriptor has no Path
        names = {name.casefold(): name for name in sorted(entries)}
        near = [names[name] for name in get_close_matches(here.name.casefold(), names, n=3, cutoff=0.6)]
        if near:
            return ToolError(f"{path}: does not exist. Similar names in the same folder: {', '.join(near)}.")
    return ToolError(f"{path}: does not exist.")


@contextmanager
def told(path: str) -> Iterator[None]:
    """Turn what the file system refuses into words for the model."""
    try:
        yield
    except FileNotFoundError as error:
        raise Missing(f"{path}: does not exist.") from error
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ToolError(f"{path}: {reason[:1].lower()}{reason[1:]}.") from error


def _parts(workspace: Path, path: str) -> list[str]:
    """The steps from the workspace to `path`, as written."""
    if "\0" in path:
        raise ToolError(f"{path!r}: a path cannot contain a NUL character.")
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        raise ToolError(f"{path!r}: not a usable file name.") from None
    if path == "~" or path.startswith("~/"):
        raise _outside(path)
    if path.startswith("/"):
        inside = _inside(workspace, path)
        if inside is None:
            raise _outside(path)
        path = inside
    return [part for part in path.split("/") if part not in ("", ".")]


def _inside(workspace: Path, absolute: str) -> str | None:
    """What follows the workspace in an absolute path; None where it lies elsewhere."""
    for root in (str(workspace), os.path.realpath(workspace)):
        if absolute == root or absolute.startswith(root.rstrip("/") + "/"):
            return absolute[len(root) :]
    return None


def _walk(stack: list[tuple[int, str]], todo: deque[str], workspace: Path, path: str, intent: Intent) -> str:
    """Open the folders of `todo` onto `stack`, and return the last name ("." where it is a folder on the stack)."""
    links = 0
    while todo:
        part = todo.popleft()
        if intent is not Intent.READ and part.casefold() == ".git":
            raise ToolError(f"{path}: .git belongs to git; change it with git commands in bash.")
        if part == "..":
            if len(stack) == 1:
                raise _outside(path)
            os.close(stack.pop()[0])
            continue
        if not todo:
            target = _link(stack[-1][0], part)
            if target is None:
                return part
        else:
            target = _enter(stack, part, path, intent)
            if target is None:
                continue
        links += 1
        if links > _MAX_LINKS:
            raise ToolError(f"{path}: too many links, or links that go in a circle.")
        _follow(stack, todo, target, workspace, path)
    return "."


def _enter(stack: list[tuple[int, str]], part: str, path: str, intent: Intent) -> str | None:
    """Open the folder `part` onto the stack; where it is a link, open nothing and return its target."""
    folder = stack[-1][0]
    for attempt in (1, 2):
        try:
            stack.append((os.open(part, _FOLDER, dir_fd=folder), part))
            return None
        except FileNotFoundError:
            if attempt == 2 or intent is not Intent.CREATE:
                raise
            with suppress(FileExistsError):
                os.mkdir(part, dir_fd=folder)
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            target = _link(folder, part)
            if target is None:
                raise ToolError(f"{path}: {part} is not a folder.") from None
            return target
    return None


def _follow(stack: list[tuple[int, str]], todo: deque[str], target: str, workspace: Path, path: str) -> None:
    """Put the steps of a link before those that are left to do."""
    if target.startswith("/"):
        inside = _inside(workspace, target)
        if inside is None:
            raise ToolError(f"{path}: goes through a link that leads out of the workspace; this is not allowed.")
        while len(stack) > 1:
            os.close(stack.pop()[0])
        target = inside
    todo.extendleft(reversed([part for part in target.split("/") if part not in ("", ".")]))


def _link(folder: int, name: str) -> str | None:
    """Where the link `name` leads; None where it is no link, or is not there."""
    try:
        return os.readlink(name, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise


@contextmanager
def _opened(here: Place, path: str) -> Iterator[BinaryIO]:
    # The first look keeps us from opening a device at all; the one after the open is the one that counts.
    _check_regular(os.stat(here.name, dir_fd=here.folder, follow_symlinks=False), path)
    with os.fdopen(os.open(here.name, _FILE, dir_fd=here.folder), "rb") as file:
        _check_regular(os.fstat(file.fileno()), path)
        yield file


def _check_regular(status: os.stat_result, path: str) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), "no regular file")
    hint = "; use list_files to see what is in it" if stat.S_ISDIR(status.st_mode) else ""
    raise ToolError(f"{path}: is {kind}, not a file{hint}.")


def _keep_mode(here: Place, descriptor: int) -> None:
    try:
        old = os.stat(here.name, dir_fd=here.folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
        with suppress(PermissionError):
            os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))


def _outside(path: str) -> ToolError:
    return ToolError(
        f"{path}: outside the workspace, where file tools do not go; use a path relative to the workspace."
    )
