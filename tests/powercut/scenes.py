"""Real work of a real daemon, recorded below the store: where a power cut may be, and what must be there after it."""

from __future__ import annotations

import base64
import json
import random
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.crash.load import PERMISSIONS, ROUTES, Load
from tests.powercut.disk import Op
from tests.support.daemon import Daemon, until
from tests.support.faults import Faults

CONFIG = {"sandbox": {"mode": "off"}, "shutdown_grace": "200ms", "commit": {"every": "5s"}}
CLIENTS = 3


@dataclass(frozen=True)
class Scene:
    """What was on the disk first (all of it durable), what happened then, and what was acknowledged when."""

    base: Path
    workspace: Path
    ops: Sequence[Op]
    acks: Mapping[str, Sequence[Mapping[str, Any]]]

    def acknowledged(self, cut: int) -> dict[str, list[Mapping[str, Any]]]:
        """What had been acknowledged before operation `cut`."""
        end = self.ops[cut - 1]["end"] if cut else 0
        return {noun: [ack for ack in acks if ack["at"] <= end] for noun, acks in self.acks.items()}

    def logged(self, cut: int) -> set[int]:
        """The event numbers that the log had made durable before operation `cut`."""
        durable: set[int] = set()
        waiting: dict[str, bytes] = {}
        for op in self.ops[:cut]:
            if not op["path"].startswith(".git/kheish/wal/"):
                continue
            if op["op"] == "write":
                waiting[op["path"]] = waiting.get(op["path"], b"") + base64.b64decode(op["data"])
            elif op["op"] == "fsync":
                for line in waiting.pop(op["path"], b"").splitlines():
                    durable |= {entry["n"] for _, entry in json.loads(line)["group"]}
        return durable


class _Acks(list[dict[str, Any]]):
    """Notes for each acknowledgement how far the record was."""

    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self._faults = faults

    def append(self, ack: dict[str, Any]) -> None:
        super().append({**ack, "at": self._faults.at})


def play(folder: Path, seed: int, *, seconds: float = 1.0, lives: int = 2) -> Scene:
    """Have clients work for some seconds, kill the daemon and start it again (`lives`); stop it when it is quiet."""
    rng = random.Random(seed)
    faults = Faults(folder, record=True)
    daemon = Daemon.make(folder, config=CONFIG, permissions=PERMISSIONS, routes=dict(ROUTES))
    base = Path(shutil.copytree(daemon.root, folder / "base", symlinks=True))
    daemon.env.update(faults.env(daemon.root))
    load = Load(daemon)
    load.acks = {noun: _Acks(faults) for noun in load.acks}  # type: ignore[misc]
    try:
        for life in range(lives):
            daemon.start()
            load.begin(rng, CLIENTS)
            time.sleep(seconds)
            load.pause()
            if life < lives - 1:
                daemon.kill9()
                daemon.end_of_life()
        until(lambda: load.settle_step(rng), timeout=60, what="all work has ended")
        daemon.quiet()
        daemon.stop()
    finally:
        daemon.end()
    return Scene(base, daemon.workspace, list(faults.recorded()), load.acks)
