"""A campaign: rounds of work, a kill at a random moment, a restart; then quiet, and the checker."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from kheish.errors import Unreachable
from tests.crash import checker, failpoints, journals, ways
from tests.crash.afar import FOLDER, Afar
from tests.crash.copies import Copies
from tests.crash.held import Held
from tests.crash.journals import Finding
from tests.crash.load import PERMISSIONS, ROUTES, Load
from tests.crash.outbox import Outbox
from tests.crash.served import ROUTE, SETTINGS, Served
from tests.crash.tally import Tally
from tests.support.daemon import Daemon, DaemonDied, git, until
from tests.support.faults import Faults

SETTLE = 90.0  # seconds within which everything that was accepted must have ended
DRAIN = 60.0  # … a stop has ended: its last commit may wait 30 s for a worker that is gone
CLIENTS = 3
CHECKED = 25  # rounds after which the checker looks
#: entries wait for a commit as long as where people serve: more is in the log alone when the daemon is killed
CONFIG = {
    "concurrency": {"runs": 16, "driver_processes": 1},
    "sandbox": {"mode": "off"},
    "network": {"allow": ["127.0.0.1"]},
    "shutdown_grace": "200ms",
    "commit": {"every": "5s"},
    "agents": {"spawns_per_minute": 100_000, "live": 1000, "live_per_parent": 100, "live_per_root": 100},
}
#: parts of the rounds in which …
DIES_STARTING = 0.15  # … the daemon is killed while it starts, first
HAS_FAILPOINT = 0.5  # … it is killed at a named place, and not at a random moment
HAS_COPIES = 0.2  # … the state root is cloned meanwhile


@dataclass
class Campaign:
    """One state root through many kills. `tell` hears what happens."""

    folder: Path
    seed: int | str
    tell: Callable[[str], None] = lambda line: None
    has_workers: bool = True
    findings: list[Finding] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    checked: str | None = None  # the commit up to which cuts were checked
    kinds: Counter[failpoints.Kind] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.outbox, self.served = Outbox(), Served()
        routes = {**ROUTES, ROUTE: self.served.route}
        self.afar = Afar(self.folder / FOLDER) if self.has_workers else None
        settings = {**SETTINGS, **(self.afar.machines.environment if self.afar is not None else {})}
        self.daemon = Daemon.make(self.folder, config=CONFIG, permissions=PERMISSIONS, routes=routes, settings=settings)
        own = self.afar.workspaces if self.afar is not None else None
        self.load = Load(self.daemon, self.outbox.receiver.url, workspaces=own)
        self.held = Held(self.daemon, self.load.acks)
        self.copies = Copies(self.daemon, self.folder / "copies")

    def run(self, rounds: int) -> list[Finding]:
        """Play the rounds; returns what the checker found at the end (and stops where it finds something)."""
        try:
            self._record()
            for number in range(1, rounds + 1):
                self.round(number)
                if number % CHECKED == 0 or number == rounds:
                    self.finish()
                if self.findings:
                    break
        finally:
            self.daemon.end()
            self.outbox.close()
            self.served.close()
        self.tally.found(self.findings)
        return self.findings

    def _record(self) -> None:
        """Two rounds without a kill: what the second writes, syncs, renames, commits, and how often. What only the
        first life of a root does is not drawn, for it would not be reached."""
        self.daemon.start()
        self.held.begin()
        self.load.schedule()
        self.load.begin(self.rng, CLIENTS)
        time.sleep(0.5)
        self.daemon.stop()
        self._over()
        faults = self._shim(record=True)
        self.daemon.start()
        self.load.begin(self.rng, CLIENTS)
        time.sleep(1.5)
        self.daemon.stop()
        self._over()
        self.kinds = failpoints.seen(faults.recorded())

    def _shim(self, *rules: failpoints.Fault, record: bool = False) -> Faults:
        self.tally.rounds += not record
        folder = self.folder / "faults" / str(self.tally.rounds)
        folder.mkdir(parents=True, exist_ok=True)
        faults = Faults(folder, *rules, record=record)
        self.daemon.env = faults.env(self.daemon.root)
        return faults

    def _over(self) -> None:
        """The round's daemon is dead, and so are its children, of which one may stand still only now; the next has no
        failpoint."""
        self.daemon.env = {}
        self.daemon.kill9()
        until(
            lambda: not (self._go_on() or self.daemon.helpers() or self.daemon.driver_processes()),
            what="scribe, git worker and driver processes have ended",
        )
        self.load.pause()

    def round(self, number: int) -> None:
        """Start, work, and one of the ways to die."""
        if self.rng.random() < DIES_STARTING:
            self._die_while_starting()
        if self.rng.random() < HAS_FAILPOINT:
            how = self._at_a_failpoint()
        else:
            how = self._at_a_moment()
        self.tell(f"round {number}: {how}; {self._acknowledged()} requests acknowledged so far")

    def _acknowledged(self) -> int:
        return sum(len(group) for group in self.load.acks.values())

    def _start(self) -> None:
        began = time.monotonic()
        self.daemon.start()
        self.tally.ready.append(time.monotonic() - began)
        self._found(self.held.check())
        self.load.schedule()
        self.load.begin(self.rng, CLIENTS)

    def _die_while_starting(self) -> None:
        self.daemon.spawn()
        time.sleep(self.rng.uniform(0.0, 0.8))
        self.daemon.kill9()
        self.tally.kills["kill_while_starting"] += 1

    def _at_a_moment(self) -> str:
        self.tally.rounds += 1
        way = ways.draw(self.rng)
        self._start()
        if is_copied := self.rng.random() < HAS_COPIES:
            self.copies.begin(random.Random(self.rng.random()))
        time.sleep(self.rng.uniform(0.05, 0.6) + is_copied * 0.5)
        self.copies.end()
        way(self.daemon, self.rng)
        self._over()
        self.tally.kills[way.__name__] += 1
        return way.__name__

    def _at_a_failpoint(self) -> str:
        fault = failpoints.draw(self.rng, self.kinds)
        faults = self._shim(fault)
        try:
            self._start()
        except (DaemonDied, Unreachable):  # also while it is asked for what must still wait
            if not faults.fired:
                raise
        else:
            faults.arm()
            self._until_fired(faults)
        if self.daemon.process is not None and self.daemon.running and self.rng.random() < 0.3:
            self._stop()
        self._over()
        name = failpoints.named(fault)
        self.tally.kills[name if faults.fired else "kill"] += 1
        return name if faults.fired else f"kill: not reached was {name}, {fault.nth}"

    def _until_fired(self, faults: Faults) -> None:
        """Work until the place is reached, or for some seconds; what stands still there goes on after a while."""
        deadline = time.monotonic() + 1.5
        while self.daemon.running and not faults.fired and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(self.rng.uniform(0.1, 0.5))  # the daemon may have to go on without what was killed
        self._go_on()

    def _stop(self) -> None:
        """SIGTERM. What comes to stand still only now, at a failpoint of the drain, goes on after a while."""
        assert self.daemon.process is not None
        ways.send(self.daemon.process.pid, signal.SIGTERM)
        deadline = time.monotonic() + DRAIN
        while self.daemon.running:
            assert time.monotonic() < deadline, f"it did not stop within {DRAIN:g} s; stderr:\n{self.daemon.stderr()}"
            time.sleep(self.rng.uniform(0.1, 0.5))
            self._go_on()

    def _go_on(self) -> int:
        """What stands still at a failpoint goes on; how many did."""
        found = ways.stopped(self.daemon)
        for pid in found:
            ways.send(pid, signal.SIGCONT)
        return len(found)

    def finish(self) -> None:
        """Let everything end, and check: while it is quiet, and after a stop."""
        self._start()
        self.load.pause()
        self.load.unschedule()
        self.held.end()
        rng = random.Random(self.rng.random())
        until(lambda: self.load.settle_step(rng) or time.sleep(0.05), SETTLE, what="all runs have ended")
        until(self.load.tasks_ended, SETTLE, what="all commands in the background have ended")
        if self.afar is not None:
            until(lambda: self.afar.tidied(self.daemon), SETTLE, what="the workers hold nothing")  # type: ignore[union-attr]
        self.daemon.quiet()
        self.copies.take()
        self._check("quiet")
        self.held.begin()
        self.daemon.quiet()
        self.daemon.stop()
        self._check("stopped")
        self._count()

    def _check(self, when: str) -> None:
        ledger = self.daemon.workspace / "ledger.txt"
        if self.afar is not None:
            self._found(self.afar.findings())
            ledger = self.afar.ledger(self.daemon)
        found = checker.check(self.daemon.root, self.load.acks, ledger, since=self.checked)
        found += [Finding("odd_answer", when, line) for line in self.load.odd]
        found += [*self.copies.findings, *self.outbox.findings(journals.read(self.daemon.root)[0])]
        kept = {"when": when, "findings": [str(one) for one in found], "acks": self.load.acks}
        (self.folder / "checked.json").write_text(json.dumps(kept, indent=1))  # to check a kept root again
        self.tell(f"{when}: {self._acknowledged()} requests acknowledged, {len(found)} findings")
        self._found(found)

    def _found(self, findings: Iterable[Finding]) -> None:
        """Keep findings, and tell them at once: a campaign may be ended before its end."""
        for finding in findings:
            self.findings.append(finding)
            self.tell(str(finding))

    def _count(self) -> None:
        """What the root holds now takes the place of what was counted before."""
        root = self.daemon.root
        self.checked = git(root, "rev-parse", "HEAD").strip()
        commits = int(git(root, "rev-list", "--count", "HEAD"))
        self.tally.holds(journals.read(root)[0], self.load.acks, commits)
        self.tally.clones, self.tally.restores = self.copies.made, self.copies.restored
        self.tally.clones_again = self.copies.again
