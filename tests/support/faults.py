"""Faults under the store of a real daemon: the tester's side of `shim/storeshim.py`, which says what there is.

faults = Faults(tmp_path, Fault("daemon", "fsync", path="*/wal/*.log", nth=3, do="EIO"))
with Daemon.fresh(tmp_path, env=faults.env(tmp_path / "state")) as daemon: …
assert faults.fired == {0: "daemon"}
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.support import forking

SHIM = Path(__file__).parent / "shim"


@dataclass(frozen=True)
class Fault:
    """One rule of the shim. `armed=True`: it counts only from `Faults.arm()` on (`disarm()` ends it)."""

    process: str
    op: str
    do: str = "kill"
    path: str = "*"
    nth: int = 1
    keep: int = 0
    stays: bool = False
    armed: bool = False


class Faults:
    """Rules for the processes of one state root, with what they have done so far, in a folder of their own."""

    def __init__(self, folder: Path, *rules: Fault, record: bool = False) -> None:
        self._folder = folder / "shim"
        (self._folder / "fired").mkdir(parents=True, exist_ok=True)
        self._rules = rules
        self._record = self._folder / "record" if record else None

    def env(self, root: Path) -> dict[str, str]:
        """What to give to the daemon (its children inherit it)."""
        armed = str(self._folder / "armed")
        rules = [{**asdict(rule), "armed": armed if rule.armed else None} for rule in self._rules]
        asked = {
            "root": str(root),
            "fired": str(self._folder / "fired"),
            "record": str(self._record) if self._record else None,
            "rules": rules,
        }
        return {"KHEISH_SHIM": json.dumps(asked), "PYTHONPATH": forking.on_path(SHIM)}

    def arm(self) -> None:
        """Rules that wait for it begin to count."""
        (self._folder / "armed").touch()

    def disarm(self) -> None:
        """They do nothing any more."""
        (self._folder / "armed").unlink(missing_ok=True)

    @property
    def fired(self) -> dict[int, str]:
        """The rules that have acted, by their place, with the process that was the first to."""
        said = {int(path.name): path.read_text().split() for path in (self._folder / "fired").iterdir()}
        return {number: words[0] for number, words in sorted(said.items()) if words}  # one is being written

    @property
    def at(self) -> int:
        """How long the record is now, in bytes: what is acknowledged by now, happened before."""
        assert self._record is not None
        return self._record.stat().st_size if self._record.exists() else 0

    def recorded(self) -> Iterator[dict[str, Any]]:
        """What happened, in its order; `end` is where its line ends in the record."""
        assert self._record is not None
        end = 0
        for line in self._record.read_bytes().splitlines(keepends=True):
            end += len(line)
            yield {**json.loads(line), "end": end}
