"""What an idle daemon holds in memory: the process itself, and with the two that work for it."""

from __future__ import annotations

import time

from bench import generate, processes
from bench.report import Report, Row
from bench.roots import MIDDLE, Roots

SETTLE = 5.0


def measure(roots: Roots) -> Report:
    """A new root; and 10,000 sessions after each was changed once (so that none is only on disk)."""
    report = Report("memory")
    with processes.scratch() as folder:
        with processes.floor(folder) as (_, pid):
            time.sleep(1)
            floor = processes.rss(pid)
        with processes.daemon(processes.new_root(folder)) as daemon:
            idle = _taken(daemon)
    root = roots.path(MIDDLE)
    with processes.daemon(root):
        pass  # the first start makes the index
    with processes.daemon(root) as daemon:
        started = _taken(daemon)
        names = [generate.session_name(number) for number in range(MIDDLE)]
        processes.load("prepare", url=daemon.url, token=daemon.token, names=names, patch=True)
        used = _taken(daemon)
    floor_is = "bare Falcon route"
    for what, taken, limit in (
        ("idle, new root", idle, 90.0),
        (f"idle, {MIDDLE:,} sessions on disk", started, None),
        (f"{MIDDLE:,} sessions, each changed once", used, 200.0),
    ):
        report.rows += [
            Row(
                what=f"{what}: the daemon",
                measured=taken["daemon"],
                unit="MB",
                floor=floor,
                floor_is=floor_is,
                limit=limit,
            ),
            Row(what=f"{what}: with its children", measured=taken["all"], unit="MB", limit=limit),
            Row(what=f"{what}: the same, shared pages once", measured=taken["pss"], unit="MB"),
        ]
    report.notes.append("Resident memory (RSS). The children are the one that writes journals and index, and git's.")
    report.details = {"idle": idle, "started": started, "used": used, "floor": floor}
    return report


def _taken(daemon: processes.Daemon) -> dict[str, float]:
    time.sleep(SETTLE)
    pids = [daemon.pid, *processes.children(daemon.pid)]
    return {
        "daemon": processes.rss(daemon.pid),
        "all": sum(processes.rss(pid) for pid in pids),
        "pss": sum(processes.pss(pid) for pid in pids),
        "processes": len(pids),
    }
