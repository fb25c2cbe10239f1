"""Confines a command with bubblewrap: what it sees of the disk, the network, other processes and the environment.

Only what is named here is there at all: the system folders and toolchains to read, the workspace to write, an empty
home and an empty /tmp. Whether a command must be confined is decided elsewhere.
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
from collections.abc import Iterator, Sequence
from pathlib import Path

from kheish.errors import Invalid
from kheish.jobs import gitdirs

#: what of /proc even a command without rights could read or set where the daemon is root
_PROC = ("/proc/keys", "/proc/key-users")
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix/store", "/gnu/store")
#: where the settings of the machine are; what of them is not for everybody (keys, password hashes) is hidden
_SETTINGS = ("/etc", "/usr/local/etc", "/opt")
_SETTINGS_DEPTH = 6
_SETTINGS_SECONDS = 60.0  # how long the list of what is hidden there holds
_WRITABLE = ("/tmp", "/var/tmp")  # nosec B108  # empty ones of a command's own; nothing is put there
_BASE_PATH = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin")
_PROBE_TIMEOUT = 10.0
#: A folder that looks like a bare repository is none, so that no command obeys the configuration in it; no monitor of
#: the file system runs; and a new branch does not write to the configuration, which is read-only (see gitdirs.py).
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
) -> tuple[str, ...]:
    """The command line that runs `argv` confined, with `workspace` as its working folder and the only thing to write.

    `hide`: paths that must not be seen, wherever they lie (a workspace or toolchain beneath one of them stays).
    `read_only`: more folders to read. `home`: the person's home (default: of this process), replaced by an empty
    folder. `network`: all of it, or none. `memory`: bytes that all it writes outside of the workspace may have, for
    that is in memory (a bubblewrap before 0.7 cannot limit it). `repositories`: those of the workspace, where they
    are known. Paths need not exist. Raises Invalid where the
    workspace itself is to be hidden. Run it with `clean_environment`: bwrap passes its own environment on.
    """
    workspace = workspace.resolve()
    home = (home or Path.home()).resolve()
    hidden = {path.resolve() for path in hide}
    if workspace in hidden:
        raise Invalid(f"The workspace {workspace} is a folder that commands must not see.")
    mounts: dict[Path, tuple[str, ...]] = {path: _empty(path) for path in (home, *map(Path, _WRITABLE))}
    for path in (*toolchains(), *(path.absolute() for path in read_only)):
        mounts[path] = mounts[path.resolve()] = ("--ro-bind-try", str(path.resolve()), str(path))
        mounts[path.resolve()] = ("--ro-bind-try", str(path.resolve()), str(path.resolve()))
    found = gitdirs.repositories(workspace) if repositories is None else repositories
    for path, words in gitdirs.mounts(workspace, home, found).items():
        mounts.setdefault(path, words)
    for path in (*hidden, *_closed(int(time.monotonic() / _SETTINGS_SECONDS))):
        if path.exists():
            mounts[path] = _empty(path, "--size", "65536") if memory and _knows_size() else _empty(path)
    scratch = scratch_home()
    mounts.setdefault(scratch, ("--dir", str(scratch)))
    mounts[workspace] = ("--bind", str(workspace), str(workspace))
    limited = _limited(mounts, home, memory) if memory and _knows_size() else ()
    # Parents first, so that what lies deeper is mounted over what lies above it.
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
    """The whole environment of a command. Of this process's own, only entries of PATH come in, and only those that
    the sandbox shows (so that a name means the same confined or not). `identity`: name and address for commits.
    """
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
    """The file that `name` runs with this PATH; None where there is none, or where it hangs on the working folder."""
    if os.sep in name and not Path(name).is_absolute():
        return None
    absolute = os.pathsep.join(entry for entry in path.split(os.pathsep) if Path(entry).is_absolute())
    return shutil.which(name, path=absolute)


def toolchains() -> tuple[Path, ...]:
    """Interpreter prefixes outside the system folders: this interpreter's, pyenv's, uv's. Read by every command."""
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
    """A home for commands, of this user alone, with nothing of the person in it. Made where it is missing."""
    path = Path(tempfile.gettempdir()).resolve() / f"kheish-home-{os.getuid()}"
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        found = path.lstat()
        # Anybody may have put something at a known place in /tmp.
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
            return _private_home()
    return path


@functools.cache
def _private_home() -> Path:
    return Path(tempfile.mkdtemp(prefix="kheish-home-")).resolve()


def shows(path: Path) -> bool:
    """Return whether a confined command sees a file, as one of the system."""
    return _in_system(path.resolve())


def bwrap() -> str | None:
    """Return the bubblewrap of this machine; None where there is none."""
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
    """Nothing in /proc can be written: for a daemon that is root, the kernel's settings belong to that user."""
    for path in _PROC:
        if os.path.exists(path):  # noqa: PTH110
            yield from ("--ro-bind", os.devnull, path)
    yield from ("--remount-ro", "/proc")


@functools.lru_cache(maxsize=2)
def _closed(_: int) -> tuple[Path, ...]:
    """What of the machine's settings not everybody may read, such as password hashes and private keys: a daemon of
    root, or of a user in such a group, could. The argument is the time in steps, for the cache."""
    found: list[Path] = []
    folders = [(Path(name), 0) for name in _SETTINGS]
    for folder, depth in folders:  # grows while it is walked
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    mode = entry.stat(follow_symlinks=False).st_mode
                    if stat.S_ISLNK(mode):
                        continue
                    if not mode & (stat.S_IXOTH if stat.S_ISDIR(mode) else stat.S_IROTH):
                        found.append(Path(entry.path))
                    elif stat.S_ISDIR(mode) and depth < (1 if folder.parts[1] == "opt" else _SETTINGS_DEPTH):
                        folders.append((Path(entry.path), depth + 1))
        except OSError:
            continue
    return tuple(found)


def _empty(path: Path, *options: str) -> tuple[str, ...]:
    """An empty folder, or an empty file, in the place of the path."""
    return ("--ro-bind", os.devnull, str(path)) if path.is_file() else (*options, "--tmpfs", str(path))


def _limited(mounts: dict[Path, tuple[str, ...]], home: Path, memory: int) -> tuple[str, ...]:
    """Share `memory` out among the folders in it that a command may write; what closes the others, for the end."""
    size = "--size", str(memory // 4)
    for path in (home, *map(Path, _WRITABLE)):
        mounts[path] = (*size, *mounts[path]) if mounts[path][0] == "--tmpfs" else mounts[path]
    mounts[Path("/dev/shm")] = (*size, "--tmpfs", "/dev/shm")  # nosec B108  # a new one, of this command alone
    return "--remount-ro", "/dev", "--remount-ro", "/"


@functools.cache
def _knows_size() -> bool:
    """Whether this bubblewrap can limit what a folder in memory holds."""
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
    """True for a folder that the sandbox shows and that only its owner can fill."""
    if not entry.is_absolute() or not entry.is_dir() or entry.stat().st_mode & 0o002:
        return False
    return _in_system(entry) or any(entry.is_relative_to(root) for root in roots)


def _in_system(path: Path) -> bool:
    return any(path.is_relative_to(root) for root in _SYSTEM)
