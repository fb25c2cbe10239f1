"""A Ray cluster of two nodes on loopback, for tests: its own ports, folder and token, ended with all its processes.

The worker's node is apart: it has the resource `there`, a folder of its own for workers, and can be killed.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

IS_INSTALLED = importlib.util.find_spec("ray") is not None
WHY = "Ray is not installed: pip install -e '.[ray]'"
_MARK = "KHEISH_TEST_CLUSTER"
_STARTED = 120.0
_STORE = "--object-store-memory=80000000"


class NotStarted(Exception):
    """The error that Ray itself does not start, which it does not on a machine that is too busy."""


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


@dataclass(slots=True)
class Cluster:
    """A running cluster. `token` is the path of its token; `far` is the folder of the present worker's node."""

    folder: Path
    token: Path
    port: int
    client: int
    is_guarded: bool = True
    nodes: int = 0

    @property
    def address(self) -> str:
        return f"ray://127.0.0.1:{self.client}"

    @property
    def far(self) -> Path:
        return self.folder / f"far{self.nodes}" / "kheish" / "worker"

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        guard = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.token)} if self.is_guarded else {}
        return {**kept, **guard, "RAY_USAGE_STATS_ENABLED": "0", _MARK: str(self.folder), **more}

    def start_node(self, *words: str, **more: str) -> None:
        """Start a node; its processes are daemons, which `end` finds by the mark in their environment."""
        command = [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", *words, "--node-ip-address=127.0.0.1", _STORE),
            *("--disable-usage-stats", "--dashboard-agent-listen-port=0"),
        ]
        done = subprocess.run(
            command, env=self.environment(**more), capture_output=True, text=True, timeout=_STARTED, check=False
        )
        if done.returncode:
            raise NotStarted(done.stdout[-2000:] + done.stderr[-2000:])

    def start_worker_node(self) -> None:
        """Start another node for the worker, with its own folder."""
        self.nodes += 1
        self.start_node(
            *(f"--address=127.0.0.1:{self.port}", "--num-cpus=1", '--resources={"there": 1}'),
            XDG_STATE_HOME=str(self.folder / f"far{self.nodes}"),
        )

    def kill_worker_node(self) -> None:
        """Kill every process of the worker's node, and its commands: the machine is gone."""
        for pid, environ, _ in _processes():
            if f"XDG_STATE_HOME={self.folder / f'far{self.nodes}'}" in environ:
                _kill(pid)
        for pid, _, words in _processes():
            if any(str(self.far) in word for word in words):
                _kill(pid)

    def workers(self) -> list[int]:
        """Return the processes of actors of Kheish."""
        return [pid for pid, environ, words in _processes() if self._is_own(environ) and "WorkerActor" in words[0]]

    def _is_own(self, environ: list[str]) -> bool:
        return f"{_MARK}={self.folder}" in environ

    def end(self) -> None:
        """Kill everything that belongs to the cluster."""
        for _ in range(20):
            # The agents of a node write their titles over their environments: they are found by their parents.
            own = {pid for pid, environ, _ in _processes() if self._is_own(environ)}
            parents = {pid: _parent(pid) for pid, _, _ in _processes()}
            for _ in range(3):
                own |= {pid for pid, parent in parents.items() if parent in own}
            if not own:
                return
            for pid in own:
                _kill(pid)
            time.sleep(0.1)


def _processes() -> Iterator[tuple[int, list[str], list[str]]]:
    for path in Path("/proc").iterdir():
        if not path.name.isdigit() or int(path.name) == os.getpid():
            continue
        with suppress(OSError):
            environ = (path / "environ").read_bytes().decode(errors="replace").split("\0")
            words = (path / "cmdline").read_bytes().decode(errors="replace").split("\0")
            yield int(path.name), environ, words


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def gateways() -> list[int]:
    """Return the gateways that this process has started."""
    module = "kheish.runtime.workers.cluster.gateway"
    return [pid for pid, _, words in _processes() if module in words and _parent(pid) == os.getpid()]


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


@contextmanager
def cluster(*, is_guarded: bool = True) -> Iterator[Cluster]:
    """A cluster with a head and a node for workers."""
    with tempfile.TemporaryDirectory(prefix="kray-", ignore_cleanup_errors=True) as name:  # sockets need a short path
        folder = Path(name)
        token = folder / "token"
        token.write_text(secrets.token_hex(32))
        token.chmod(0o600)
        made = Cluster(folder, token, free_port(), free_port(), is_guarded)
        try:
            made.start_node(
                *("--head", f"--port={made.port}", f"--ray-client-server-port={made.client}", "--num-cpus=1"),
                *("--include-dashboard=false", f"--temp-dir={folder / 't'}"),
            )
            made.start_worker_node()
            yield made
        finally:
            made.end()
