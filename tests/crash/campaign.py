"""A campaign: rounds of work, a kill at a random moment, a restart; then quiet, and the checker."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash import checker
from tests.crash.journals import Finding
from tests.crash.load import PERMISSIONS, ROUTES, Load
from tests.support.daemon import Daemon, git, until

SETTLE = 90.0  # seconds within which everything that was accepted must have ended
CLIENTS = 4


@dataclass
class Campaign:
    """One state root through many kills. `tell` hears what happens."""

    folder: Path
    seed: int
    tell: Callable[[str], None] = lambda line: None
    findings: list[Finding] = field(default_factory=list)
    checked: str | None = None  # the commit up to which cuts were checked

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        config = {"concurrency": {"runs": 16}, "sandbox": {"mode": "off"}, "shutdown_grace": "200ms"}
        self.daemon = Daemon.make(self.folder, config=config, permissions=PERMISSIONS, routes=dict(ROUTES))
        self.load = Load(self.daemon)

    def run(self, rounds: int) -> list[Finding]:
        """Play the rounds; returns what the checker found at the end (and stops where it finds something)."""
        try:
            for number in range(1, rounds + 1):
                self.round(number)
                if number % 25 == 0 or number == rounds:
                    self.finish()
                if self.findings:
                    break
        finally:
            self.daemon.end()
        return self.findings

    def round(self, number: int) -> None:
        """Start, work, and one of the ways to die."""
        if self.rng.random() < 0.15:
            self._die_while_starting()
        began = time.monotonic()
        self.daemon.start()
        ready = time.monotonic() - began
        self.load.begin(self.rng, CLIENTS)
        time.sleep(self.rng.uniform(0.05, 0.9))
        ways = [self._kill] * 5 + [self._kill_scribe, self._kill_gitworker, self._terminate, self._kill_all]
        way = self.rng.choice(ways)
        way()
        self.daemon.end_of_life()
        self.load.pause()
        self.tell(
            f"round {number}: ready in {ready:.2f} s, {way.__name__[1:]}, {len(self.load.acks['runs'])} runs so far"
        )

    def _die_while_starting(self) -> None:
        self.daemon.spawn()
        time.sleep(self.rng.uniform(0.0, 0.8))
        self.daemon.kill9()

    def _kill(self) -> None:
        self.daemon.kill9()

    def _kill_all(self) -> None:
        """As where a container dies: the daemon, its children, and the jobs at once."""
        pids = [*self.daemon.jobs(), self.daemon.child("scribe"), self.daemon.child("gitworker")]
        self.daemon.kill9()
        for pid in pids:
            _kill(pid)

    def _kill_scribe(self) -> None:
        self._kill_child("scribe")

    def _kill_gitworker(self) -> None:
        self._kill_child("gitworker")

    def _kill_child(self, module: str) -> None:
        """The daemon must go on with a new child, and is killed only later."""
        _kill(self.daemon.child(module))
        time.sleep(self.rng.uniform(0.1, 1.5))
        self.daemon.kill9()

    def _terminate(self) -> None:
        self.daemon.stop()

    def finish(self) -> None:
        """Let everything end, and check: while it is quiet, and after a stop."""
        self.daemon.start()
        rng = random.Random(self.rng.random())
        until(lambda: self.load.settle_step(rng) or time.sleep(0.05), SETTLE, what="all runs have ended")
        self.daemon.quiet()
        self._check("quiet")
        self.daemon.stop()
        self._check("stopped")
        self.checked = git(self.daemon.root, "rev-parse", "HEAD").strip()

    def _check(self, when: str) -> None:
        ledger = self.daemon.workspace / "ledger.txt"
        found = checker.check(self.daemon.root, self.load.acks, ledger, since=self.checked)
        found += [Finding("odd_answer", when, line) for line in self.load.odd]
        self.findings += found
        count = len(self.load.acks["runs"])
        self.tell(f"{when}: {count} runs acknowledged, {len(found)} findings")


def _kill(pid: int | None) -> None:
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
