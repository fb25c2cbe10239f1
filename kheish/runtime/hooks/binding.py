"""The trust in a hook: its file's content, and that of the files outside the system and the workspace that it names."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kheish.domain import trusts
from kheish.domain.definitions import Definition
from kheish.domain.hooks.definition import HookFile
from kheish.runtime.hooks.named import Unbindable as Unbindable, paths_of
from kheish.state.state import State

FOLDER = "hooks/"
_SYSTEM = (
    "/usr/", "/bin/", "/sbin/", "/lib/", "/lib32/", "/lib64/", "/libx32/", "/dev/", "/proc/", "/sys/", "/opt/", "/etc/",
    "/nix/",
)  # fmt: skip
_SHARED = ("/dev/shm/",)  # nosec B108
_FILES = 16
#: names that are looked up in folders
_LOOKUPS = 4096
_MOST_BYTES = 64 << 20
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})
_PROGRAMS = frozenset([
    ".sh", ".bash", ".zsh", ".ksh", ".fish", ".py", ".pyc", ".pyz", ".pl", ".pm", ".rb", ".js", ".mjs", ".cjs", ".ts",
    ".php", ".lua", ".tcl", ".awk", ".sed", ".r", ".jar", ".so", ".ps1", ".mk", ".jq", ".wasm",
])  # fmt: skip


def files_of(hook: HookFile) -> dict[str, str]:
    """Return the files that the trust in a command covers, with their digests. Blocks on disk. Raises Unbindable.

    These are the files that are words of the command, and the programs that it names in any other way: a file that it
    only writes changes with each run.
    """
    named = paths_of(hook)
    found: dict[str, str] = {}
    folders = dict(named.folders)
    for path in named.words:
        _add(found, path, _digest(path) if _is_own(path) else None)
    for path in (*named.words, *named.inside):
        if named.below and path not in found and _is_own(f"{path}/") and os.path.isdir(path):  # noqa: PTH112 - a hook names it as a text
            folders[path] = None
    own = [one for one in folders if _is_own(f"{one}/")]
    if len(own) * len(named.below) > _LOOKUPS:
        raise Unbindable("it names too many folders and files to look them all up; put its work into one script")
    below = (os.path.normpath(f"{folder}/{name}") for folder in own for name in named.below)
    for path in (*named.inside, *below):
        if path not in found and _is_own(path):
            _add(found, path, _digest(path, programs=True))
    return found


def _is_own(path: str) -> bool:
    return path.startswith(_SHARED) or not path.startswith(_SYSTEM)


def _add(found: dict[str, str], path: str, digest: str | None) -> None:
    if digest is None:
        return
    if len(found) >= _FILES:
        raise Unbindable(f"it names more than {_FILES} files outside system folders, the most that trust can cover")
    found[path] = digest


def _digest(path: str, *, programs: bool = False) -> str | None:
    """Return a digest of a regular file: of its content (the beginning of a very large one) and its size; None for
    anything else, and for data if only `programs` count. Raises Unbindable for a file that cannot be read."""
    try:
        about = Path(path).stat()
        if not stat.S_ISREG(about.st_mode):  # opening a device or a pipe could have effects
            return None
        is_program = not programs or about.st_mode & 0o111 != 0 or Path(path).suffix.lower() in _PROGRAMS
        return _read(path, is_program=is_program)
    except ValueError:
        return None
    except OSError as error:
        if error.errno in _ABSENT or (programs and error.errno in (errno.EACCES, errno.EPERM, errno.ELOOP)):
            return None
        raise Unbindable(f"{path} cannot be read: {error.strerror or error}") from error


def _read(path: str, *, is_program: bool) -> str | None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            return None
        if not is_program and os.pread(descriptor, 2, 0) != b"#!":
            return None
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            found = hashlib.sha256(file.read(_MOST_BYTES))
        found.update(f" {about.st_size}".encode())
        return found.hexdigest()
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Judged:
    """A hook as its trust and its files are now. `reason`: it is not started."""

    reason: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)


async def untrusted(state: State, found: Definition) -> str | None:
    """Return the reason why a hook is not started; None for one that may run. Raises Unavailable."""
    return (await judge(state, found)).reason


async def judge(state: State, found: Definition) -> Judged:
    """Return whether a hook may run, and the files that it names. Raises Unavailable."""
    hook: HookFile = found.value
    if not hook.commands:
        return Judged()
    name = f"{FOLDER}{found.id}"
    trusted = await trusts.find(state, name)
    try:
        files = await asyncio.to_thread(files_of, hook)
    except Unbindable as error:
        return Judged(str(error))
    if trusted is None:
        return Judged(f"it is not trusted yet: kheish trust {name}", files)
    if trusted.digest != found.digest:
        return Judged(f"its file changed since it was trusted: kheish trust {name}", files)
    return Judged(changed_files(name, trusted.files, files), files)


async def changed(id: str, hook: HookFile, before: Mapping[str, str]) -> str | None:
    """Return a reason if a file that a hook names has changed since its run began."""
    if hook.command is None:
        return None
    try:
        return changed_files(f"{FOLDER}{id}", before, await asyncio.to_thread(files_of, hook))
    except Unbindable as error:
        return str(error)


def changed_files(name: str, before: Mapping[str, str], now: Mapping[str, str]) -> str | None:
    """Return a reason if the files that a hook names are not those that a user trusted."""
    for path in sorted(before.keys() | now.keys()):
        if before.get(path) != now.get(path):
            return f"{path} changed since it was trusted: kheish trust {name}"
    return None
