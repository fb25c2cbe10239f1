"""The processes of a command: all descendants of its runner, whatever their session.

The runner is their subreaper, so that none escapes by `setsid` or by the death of its parent; it counts them, and ends
them. Limits of the kernel cannot do this: RLIMIT_NPROC counts all of a user's processes and exempts root, and most
containers allow no control groups inside.
"""
# Imported by the runner, see folder.py:
# ruff: noqa: PTH123, PTH208

from __future__ import annotations

import os
import resource
import signal
import sys

from kheish.jobs import folder

#: seconds between checks; between checks of memory, which read more
LOOK_EVERY = 0.1
_MEMORY_EVERY = 1.0
#: rounds of the search for processes that a bomb has created meanwhile
_SWEEPS = 100
#: the kernel should kill a command rather than the daemon
_OOM_SCORE = "500"


class Process:
    """A living descendant as /proc shows it; `tasks` counts its threads."""

    __slots__ = ("name", "pid", "tasks")

    def __init__(self, pid: int, name: bytes, tasks: int) -> None:
        self.pid = pid
        self.name = name
        self.tasks = tasks


def descendants() -> list[Process] | None:
    """Return every living descendant of this process, nearest first; None without /proc."""
    try:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return None
    children: dict[int, list[Process]] = {}
    for pid in pids:
        entry = folder.fields(pid)
        if entry is not None and entry[1][0] not in (b"Z", b"X"):
            name, rest = entry
            children.setdefault(int(rest[1]), []).append(Process(pid, name, int(rest[17])))
    processes = list(children.get(os.getpid(), ()))
    for process in processes:  # the list grows during the loop
        processes += children.get(process.pid, ())
    return processes


def end(main: int, number: int) -> None:
    """Signal all descendants; without /proc, the main process's group."""
    processes = descendants()
    if processes is None:
        with _Gone():
            os.killpg(main, number)
        return
    for process in processes:
        # A TERM would make bwrap kill its children at once; leave the command inside its grace period.
        if number == signal.SIGTERM and process.name == b"bwrap":
            continue
        with _Gone():
            os.kill(process.pid, number)


def end_at_once(main: int) -> None:
    """Kill processes that multiply faster than they can be killed.

    When the first process of a sandbox ends, the kernel ends all processes in it, and most others belong to one group:
    both are cheap, however busy the machine is. The rest is stopped, in the order of pids and so after the newest,
    until no other is left. Stopped processes create no more, and `end` kills them.
    """
    with _hurrying():
        for kill in (os.killpg, os.kill):
            with _Gone():
                kill(main, signal.SIGKILL)
        known: set[int] = set()
        for _ in range(_SWEEPS):
            before = len(known)
            _sweep(known)
            if len(known) == before:
                return


def _sweep(known: set[int]) -> None:
    """Stop new descendants as they are found: those that they create meanwhile come later in /proc."""
    own = os.getpid()
    try:
        entries = os.scandir("/proc")
    except OSError:
        return
    with entries:
        for entry in entries:
            pid = int(entry.name) if entry.name.isdigit() else 0
            if not pid or pid in known:
                continue
            fields = folder.fields(pid)
            if fields is None or fields[1][0] in (b"Z", b"X"):
                continue
            parent = int(fields[1][1])
            if parent == own or parent in known:
                known.add(pid)
                with _Gone():
                    os.kill(pid, signal.SIGSTOP)


class _hurrying:
    """A context that gives this process the highest priority if allowed (root): among thousands of a bomb's processes
    it would hardly ever run."""

    def __enter__(self) -> None:
        if sys.platform == "linux":
            with _Gone():
                os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))

    def __exit__(self, *_: object) -> None:
        if sys.platform == "linux":
            with _Gone():
                os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def confine(limits: dict[str, object]) -> None:
    """Set kernel limits for this process, which is to become the command, and for its children."""
    # A core dump contains secrets, and fills disks. A limit of 0 would still pass it to a program that the kernel's
    # core_pattern names, outside of the sandbox; 1 byte is too little for both.
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    most = 1 if hard == resource.RLIM_INFINITY else min(1, hard)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))
    size = limits.get("file_size")
    if isinstance(size, int):
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        most = size if hard == resource.RLIM_INFINITY else min(size, hard)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(_OOM_SCORE)
    except OSError:
        pass  # not Linux, or already higher


class Watch:
    """A check whether a command exceeds its limit of processes (threads count) or memory. A check is almost free while
    nothing was forked: the limit can be exceeded only by as many new pids as it has left."""

    def __init__(self, limits: dict[str, object], now: float) -> None:
        most, memory = limits.get("processes"), limits.get("memory")
        self._most = most if isinstance(most, int) else None
        self._memory = memory if isinstance(memory, int) else None
        self._due = now + LOOK_EVERY
        self._memory_due = now + LOOK_EVERY
        self._last = _last_pid()
        self._room = 0
        self.seen = 0  # processes at the check that found too many

    def due(self) -> float | None:
        """Return the time of the next check; None if nothing is limited."""
        return None if self._most is None and self._memory is None else self._due

    def exceeded(self, now: float) -> str | None:
        """Return the exceeded limit (`processes`, `memory`), if there is one and a check is due."""
        if self.due() is None or now < self._due:
            return None
        self._due = now + LOOK_EVERY
        if self._most is not None and self._has_forked(self._most):
            return "processes"
        if self._memory is not None and now >= self._memory_due:
            self._memory_due = now + _MEMORY_EVERY
            pids = [process.pid for process in descendants() or ()]
            self.seen = len(pids)
            # The quick sum counts shared pages for each process; so the exact sum decides.
            if sum(map(_resident, pids)) > self._memory and sum(map(_proportional, pids)) > self._memory:
                return "memory"
        return None

    def _has_forked(self, most: int) -> bool:
        last = _last_pid()
        if 0 <= last - self._last < self._room:
            return False
        with _hurrying():
            there = descendants() or ()
        tasks = sum(process.tasks for process in there)
        self._last, self._room, self.seen = last, max(1, most - tasks), len(there)
        return tasks > most


def _last_pid() -> int:
    """Return the last pid that the kernel assigned; -1 if unknown."""
    try:
        with open("/proc/loadavg", "rb") as file:
            return int(file.read().split()[4])
    except (OSError, ValueError, IndexError):
        return -1


def _resident(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def _proportional(pid: int) -> int:
    """Return its memory, swapped out or not; of memory shared with n others it counts an nth."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            return sum(int(line.split()[1]) * 1024 for line in file if line.startswith((b"Pss:", b"SwapPss:")))
    except OSError:  # an old kernel, or it has ended
        return _resident(pid)


class _Gone:
    """A context that ignores the error of a process that has ended, or that belongs to another user."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is not None and issubclass(kind, ProcessLookupError | PermissionError)
