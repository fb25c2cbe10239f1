"""The processes of a command: all that descend from its runner, whatever session they are in.

The runner is their subreaper, so that none gets away by `setsid` or by the death of its parent; it counts them, and
ends them. Limits of the kernel do not do this: RLIMIT_NPROC counts all of a user's processes and lets root pass, and
a control group of one's own is not to be had in most containers.
"""
# Imported by the runner, see folder.py:
# ruff: noqa: PTH123, PTH208

from __future__ import annotations

import os
import resource
import signal
import sys

from kheish.jobs import folder

#: seconds between looks; between looks at memory, which read more
LOOK_EVERY = 0.1
_MEMORY_EVERY = 1.0
#: how often what a bomb has made meanwhile is looked for again
_SWEEPS = 100
#: rather a command than the daemon, where the kernel must choose
_OOM_SCORE = "500"


class Process:
    """One living descendant as /proc has it; `tasks` counts its threads."""

    __slots__ = ("name", "pid", "tasks")

    def __init__(self, pid: int, name: bytes, tasks: int) -> None:
        self.pid = pid
        self.name = name
        self.tasks = tasks


def descendants() -> list[Process] | None:
    """Every living descendant of this process, nearest first; None where there is no /proc."""
    try:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return None
    children: dict[int, list[Process]] = {}
    for pid in pids:
        found = folder.fields(pid)
        if found is not None and found[1][0] not in (b"Z", b"X"):
            name, rest = found
            children.setdefault(int(rest[1]), []).append(Process(pid, name, int(rest[17])))
    there = list(children.get(os.getpid(), ()))
    for process in there:  # grows while it is walked
        there += children.get(process.pid, ())
    return there


def end(main: int, number: int) -> None:
    """Signal all descendants; where there is no /proc, the main process's group."""
    there = descendants()
    if there is None:
        with _Gone():
            os.killpg(main, number)
        return
    for process in there:
        # A TERM would make bwrap kill what it holds at once; let the command inside have its grace.
        if number == signal.SIGTERM and process.name == b"bwrap":
            continue
        with _Gone():
            os.kill(process.pid, number)


def end_at_once(main: int) -> None:
    """Kill what makes new processes faster than one can kill them.

    The end of a sandbox's first process is the kernel's end of all in it, and most others are of one group: that costs
    nothing, however busy the machine is. The rest is stopped, in the order of pids and so after the newest, until there
    is no other; what is stopped makes no more, and is killed by `end`.
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
    """Stop descendants that are not known yet, as they are met: what they make meanwhile comes later in /proc."""
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
            found = folder.fields(pid)
            if found is None or found[1][0] in (b"Z", b"X"):
                continue
            parent = int(found[1][1])
            if parent == own or parent in known:
                known.add(pid)
                with _Gone():
                    os.kill(pid, signal.SIGSTOP)


class _hurrying:
    """Puts this process before all others, where it may (root): among thousands of a bomb it would hardly ever run."""

    def __enter__(self) -> None:
        if sys.platform == "linux":
            with _Gone():
                os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))

    def __exit__(self, *_: object) -> None:
        if sys.platform == "linux":
            with _Gone():
                os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def confine(limits: dict[str, object]) -> None:
    """Limits of the kernel for this process, which is to become the command, and what it will start."""
    # A dump of memory has secrets in it, and fills disks. 0 would still hand it to a program that the kernel's
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
    """Looks whether a command has more processes (threads count) or memory than it may. A look is next to free while
    nothing was forked: only as many new pids as are missing to the limit can exceed it."""

    def __init__(self, limits: dict[str, object], now: float) -> None:
        most, memory = limits.get("processes"), limits.get("memory")
        self._most = most if isinstance(most, int) else None
        self._memory = memory if isinstance(memory, int) else None
        self._due = now + LOOK_EVERY
        self._memory_due = now + LOOK_EVERY
        self._last = _last_pid()
        self._room = 0
        self.seen = 0  # processes, at the look that found too many

    def due(self) -> float | None:
        """When it wants to look again; None where nothing is limited."""
        return None if self._most is None and self._memory is None else self._due

    def exceeded(self, now: float) -> str | None:
        """Which limit is exceeded (`processes`, `memory`), if one is and it is time to look."""
        if self.due() is None or now < self._due:
            return None
        self._due = now + LOOK_EVERY
        if self._most is not None and self._has_forked(self._most):
            return "processes"
        if self._memory is not None and now >= self._memory_due:
            self._memory_due = now + _MEMORY_EVERY
            pids = [process.pid for process in descendants() or ()]
            self.seen = len(pids)
            # Shared pages count for each in the sum that is quick to have; so the exact one decides.
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
    """The pid that was given out last; -1 where nobody says."""
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
    """Its memory, where what it shares with n others counts an nth; swapped out or not."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            return sum(int(line.split()[1]) * 1024 for line in file if line.startswith((b"Pss:", b"SwapPss:")))
    except OSError:  # an old kernel, or it has ended
        return _resident(pid)


class _Gone:
    """Passes over a process that has ended, or that belongs to somebody else."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is not None and issubclass(kind, ProcessLookupError | PermissionError)
