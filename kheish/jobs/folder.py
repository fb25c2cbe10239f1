"""The folder of a job: its files, their writing, and the check whether the job's runner is alive.

    <root>/<job id>/spec.json       the command (written first, before anything starts)
                    claim           the process that may run it: a runner (boot id, pid, start time), or the daemon
                                    (then it never runs)
                    output.000000…  the command's output, see `output.py`
                    stop            {"grace": seconds}: the request to end it, beside a SIGTERM to the runner
                    end.json        the end

The runner imports this, and must start in a few milliseconds. So this imports nothing but `os` and `json`: no
dataclasses, no pathlib and no typing.
"""
# pathlib would cost the runner 5 ms of import:
# ruff: noqa: PTH104, PTH108, PTH110, PTH118, PTH123

from __future__ import annotations

import json
import os

SPEC, CLAIM, STOP, END = "spec.json", "claim", "stop", "end.json"


def read(folder: str, name: str) -> dict[str, object] | None:
    """Return the JSON object in a file of the folder; None if the file is missing, empty if it is damaged."""
    try:
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            data = json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def write(folder: str, name: str, content: dict[str, object]) -> None:
    """Write the file whole or not at all, and durably. Raises OSError."""
    path = os.path.join(folder, name)
    temporary = _temporary(path, content)
    os.rename(temporary, path)
    sync(folder)


def take_claim(folder: str, owner: dict[str, object]) -> bool:
    """Write the claim if there is none; return True to exactly one caller, ever. Raises OSError (no such folder).

    A hard link is as exclusive as O_EXCL, and the file is complete from the first moment. An empty claim, left by a
    kill between creating and writing, could belong to a running command or to one that never started.
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
    """Return an identity of this process that stays unique over reboots of the machine and reuse of its pid."""
    pid = os.getpid()
    return {"by": "runner", "boot": boot_id(), "pid": pid, "start": start_time(pid)}


def lives(owner: dict[str, object]) -> bool:
    """Return whether the process that `identity` described is alive; a zombie is not."""
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
    """Return an id that differs after every boot; empty if the system has none (not Linux)."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def start_time(pid: int) -> str:
    """Return the start time of a process (clock ticks since boot); "ended" for a zombie or a missing process, ""
    without /proc."""
    status = stat(pid)
    if status is None:
        return "ended" if os.path.exists("/proc/self/stat") else ""
    state, _, start = status
    return "ended" if state in "ZX" else start


def stat(pid: int) -> tuple[str, int, str] | None:
    """Return state letter, parent's pid and start time of a process; None if it is gone (or there is no /proc)."""
    parts = fields(pid)
    return None if parts is None else (parts[1][0].decode(), int(parts[1][1]), parts[1][19].decode())


def fields(pid: int) -> tuple[bytes, list[bytes]] | None:
    """Return the name and the fields, from the state on, of a process; None if it is gone (or there is no /proc)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            line = file.read()
    except OSError:
        return None
    # The name, in parentheses, may itself contain blanks and parentheses.
    end = line.rindex(b")")
    return line[line.index(b"(") + 1 : end], line[end + 2 :].split()
