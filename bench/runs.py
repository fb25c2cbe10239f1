"""How many runs a daemon finishes a second: 64 clients, each with one run at a time, over 200 sessions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench import processes
from bench.report import Report, Row

CLIENTS = 64
SESSIONS = 200
SECONDS = 10.0
OPENAI = "driver: openai\nmodel: standin-1\napi_base: {url}\n"


def measure() -> Report:
    """With the `scripted` driver."""
    report = Report("runs")
    with processes.scratch() as folder:
        with processes.floor(folder) as (url, _):
            floor = processes.load("appends", url=url, clients=CLIENTS, seconds=4)
        found, cpu = _daemon(folder, processes.SCRIPTED)
    _rows(report, found, cpu, "runs finished, scripted", 500.0, floor["rate"], "bare route, one fsynced append")
    report.details = {"load": found, "floor": floor, "cpu": cpu}
    return report


def measure_openai() -> Report:
    """With the `openai` driver, streaming from a stand-in in its own process."""
    report = Report("runs-openai")
    with processes.scratch() as folder, processes.standin("--chunks", "5") as (url, _):
        direct = processes.load("completions", url=url.removesuffix("/v1"), clients=CLIENTS, seconds=4)
        found, cpu = _daemon(folder, OPENAI.format(url=url))
    _rows(report, found, cpu, "runs finished, openai streaming", 150.0, direct["rate"], "the stand-in asked directly")
    report.details = {"load": found, "floor": direct, "cpu": cpu}
    return report


def measure_driver_processes() -> Report:
    """With the `openai` driver in the daemon's process, and in 2 and 4 driver processes."""
    report = Report("driver-processes")
    report.details = {}
    with processes.standin("--chunks", "5") as (url, _):
        for number in (0, 2, 4):
            with processes.scratch() as folder:
                direct = processes.load("completions", url=url.removesuffix("/v1"), clients=CLIENTS, seconds=4)
                found, cpu = _daemon(folder, OPENAI.format(url=url), f"concurrency: {{driver_processes: {number}}}\n")
            what = f"runs finished, openai streaming, {number} driver processes"
            _rows(report, found, cpu, what, None, direct["rate"], "the stand-in asked directly")
            report.details[str(number)] = {"load": found, "floor": direct, "cpu": cpu}
        for driver in ("openai", "litellm"):
            model = "openai/standin-1" if driver == "litellm" else "standin-1"
            with processes.scratch() as folder:
                resident, shared = _memory(folder, f"driver: {driver}\nmodel: {model}\napi_base: {url}\n")
            what = f"memory of a driver process after a call, {driver}"
            report.rows.append(Row(what=what, measured=resident, unit="MB"))
            report.rows.append(Row(what=f"{what}, with shared pages counted in part", measured=shared, unit="MB"))
    return report


def _memory(folder: Path, route: str) -> tuple[float, float]:
    """Return what a driver process holds after a call, in MB."""
    root = processes.new_root(folder, route)
    (root / "kheish.yaml").write_text("concurrency: {driver_processes: 1}\n")
    with processes.daemon(root) as daemon:
        spec = {"url": daemon.url, "token": daemon.token, "names": ["s0"]}
        processes.load("prepare", **spec)
        found = processes.load("latency", **spec, count=3, warm=0, pause=0)
        if found["failed"]:
            raise RuntimeError(f"{found['failed']} runs failed")
        pid = daemon.child("runtime.driving.child")
        return processes.rss(pid), processes.pss(pid)


def _daemon(folder: Path, route: str, config: str = "") -> tuple[dict[str, Any], dict[str, float]]:
    root = processes.new_root(folder, route)
    if config:
        (root / "kheish.yaml").write_text(config)
    with processes.daemon(root) as daemon:
        spec = {"url": daemon.url, "token": daemon.token, "names": [f"s{n}" for n in range(SESSIONS)]}
        processes.load("prepare", **spec)
        # The first runs import the driver; that is not what is measured.
        processes.load("latency", **spec, count=1, warm=0, pause=0)
        pids = {
            "daemon": daemon.pid,
            "scribe": daemon.child("store.log.scribe"),
            "git": daemon.child("store.git.gitworker"),
        }
        before = {name: processes.cpu(pid) for name, pid in pids.items()}
        found = processes.load("runs", **spec, clients=CLIENTS, seconds=SECONDS)
        used = {name: (processes.cpu(pid) - before[name]) for name, pid in pids.items()}
        if found["failed"]:
            raise RuntimeError(f"{found['failed']} runs failed")
        wall = SECONDS + 1
        return found, {**{name: seconds / wall for name, seconds in used.items()}, "load": found["cpu"]}


def _rows(
    report: Report,
    found: dict[str, Any],
    cpu: dict[str, float],
    what: str,
    goal: float | None,
    floor: float,
    floor_is: str,
) -> None:
    report.rows += [
        Row(what=what, measured=found["rate"], unit="/s", floor=floor, floor_is=floor_is, limit=goal, better="more"),
        Row(what="CPU of the daemon's process for one run", measured=cpu["daemon"] / found["rate"] * 1000, unit="ms"),
        Row(what="one run under that load, p50", measured=found["p50"], unit="ms"),
        Row(what="one run under that load, p99", measured=found["p99"], unit="ms"),
    ]
    shares = ", ".join(f"{name} {share:.0%}" for name, share in cpu.items())
    report.notes.append(f"{CLIENTS} clients, {SESSIONS} sessions, {SECONDS:.0f} s. CPU (100 % is one core): {shares}.")
