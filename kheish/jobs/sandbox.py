"""Confines a command with bubblewrap: what it sees of the disk, the network, other processes and the environment.

Only what is named here is there at all: the system folders and toolchains to read, the workspace to write, an empty
home and an empty /tmp. Whether a command must be confined is decided elsewhere.
"""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kheish.errors import Invalid

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix/store", "/gnu/store")
#: keys of the machine that a root daemon could read
_KEYS = ("/etc/shadow", "/etc/gshadow", "/etc/ssl/private", "/etc/sudoers", "/etc/sudoers.d")
_WRITABLE = ("/tmp", "/var/tmp")  # nosec B108  # empty ones of a command's own; nothing is put there
_BASE_PATH = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin")
_PROBE_TIMEOUT = 10.0


@dataclass(frozen=True)
class Probe:
    """Whether bubblewrap works here; `why` says what it is, or why not, in one line."""

    available: bool
    why: str


@functools.cache
def probe() -> Probe:
    """Run a command in the sandbox once, and remember how it went. Blocks; see `probe_async`."""
    bwrap = _bwrap()
    if bwrap is None:
        return Probe(False, "bubblewrap (bwrap) is not installed")
    with tempfile.TemporaryDirectory(prefix="kheish-probe-") as workspace:
        argv = wrap(("true",), workspace=Path(workspace))
        try:
            done = subprocess.run(
                argv,
                env=clean_environment(Path(workspace)),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_PROBE_TIMEOUT,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return Probe(False, f"{bwrap} cannot be used: {error}")
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        return Probe(False, f"{bwrap} does not work here: {said[-1] if said else f'exit status {done.returncode}'}")
    return Probe(True, f"confined by {bwrap}")


async def probe_async() -> Probe:
    """`probe`, off the event loop."""
    return await asyncio.to_thread(probe)


def wrap(
    argv: Sequence[str],
    *,
    workspace: Path,
    hide: Sequence[Path] = (),
    read_only: Sequence[Path] = (),
    network: bool = False,
    home: Path | None = None,
    memory: int | None = None,
) -> tuple[str, ...]:
    """The command line that runs `argv` confined, with `workspace` as its working folder and the only thing to write.

    `hide`: paths that must not be seen, wherever they lie (a workspace or toolchain beneath one of them stays).
    `read_only`: more folders to read. `home`: the person's home (default: of this process), replaced by an empty
    folder. `network`: all of it, or none. `memory`: bytes that all it writes outside of the workspace may have, for
    that is in memory (a bubblewrap before 0.7 cannot limit it). Paths need not exist. Raises Invalid where the
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
    for path in (*hidden, *_machine_keys()):
        if path.exists():
            mounts[path] = _empty(path, "--size", "65536") if memory and _knows_size() else _empty(path)
    scratch = scratch_home()
    mounts.setdefault(scratch, ("--dir", str(scratch)))
    mounts[workspace] = ("--bind", str(workspace), str(workspace))
    limited = _limited(mounts, home, memory) if memory and _knows_size() else ()
    # Parents first, so that what lies deeper is mounted over what lies above it.
    ordered = sorted(mounts, key=lambda path: (len(path.parts), path))
    return (
        _bwrap() or "bwrap",
        "--unshare-user-try" if os.geteuid() else "--cap-drop", *(() if os.geteuid() else ("ALL",)),
        "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try",
        *(() if network else ("--unshare-net",)),
        "--new-session", "--die-with-parent",
        *_system(network),
        "--proc", "/proc", "--dev", "/dev",
        *(word for path in ordered for word in mounts[path]), *limited,
        "--chdir", str(workspace), "--", *argv,
    )  # fmt: skip


def clean_environment(workspace: Path, read_only: Sequence[Path] = ()) -> dict[str, str]:
    """The whole environment of a command. Of this process's own, only entries of PATH come in, and only those that
    the sandbox shows (so that a name means the same confined or not).
    """
    return {
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


def _bwrap() -> str | None:
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


def _machine_keys() -> Iterator[Path]:
    yield from map(Path, _KEYS)
    yield from Path("/etc/ssh").glob("ssh_host_*_key")


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
        done = subprocess.run([_bwrap() or "bwrap", "--help"], capture_output=True, timeout=_PROBE_TIMEOUT, check=False)
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
