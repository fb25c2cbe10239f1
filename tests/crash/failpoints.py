"""Failpoints: a kill at the nth call of a kind, in the daemon, the scribe, the git worker or a job's runner.

The kinds (process, operation, path without its ids) are those that a recorded round has shown, so a new write, fsync,
rename, commit or ref update of Kheish is drawn without a word here. `tests/support/faults.py` has the shim.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.faults import Fault

PROCESSES = ("daemon", "scribe", "worker", "runner", "maintenance")
#: what is done at the place: `torn` also writes a part
_DOINGS = {"write": ("kill", "kill-after", "torn", "torn"), "ref": ("kill", "kill-after", "torn")}
_DEFAULT = ("kill", "kill-after")
#: part of the failpoints that stall the process (but a job's runner) instead of killing it
_STALLS = 0.1


@dataclass(frozen=True, order=True)
class Kind:
    """Calls that do the same thing at the same place of the code."""

    process: str
    op: str
    path: str


def kind_of(line: Mapping[str, Any]) -> Kind:
    """The kind of a recorded call: parts of names with digits in them stand for all of their like."""
    path: str = line["path"]
    if line["op"] in ("reflock", "ref", "git"):
        path = "*"
    elif path.startswith(".git/objects"):
        path = ".git/objects*"
    else:
        path = "/".join(_plain(part) for part in path.split("/"))
    return Kind(line["who"], line["op"], path)


def _plain(name: str) -> str:
    pieces = ["*" if re.search(r"\d", piece) else piece for piece in name.split(".")]
    return re.sub(r"\*(\.\*)+", "*", ".".join(pieces))


def seen(lines: Iterable[Mapping[str, Any]]) -> Counter[Kind]:
    """How often each kind was recorded."""
    return Counter(kind_of(line) for line in lines if line["who"] in PROCESSES)


def draw(rng: random.Random, kinds: Mapping[Kind, int]) -> Fault:
    """Any kind with the same chance, so that rare ones are not drowned by journal writes; early calls more often."""
    kind = rng.choice(sorted(kinds))
    most = max(1, kinds[kind] if kind.process != "runner" else 3)
    do = rng.choice(_DOINGS.get(kind.op, _DEFAULT))
    if kind.process != "runner" and rng.random() < _STALLS:
        do = "stop"
    return Fault(
        process=kind.process,
        op=kind.op,
        path=kind.path,
        nth=1 + int(most * 0.6 * rng.random() ** 2),
        do=do,
        keep=rng.randint(1, 200),
        armed=rng.random() < 0.7,  # else it counts from the start of the process on
    )


def named(fault: Fault) -> str:
    """For the tally."""
    return f"failpoint {fault.process} {fault.op} {fault.path} {fault.do}"
