"""The processes of a benchmark: the daemon, the floor server, the load generator; what they take of the machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

READY = 600.0  # seconds: a cold start rebuilds the index
SCRIPTED = "driver: scripted\nscript: {echo: true}\n"


@dataclass(frozen=True, slots=True)
class Daemon:
    """A daemon that serves."""

    root: Path
    url: str
    token: str
    pid: int
    ready_after: float  # seconds

    def child(self, module: str) -> int:
        """The process id of the child that runs a module."""
        for pid in children(self.pid):
            if module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        raise LookupError(f"the daemon has no child that runs {module}")


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder on a real disk (`TMPDIR`, else the system's), removed at the end."""
    with tempfile.TemporaryDirectory(prefix="kheish-bench-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def new_root(folder: Path, route: str = SCRIPTED) -> Path:
    """A fresh state root with one route."""
    root = folder / "root"
    subprocess.run([*_kheish(), "init", str(root)], check=True, capture_output=True)
    (root / "routes" / "bench.yaml").write_text(route)
    (folder / "workspace").mkdir()
    return root


def _kheish() -> list[str]:
    return [sys.executable, "-m", "kheish.cli.main"]


@contextlib.contextmanager
def daemon(root: Path) -> Iterator[Daemon]:
    """Serve a root until the end of the block. Its log goes to `daemon.log` beside it."""
    workspace = root.parent / "workspace"
    command = [*_kheish(), "serve", "--state-root", str(root), "--bind", "127.0.0.1:0", "--workspace", str(workspace)]
    began = time.monotonic()
    log = root.parent / "daemon.log"
    with log.open("ab") as errors, _running(command, errors) as (process, line):
        if not line.startswith("kheish ready "):
            raise RuntimeError(f"the daemon did not start: {log.read_text()[-2000:]}")
        token = (root / ".kheish" / "token").read_text().strip()
        yield Daemon(root, line.split()[-1], token, process.pid, time.monotonic() - began)


@contextlib.contextmanager
def floor(folder: Path) -> Iterator[tuple[str, int]]:
    """The floor server, appending to a file in `folder`; its address and process id."""
    with _running([sys.executable, "-m", "bench.floor", str(folder / "floor.log")]) as (process, line):
        yield line, process.pid


@contextlib.contextmanager
def receiver() -> Iterator[str]:
    """The receiver of deliveries; its URL."""
    with _running([sys.executable, "-m", "bench.deliveries"]) as (_, line):
        yield line


@contextlib.contextmanager
def standin(*options: str) -> Iterator[tuple[str, int]]:
    """The OpenAI-compatible stand-in; its base URL and process id."""
    with _running([sys.executable, "-m", "tests.support.openai_standin", *options]) as (process, line):
        yield line, process.pid


@contextlib.contextmanager
def _running(command: Sequence[str], errors: Any = None) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def load(kind: str, **spec: Any) -> dict[str, Any]:
    """Run the load generator in its own process, and return what it says."""
    command = [sys.executable, "-m", "bench.load", kind]
    done = subprocess.run(command, input=json.dumps(spec), check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def children(pid: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            for one in (task / "children").read_text().split():
                found += [int(one), *children(int(one))]
    return found


def cpu(pid: int) -> float:
    """Seconds of CPU that a process has used, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss(pid: int) -> float:
    """MB that a process holds in memory."""
    return _kilobytes(Path(f"/proc/{pid}/status"), "VmRSS:") / 1000


def pss(pid: int) -> float:
    """The same, with pages that it shares with others counted in part."""
    return _kilobytes(Path(f"/proc/{pid}/smaps_rollup"), "Pss:") / 1000


def _kilobytes(path: Path, name: str) -> float:
    for line in path.read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1.024
    raise LookupError(f"{name} is not in {path}")
