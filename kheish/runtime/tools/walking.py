"""Runs of a search engine over a folder: ripgrep, confined like a command, or Python's script.

ripgrep opens the ignore files of each folder by name, whatever they are: a pipe blocks it for ever, and a device or a
huge file fills the memory. So its memory is limited, and a search that uses no processor time for a second is ended.
If an ignore file is to blame, ripgrep searches once more without all of them, and the result says so. *Rejected:*
finding these files before each search, since that walks the folder twice.
"""

from __future__ import annotations

import os
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from kheish.beneath import Door, Hidden, files, ignores, names
from kheish.beneath.door import opened
from kheish.errors import NotAFolder
from kheish.jobs import sandbox
from kheish.runtime.tools import processes, scan, workspace
from kheish.runtime.tools.base import Context
from kheish.runtime.tools.files import HEAPS
from kheish.runtime.tools.processes import Answer
from kheish.runtime.tools.shell import SandboxSettings

#: seconds of the search for an ignore file that is no plain file
_LOOK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Target:
    """The folder or file to search: an open descriptor, and its path from the workspace. `ignored`: the rules of the
    workspace's ignore files above it, for its content.
    """

    descriptor: int
    path: str
    is_file: bool
    ignored: bytes = b""

    def shown(self, found: str) -> str:
        """Return the path of a match from the workspace."""
        if self.is_file:
            return self.path
        found = found.removeprefix("./")
        return names.as_path(found) if self.path == "." else f"{self.path}/{names.shown(found)}"


@dataclass(frozen=True, slots=True)
class Engine:
    """The search engine: ripgrep, confined if there are settings for it, or Python."""

    rg: str | None
    settings: SandboxSettings | None = None

    def walking(self, argv: list[str], target: Target, door: Door) -> list[str]:
        """Return a command that walks by path in the form in which it is run. Blocks on disk."""
        if self.settings is None or target.is_file:
            return argv
        folder = str(door.path) if target.path == "." else f"{door.path}/{names.meant(target.path)}"
        inside = ("sh", "-c", 'cd -- "$1" && shift && exec "$@"', "sh", folder, *argv)
        hide, more = self.settings.hide, self.settings.read_only
        return list(sandbox.wrap(inside, workspace=door.path, hide=hide, read_only=more))


def choose(ripgrep: Callable[[], str | None], settings: SandboxSettings | None) -> Engine:
    """Return the search engine: ripgrep if it is installed, and can be seen where commands are confined."""
    rg = ripgrep()
    if settings is None or not settings.available or settings.mode == "off" or rg is None:
        return Engine(rg)
    return Engine(rg, settings) if sandbox.shows(Path(rg)) else Engine(None)


def open_target(door: Door, path: str) -> Target:
    """Open the folder or file to search. Blocks on disk."""
    with opened(door) as root:
        try:
            with files.open_folder(root, path) as (folder, where):
                return Target(os.dup(folder), where, is_file=False, ignored=ignores.above(root, where))
        except NotAFolder:
            with files.open_file(root, path) as (file, where):
                return Target(os.dup(file.fileno()), where, is_file=True)


async def run(
    argv: list[str],
    target: Target,
    limit: int,
    *,
    ignored: int | None = None,
    seconds: float | None = None,
    ends_idle: bool = False,
) -> Answer:
    """Run a search in the target's folder, or on the target as its input."""
    more = () if ignored is None else (ignored,)
    if target.is_file:
        return await processes.execute(argv, limit, stdin=target.descriptor, cwd="/", descriptors=more, seconds=seconds)
    # The open folder itself, not its path, which could lead elsewhere by now.
    cwd = f"/proc/self/fd/{target.descriptor}"
    return await processes.execute(
        argv, limit, stdin=DEVNULL, cwd=cwd, descriptors=more, seconds=seconds, ends_idle=ends_idle
    )


async def walk(argv: list[str], target: Target, limit: int, engine: Engine, context: Context) -> Answer:
    """Run a search that walks the target's folder, by the rules of its ignore files and those above it."""
    if engine.rg is None:
        return await _walk_once(argv, target, limit, engine, context)
    answer = await _walk_once(argv, target, limit, engine, context, ends_idle=True)
    if not (answer.is_idle or answer.is_crash):
        return answer
    look = [*python(context.hidden), "--ignore-files"]
    named = await run(look, target, 4096, seconds=_LOOK_SECONDS)
    if named.out:
        path = target.shown(os.fsdecode(named.out.partition(b"\0")[0]))
        answer = await _walk_once(_without_ignore_files(argv), target, limit, engine, context)
        return replace(answer, note=f"{path} is no plain, small file, so no ignore file was applied; remove it")
    if answer.is_idle:  # a slow disk
        return await _walk_once(argv, target, limit, engine, context)
    return answer


def _without_ignore_files(argv: list[str]) -> list[str]:
    return [argv[0], "--no-ignore", *(f"--glob=!{name}" for name in sorted(HEAPS)), *argv[1:]]


async def _walk_once(
    argv: list[str], target: Target, limit: int, engine: Engine, context: Context, *, ends_idle: bool = False
) -> Answer:
    if engine.rg is None or not target.ignored:
        argv = await workspace.work(context, engine.walking, argv, target, context.door)
        return await run(argv, target, limit, ends_idle=ends_idle)
    ignored = os.memfd_create("ignored", os.MFD_CLOEXEC)
    try:
        os.write(ignored, target.ignored)
        argv = [argv[0], f"--ignore-file=/proc/self/fd/{ignored}", *argv[1:]]
        argv = await workspace.work(context, engine.walking, argv, target, context.door)
        return await run(argv, target, limit, ignored=ignored, ends_idle=ends_idle)
    finally:
        os.close(ignored)


def ripgrep_command(rg: str) -> list[str]:
    """Return the beginning of a command line of ripgrep.

    Ignore files of the workspace apply, those of the user and of the folders above it do not.
    """
    own = ["--no-config", "--no-ignore-parent", "--no-ignore-global", "--no-require-git"]
    return [rg, *own, "--hidden", "--glob=!.git", "--null", "--sort=path"]


def python(hidden: Hidden) -> list[str]:
    """Return the beginning of a command line of Python's search script."""
    skipped = [f"--skip={name}" for name in sorted(HEAPS)]
    skipped += [f"--hidden={device}:{inode}" for device, inode in sorted(hidden.ids())]
    return [sys.executable, "-I", "-S", str(scan.__file__), *skipped]
