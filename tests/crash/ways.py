"""The ways to harm a daemon under load: what is killed or stalled, and what of it goes on.

A way is a function that takes the daemon and a random source, is called while clients are at work, and returns when the
daemon is dead or about to be killed; `WAYS` says how often each is drawn.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.crash import afar
from tests.support.daemon import Daemon

Way = Callable[[Daemon, random.Random], None]


def send(pid: int | None, number: signal.Signals) -> None:
    """Signal a process that may be gone."""
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def kill(daemon: Daemon, rng: random.Random) -> None:
    """The daemon alone: its children find their pipes closed, its jobs run on."""
    daemon.kill9()


def kill_all(daemon: Daemon, rng: random.Random) -> None:
    """As where a container dies: the daemon, its children, and the jobs at once."""
    pids = [*daemon.jobs(), daemon.child("scribe"), daemon.child("gitworker")]
    daemon.kill9()
    for pid in pids:
        send(pid, signal.SIGKILL)


def terminate(daemon: Daemon, rng: random.Random) -> None:
    """SIGTERM: it drains, and its jobs run on."""
    daemon.stop()


def kill_scribe(daemon: Daemon, rng: random.Random) -> None:
    """The daemon must go on with a new one."""
    _kill_child(daemon, rng, "scribe")


def kill_gitworker(daemon: Daemon, rng: random.Random) -> None:
    """The daemon must go on with a new one."""
    _kill_child(daemon, rng, "gitworker")


def kill_drivers(daemon: Daemon, rng: random.Random) -> None:
    """The processes that run model calls: each call is made again, in a new process."""
    for _ in range(rng.randint(1, 3)):
        for pid in daemon.driver_processes():
            send(pid, signal.SIGKILL)
        _work(rng)
    _end(daemon, rng)


def kill_runners(daemon: Daemon, rng: random.Random) -> None:
    """The runners of jobs alone: their commands die with them, and the daemon sees no end of them."""
    for _ in range(rng.randint(1, 3)):
        for pid in daemon.jobs():
            send(pid, signal.SIGKILL)
        _work(rng)
    daemon.kill9()


def kill_workers(daemon: Daemon, rng: random.Random) -> None:
    """The workers of the other machines: their jobs run on, and their calls are taken up again."""
    for _ in range(rng.randint(1, 3)):
        for pid in afar.processes(daemon.root.parent, "--stdio"):
            send(pid, signal.SIGKILL)
        _work(rng)
    _end(daemon, rng)


def kill_far_runners(daemon: Daemon, rng: random.Random) -> None:
    """The runners of jobs on the other machines, whose commands die with them."""
    for pid in afar.processes(daemon.root.parent, "/jobs/job_"):
        send(pid, signal.SIGKILL)
    _work(rng)
    _end(daemon, rng)


def stall_daemon(daemon: Daemon, rng: random.Random) -> None:
    """It stands still for a while, and goes on."""
    assert daemon.process is not None
    _stall(daemon, rng, daemon.process.pid)


def stall_scribe(daemon: Daemon, rng: random.Random) -> None:
    """The daemon goes on with journals and index behind; now and then it is killed meanwhile."""
    _stall(daemon, rng, daemon.child("scribe"))


def stall_gitworker(daemon: Daemon, rng: random.Random) -> None:
    """The daemon goes on without commits; now and then it is killed meanwhile."""
    _stall(daemon, rng, daemon.child("gitworker"))


def _kill_child(daemon: Daemon, rng: random.Random, module: str) -> None:
    for _ in range(rng.randint(1, 3)):
        send(daemon.child(module), signal.SIGKILL)
        _work(rng)
    _end(daemon, rng)


def _stall(daemon: Daemon, rng: random.Random, pid: int | None) -> None:
    send(pid, signal.SIGSTOP)
    time.sleep(rng.uniform(0.1, 1.2))
    if rng.random() < 0.3:
        daemon.kill9()
    send(pid, signal.SIGCONT)
    _work(rng)
    _end(daemon, rng)


def _work(rng: random.Random) -> None:
    """Time for the clients."""
    time.sleep(rng.uniform(0.1, 0.8))


def _end(daemon: Daemon, rng: random.Random) -> None:
    if daemon.process is not None and rng.random() < 0.3:
        daemon.stop()
    daemon.kill9()


#: how many lots each way has
WAYS: dict[Way, int] = {
    kill: 6,
    kill_all: 3,
    terminate: 2,
    kill_scribe: 2,
    kill_gitworker: 2,
    kill_runners: 2,
    kill_drivers: 2,
    kill_workers: 2,
    kill_far_runners: 1,
    stall_daemon: 1,
    stall_scribe: 2,
    stall_gitworker: 2,
}


def draw(rng: random.Random) -> Way:
    """One of the ways."""
    return rng.choices(list(WAYS), list(WAYS.values()))[0]


def stopped(daemon: Daemon) -> list[int]:
    """The daemon and its children that stand still (SIGSTOP)."""
    pids = [*daemon.helpers(), *([daemon.process.pid] if daemon.process else [])]
    return [pid for pid in pids if _standing(pid) == "T"]


def _standing(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None
