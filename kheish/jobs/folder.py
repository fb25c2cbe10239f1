"""The folder of one job: which files it holds, how they are written, and whether its runner still lives.

    <root>/<job id>/spec.json       what to run (made first, before anything starts)
                    claim           who may run it: a runner (boot id, pid, start time), or the daemon (then never)
                    output.000000…  what the command wrote, see `output.py`
                    stop            {"grace": seconds}: the wish to end it, beside a SIGTERM to the runner
                    end.json        how it ended

The runner imports this, and must start in a few milliseconds: nothing but `os` and `json`, so no dataclasses, no
pathlib and no typing here.
"""
# pathlib would cost the runner 5 ms of import:
# ruff: noqa: PTH104, PTH108, PTH110, PTH118, PTH123

from __future__ import annotations

import json
import os

SPEC, CLAIM, STOP, END = "spec.json", "claim", "stop", "end.json"


def read(folder: str, name: str) -> dict[str, object] | None:
    """The JSON object in a file of the folder; None where there is no such file, empty where the disk damaged it."""
    try:
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            found = json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def write(folder: str, name: str, content: dict[str, object]) -> None:
    """Write the file whole or not at all, and durably. Raises OSError."""
    path = os.path.join(folder, name)
    temporary = _temporary(path, content)
    os.rename(temporary, path)
    sync(folder)


def take_claim(folder: str, owner: dict[str, object]) -> bool:
    """Write the claim if there is none: true for exactly one caller, ever. Raises OSError (no such folder).

    A hard link is as exclusive as O_EXCL, and the file is complete from the first moment: an empty claim, left by a
    kill between creating and writing, could belong to a command that runs or to one that never did.
    """
    path = os.path.join(folder, CLAIM)
    temporary = _temporary(path, owner)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        os.unlink(temporary)
    sync(folder)
    return True


def sync(folder: str) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporary(path: str, content: dict[str, object]) -> str:
    name = f"{path}.{os.getpid()}.{os.urandom(4).hex()}"
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        os.unlink(name)
        raise
    return name


def identity() -> dict[str, object]:
    """What tells this process from every other one, over restarts of the machine and reuse of its pid."""
    pid = os.getpid()
    return {"by": "runner", "boot": boot_id(), "pid": pid, "start": start_time(pid)}


def lives(owner: dict[str, object]) -> bool:
    """True where the process that `identity` described is alive; a zombie is not."""
    pid = owner.get("pid")
    if not isinstance(pid, int) or owner.get("boot") != boot_id():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return start_time(pid) == owner.get("start")


def boot_id() -> str:
    """Differs after every start of the machine; empty where the system has no such thing (not Linux)."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def start_time(pid: int) -> str:
    """When the process started (clock ticks since boot), "ended" for a zombie or none, "" where there is no /proc."""
    found = stat(pid)
    if found is None:
        return "ended" if os.path.exists("/proc/self/stat") else ""
    state, _, start = found
    return "ended" if state in "ZX" else start


def stat(pid: int) -> tuple[str, int, str] | None:
    """State letter, parent's pid and start time of a process; None where it is gone (or there is no /proc)."""
    found = fields(pid)
    return None if found is None else (found[1][0].decode(), int(found[1][1]), found[1][19].decode())


def fields(pid: int) -> tuple[bytes, list[bytes]] | None:
    """Name and fields, from the state on, of a process; None where it is gone (or there is no /proc)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            line = file.read()
    except OSError:
        return None
    # The name, in parentheses, may hold blanks and parentheses itself.
    end = line.rindex(b")")
    return line[line.index(b"(") + 1 : end], line[end + 2 :].split()
