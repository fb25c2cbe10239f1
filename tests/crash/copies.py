"""Clones of a live state root, made at any moment: each is a whole state, and can be restored."""

from __future__ import annotations

import random
import shutil
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash import checker
from tests.crash.journals import Finding
from tests.support.daemon import Daemon, git

#: of so many clones one is restored and verified
RESTORED = 4
#: git copies a clone by path file by file, and gives up (leaving nothing) where a pack takes the place of one meanwhile
TRIES, MET_PACKING = 3, "failed to copy file"


@dataclass
class Copies:
    """Makes clones one after the other while a round goes on, and checks each."""

    daemon: Daemon
    folder: Path
    made: int = 0
    restored: int = 0
    again: int = 0  # clones that met the daemon's packing
    findings: list[Finding] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def begin(self, rng: random.Random) -> None:
        self._stop.clear()
        self._thread = threading.Thread(target=self._work, args=(rng,), daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(120)
            self._thread = None

    def _work(self, rng: random.Random) -> None:
        while not self._stop.wait(rng.uniform(0.0, 0.8)):
            self.take()

    def take(self) -> None:
        """One clone, checked as anybody could who got it."""
        self.made += 1
        clone = self.folder / f"clone-{self.made}"
        self.folder.mkdir(exist_ok=True)
        for _ in range(TRIES):
            done = subprocess.run(
                ["git", "clone", "-q", str(self.daemon.root), str(clone)], capture_output=True, text=True, timeout=120
            )
            if MET_PACKING not in done.stderr:
                break
            self.again += 1
        if done.returncode:
            self.findings.append(Finding("clone", clone.name, f"git clone: {done.stderr}"))
            return
        found = [Finding(one.code, f"{clone.name} {one.where}", one.what) for one in checker.check_copy(clone)]
        if self.made % RESTORED == 0:
            found += self._restore(clone)
        self.findings += found
        if not found:
            shutil.rmtree(clone)

    def _restore(self, clone: Path) -> list[Finding]:
        target = clone.with_name(f"{clone.name}-restored")
        commit = git(clone, "rev-parse", "HEAD").strip()
        self.restored += 1
        for words in (("restore", str(clone), str(target)), ("--state-root", str(target), "state", "verify")):
            done = self.daemon.cli(*words, timeout=120)
            if done.returncode:
                return [Finding("restore", f"{clone.name} at {commit}", f"{words[0]}: {done.stdout} {done.stderr}")]
        shutil.rmtree(target)
        return []
