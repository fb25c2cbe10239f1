"""Confinement of a command with bubblewrap: its view of the disk, the network, other processes and the environment.

Only the paths named here exist for it: the system folders and toolchains (read-only), the workspace (writable), an
empty home and an empty /tmp. The decision whether a command must be confined is made elsewhere.
"""

from __future__ import annotations

import functools
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from kheish.errors import Invalid
from kheish.jobs import gitdirs

#: parts of /proc that even a command without rights could read or set if the daemon is root
_PROC = ("/proc/keys", "/proc/key-users")
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix/store", "/gnu/store")
#: the folder of the machine's settings; its private parts (keys, password hashes) are hidden
_SETTINGS = ("/etc", "/usr/local/etc", "/opt")
_SETTINGS_DEPTH = 6
_SETTINGS_SECONDS = 60.0  # validity of the list of hidden paths there
_WRITABLE = ("/tmp", "/var/tmp")  # nosec B108  # empty ones of a command's own; nothing is put there
_BASE_PATH = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin")
_PROBE_TIMEOUT = 10.0
#: A folder that looks like a bare repository does not count as one, so that no command obeys its configuration. No
#: monitor of the file system runs. A new branch does not write to the configuration, which is read-only (see
#: gitdirs.py).
_GIT_SETTINGS = (("safe.bareRepository", "explicit"), ("core.fsmonitor", "false"), ("branch.autoSetupMerge", "false"))


def wrap(
    argv: Sequence[str],
    *,
    workspace: Path,
    hide: Sequence[Path] = (),
    read_only: Sequence[Path] = (),
    network: bool = False,
    home: Path | None = None,
    memory: int | None = None,
    repositories: Sequence[Path] | None = None,
    writable: Sequence[Path] = (),
    shown: Mapping[Path, Path] = MappingProxyType({}),
) -> tuple[str, ...]:
    """Return the command line that runs `argv` confined, with `workspace` as its working folder and, with those in
    `writable`, its only writable folder.

    `hide`: paths that must be invisible, wherever they lie (a workspace or toolchain beneath one of them stays
    visible). `read_only`: more folders to read. `home`: the user's home (default: that of this process), replaced by an
    empty folder. `network`: all of it, or none. `memory`: the limit in bytes for everything that it writes outside of
    the workspace, since that is held in memory (a bubblewrap before 0.7 cannot limit it). `repositories`: those of the
    workspace, if they are known. `shown`: folders to read in other places. Paths need not exist. Raises Invalid if the
    workspace itself must be hidden. Run it with `clean_environment`: bwrap passes its own environment on.
    """
    workspace = workspace.resolve()
    home = (home or Path.home()).resolve()
    hidden = {path.resolve() for path in hide}
    if workspace in hidden:
        raise Invalid(f"The workspace {workspace} is a folder that commands must not see.")
    mounts: dict[Path, tuple[str, ...]] = {path: _hide_path(path) for path in (home, *map(Path, _WRITABLE))}
    for path in (*toolchains(), *(path.absolute() for path in read_only)):
        mounts[path] = mounts[path.resolve()] = ("--ro-bind-try", str(path.resolve()), str(path))
        mounts[path.resolve()] = ("--ro-bind-try", str(path.resolve()), str(path.resolve()))
    known = gitdirs.repositories(workspace) if repositories is None else repositories
    for path, words in gitdirs.mounts(workspace, home, known).items():
        mounts.setdefault(path, words)
    for path in (*hidden, *_private_settings(int(time.monotonic() / _SETTINGS_SECONDS))):
        if path.exists():
            mounts[path] = _hide_path(path, "--size", "65536") if memory and _knows_size() else _hide_path(path)
    scratch = scratch_home()
    mounts.setdefault(scratch, ("--dir", str(scratch)))
    for path, source in shown.items():
        if not path.is_relative_to(workspace):  # a place to mount would be made in it
            mounts[path] = ("--ro-bind-try", str(source), str(path))
    mounts |= {path: ("--bind", str(path), str(path)) for path in (workspace, *(path.resolve() for path in writable))}
    limited = _limit_memory(mounts, home, memory) if memory and _knows_size() else ()
    # Parents first, so that deeper mounts cover those above them.
    ordered = sorted(mounts, key=lambda path: (len(path.parts), path))
    return (
        bwrap() or "bwrap",
        "--unshare-user-try" if os.geteuid() else "--cap-drop", *(() if os.geteuid() else ("ALL",)),
        "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try",
        *(() if network else ("--unshare-net",)),
        "--new-session", "--die-with-parent",
        *_system(network),
        "--proc", "/proc", *_proc(), "--dev", "/dev",
        *(word for path in ordered for word in mounts[path]), *limited,
        "--chdir", str(workspace), "--", *argv,
    )  # fmt: skip


def clean_environment(
    workspace: Path, read_only: Sequence[Path] = (), *, identity: tuple[str, str] | None = None
) -> dict[str, str]:
    """Return the whole environment of a command. From this process's own it takes only entries of PATH, and only those
    that the sandbox shows (so that a name means the same confined or not). `identity`: name and address for commits."""
    name, email = identity or ("", "")
    settings = [*_GIT_SETTINGS, *([("user.name", name)] if name else []), *([("user.email", email)] if email else [])]
    by = {"NAME": name, "EMAIL": email}
    return {
        **{f"GIT_{whose}_{part}": text for whose in ("AUTHOR", "COMMITTER") for part, text in by.items() if text},
        **{f"GIT_CONFIG_KEY_{at}": key for at, (key, _) in enumerate(settings)},
        **{f"GIT_CONFIG_VALUE_{at}": value for at, (_, value) in enumerate(settings)},
        "GIT_CONFIG_COUNT": str(len(settings)),
        "GIT_PAGER": "cat",
        "PAGER": "cat",
        "GIT_TERMINAL_PROMPT": "0",
        "PATH": os.pathsep.join(_path(read_only)),
        "HOME": str(scratch_home()),
        "PWD": str(workspace.resolve()),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
    }


def resolve_executable(name: str, path: str) -> str | None:
    """Return the file that `name` runs with this PATH; None if it is missing, or depends on the working folder."""
    if os.sep in name and not Path(name).is_absolute():
        return None
    absolute = os.pathsep.join(entry for entry in path.split(os.pathsep) if Path(entry).is_absolute())
    return shutil.which(name, path=absolute)


def toolchains() -> tuple[Path, ...]:
    """Return interpreter prefixes outside the system folders: this interpreter's, pyenv's, uv's. Every command can read
    them."""
    home = Path.home()
    candidates = (
        Path(sys.base_prefix),
        Path(sys.prefix),
        Path(os.environ.get("PYENV_ROOT") or home / ".pyenv"),
        Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or home / ".local/share/uv/python"),
    )
    # A prefix such as / or the home itself would show everything.
    return tuple(
        path
        for path in dict.fromkeys(candidates)
        if path.is_dir() and path.resolve() not in (Path("/"), home.resolve()) and not _in_system(path)
    )


def scratch_home() -> Path:
    """Return a home for commands that belongs to this user alone and has none of the user's files. It is created if
    missing."""
    path = Path(tempfile.gettempdir()).resolve() / f"kheish-home-{os.getuid()}"
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        found = path.lstat()
        # Any process may have created a known path in /tmp.
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
            return _private_home()
    return path


@functools.cache
def _private_home() -> Path:
    return Path(tempfile.mkdtemp(prefix="kheish-home-")).resolve()


def shows(path: Path) -> bool:
    """Return whether a confined command sees a file as part of the system."""
    return _in_system(path.resolve())


def bwrap() -> str | None:
    """Return the path of this machine's bubblewrap, or None."""
    return shutil.which("bwrap", path=os.pathsep.join(_BASE_PATH)) or shutil.which("bwrap")


def _system(network: bool) -> Iterator[str]:
    for folder in map(Path, _SYSTEM):
        if folder.is_symlink():
            yield from ("--symlink", str(folder.readlink()), str(folder))
        elif folder.is_dir():
            yield from ("--ro-bind", str(folder), str(folder))
    resolver = Path("/etc/resolv.conf").resolve()
    if network and not _in_system(resolver):
        yield from ("--ro-bind-try", str(resolver), str(resolver))


def _proc() -> Iterator[str]:
    """Yield options that make /proc read-only: for a daemon that is root, the kernel's settings belong to that user."""
    for path in _PROC:
        if os.path.exists(path):  # noqa: PTH110
            yield from ("--ro-bind", os.devnull, path)
    yield from ("--remount-ro", "/proc")


@functools.lru_cache(maxsize=2)
def _private_settings(_: int) -> tuple[Path, ...]:
    """Return the parts of the machine's settings that are not world-readable, such as password hashes and private
    keys. A daemon of root, or of a user in such a group, could read them. The argument is the time in steps, for
    the cache."""
    paths: list[Path] = []
    folders = [(Path(name), 0) for name in _SETTINGS]
    for folder, depth in folders:  # the list grows during the loop
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    mode = entry.stat(follow_symlinks=False).st_mode
                    if stat.S_ISLNK(mode):
                        continue
                    if not mode & (stat.S_IXOTH if stat.S_ISDIR(mode) else stat.S_IROTH):
                        paths.append(Path(entry.path))
                    elif stat.S_ISDIR(mode) and depth < (1 if folder.parts[1] == "opt" else _SETTINGS_DEPTH):
                        folders.append((Path(entry.path), depth + 1))
        except OSError:
            continue
    return tuple(paths)


def _hide_path(path: Path, *options: str) -> tuple[str, ...]:
    """Return options that put an empty folder, or an empty file, in place of the path."""
    return ("--ro-bind", os.devnull, str(path)) if path.is_file() else (*options, "--tmpfs", str(path))


def _limit_memory(mounts: dict[Path, tuple[str, ...]], home: Path, memory: int) -> tuple[str, ...]:
    """Share `memory` out among the writable folders in it; return the options that close the others, to put at the
    end."""
    size = "--size", str(memory // 4)
    for path in (home, *map(Path, _WRITABLE)):
        mounts[path] = (*size, *mounts[path]) if mounts[path][0] == "--tmpfs" else mounts[path]
    mounts[Path("/dev/shm")] = (*size, "--tmpfs", "/dev/shm")  # nosec B108  # a new one, of this command alone
    return "--remount-ro", "/dev", "--remount-ro", "/"


@functools.cache
def _knows_size() -> bool:
    """Return whether this bubblewrap can limit the size of a folder in memory."""
    try:
        done = subprocess.run([bwrap() or "bwrap", "--help"], capture_output=True, timeout=_PROBE_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return b"--size " in done.stdout + done.stderr


def _path(read_only: Sequence[Path]) -> list[str]:
    roots = [*toolchains(), *(path.absolute() for path in read_only)]
    own = [entry for entry in os.environ.get("PATH", "").split(os.pathsep) if entry and _sane(Path(entry), roots)]
    return list(dict.fromkeys((*own, str(Path(sys.base_prefix) / "bin"), *_BASE_PATH)))


def _sane(entry: Path, roots: Sequence[Path]) -> bool:
    """Return whether the sandbox shows the folder and only its owner can write to it."""
    if not entry.is_absolute() or not entry.is_dir() or entry.stat().st_mode & 0o002:
        return False
    return _in_system(entry) or any(entry.is_relative_to(root) for root in roots)


def _in_system(path: Path) -> bool:
    return any(path.is_relative_to(root) for root in _SYSTEM)
