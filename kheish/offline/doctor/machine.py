"""The checks of `kheish doctor` on the machine: programs, the sandbox, disk space, limits of the kernel."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kheish.jobs.probing import Probe
from kheish.store.files import LOW_SPACE, free_bytes
from kheish.store.git import command as git_store

_PYTHON = (3, 11)
_ROOMY = 1024**3  # bytes: below this a person should look, long before work is refused
_WATCHES = 8192  # folders; the kernel's old default
_INOTIFY = Path("/proc/sys/fs/inotify")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: how it is, and, where it is not well, what to do."""

    level: Literal["ok", "note", "warning", "error"]
    what: str
    do: str = ""


def python() -> Iterator[Finding]:
    found = f"Python {platform.python_version()} ({sys.executable})"
    if sys.version_info >= _PYTHON:
        yield Finding("ok", found)
    else:
        yield Finding("error", f"{found} is too old", "Install Python 3.11 or newer.")


def git() -> Iterator[Finding]:
    """Check for the program git: the daemon brings its own git library; people and backups use the program."""
    program = shutil.which("git")
    if program is None:
        yield Finding("warning", "git is not on the PATH", "Install git: `git log` and `git push` are how you read and "
                      "back up a state root.")  # fmt: skip
        return
    said = git_store.run(None, ("--version",)).stdout.decode(errors="replace")
    yield Finding("ok", f"{said.strip()} ({program})")


def ripgrep() -> Iterator[Finding]:
    program = shutil.which("rg")
    if program:
        yield Finding("ok", f"ripgrep ({program})")
    else:
        yield Finding("warning", "ripgrep (rg) is not on the PATH: searching is slower", "Install ripgrep.")


def confinement(mode: str, found: Probe) -> Iterator[Finding]:
    """Report whether commands are confined, and what `sandbox.mode` makes of it."""
    if mode == "off":
        yield Finding("warning", "commands run unconfined (sandbox.mode: off)",
                      "Keep that only where something else, such as a container, confines the daemon.")  # fmt: skip
    elif found.available:
        yield Finding("ok", f"commands are {found.why} (sandbox.mode: {mode})")
        for gap in found.gaps:
            yield Finding("warning", gap, "Grant the network only to commands that you trust, or use a newer kernel.")
    elif mode == "required":
        yield Finding("error", f"every command is refused (sandbox.mode: required): {found.why}",
                      "Install bubblewrap, or allow user namespaces.")  # fmt: skip
    else:
        yield Finding("warning", f"commands cannot be confined, so each one asks, whatever the rules say: {found.why}",
                      "Install bubblewrap (and allow user namespaces); or, inside a container that confines the "
                      "daemon, set sandbox.mode: off in kheish.yaml.")  # fmt: skip


def user() -> Iterator[Finding]:
    """Advise against a daemon of root: what the sandbox forgets would be allowed."""
    if os.geteuid() == 0:
        yield Finding(
            "warning",
            "this user is root: a command that escapes from the sandbox would control the whole machine",
            "Run the daemon as a dedicated user that owns the state root and the workspaces.",
        )


def identity(name: str | None, email: str | None, workspace: Path | None) -> Iterator[Finding]:
    """Report the author of commits that commands of agents make."""
    found = git_store.identity(workspace or Path.home())
    whose = f"{name or found[0] or git_store.NAME} <{email or found[1] or git_store.EMAIL}>"
    if (name or found[0]) and (email or found[1]):
        yield Finding("ok", f"agents' commits are authored by {whose}")
    else:
        yield Finding("warning", f"git has no user.name or no user.email, so agents' commits are authored by {whose}",
                      "Set git.name and git.email in kheish.yaml, or user.name and user.email of git.")  # fmt: skip


def space(folder: Path) -> Iterator[Finding]:
    free = free_bytes(folder)
    said = f"{free / 1024**3:.1f} GiB free for {folder}"
    if free < LOW_SPACE:
        yield Finding("error", f"{said}: new work is refused", "Free some space.")
    elif free < _ROOMY:
        yield Finding("warning", said, f"Free some space: below {LOW_SPACE // 1024**2} MiB new work is refused.")
    else:
        yield Finding("ok", said)


def watches() -> Iterator[Finding]:
    """Report how many folders the kernel lets one user watch. If it does not say, folders may be polled."""
    if sys.platform != "linux":
        return  # watchdog uses what the system has instead
    try:
        watched = int((_INOTIFY / "max_user_watches").read_text())
        instances = int((_INOTIFY / "max_user_instances").read_text())
    except (OSError, ValueError):
        yield Finding(
            "warning", "the limits of inotify cannot be read: edits may be detected by polling only, within 3 s"
        )
        return
    said = f"inotify: {watched} watches, {instances} instances for each user"
    if watched < _WATCHES or instances < 16:
        yield Finding("warning", said, "Raise fs.inotify.max_user_watches and fs.inotify.max_user_instances (sysctl); "
                      "otherwise edits may be detected by polling only, within 3 s.")  # fmt: skip
    else:
        yield Finding("ok", said)
