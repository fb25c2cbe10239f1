"""How long the command line takes to answer."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from bench import processes
from bench.report import Report, Row, median

ROUNDS = 15
KHEISH = Path(sys.executable).with_name("kheish")


def measure() -> Report:
    """The installed script: `--help`, and `status` of a daemon that serves."""
    report = Report("startup")
    with processes.scratch() as folder, processes.daemon(processes.new_root(folder)) as daemon:
        commands = {
            "bare": [sys.executable, "-c", "pass"],
            "httpx": [sys.executable, "-c", "import httpx"],
            "help": [str(KHEISH), "--help"],
            "status": [str(KHEISH), "status", "--state-root", str(daemon.root)],
        }
        took: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(ROUNDS):
            for name, command in commands.items():
                took[name].append(_once(command))
    found = {name: median(times) for name, times in took.items()}
    floor, floor_is = found["bare"], "python -c pass"
    report.rows = [
        Row(what="kheish --help", measured=found["help"], unit="ms", floor=floor, floor_is=floor_is, limit=150.0),
        Row(what="kheish status", measured=found["status"], unit="ms", floor=floor, floor_is=floor_is, limit=300.0),
        Row(what="for comparison: python -c 'import httpx'", measured=found["httpx"], unit="ms"),
    ]
    report.details = dict(took)
    return report


def _once(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return (time.perf_counter() - began) * 1000
