"""What a campaign counts: kills by kind, what was acknowledged, lost, doubled, ambiguous, and the time to ready."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.crash.journals import Entry, Finding, all_entries

LOST = {
    "acknowledged", "not_in_head", "not_committed", "effect_lost", "held", "cut", "pending", "spill_missing",
    "message_lost",
}  # fmt: skip
DOUBLED = {
    "n_twice", "key_twice", "effect_twice", "finished_twice", "answered_twice", "repeated", "task_ended_twice",
    "message_twice",
}  # fmt: skip
_QUANTILES = {"p50": 0.5, "p99": 0.99, "max": 1.0}


@dataclass
class Tally:
    """Counts over rounds; `add` joins those of several state roots."""

    rounds: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    acknowledged: Counter[str] = field(default_factory=Counter)
    ambiguous: int = 0
    entries: int = 0
    commits: int = 0
    clones: int = 0
    restores: int = 0
    clones_again: int = 0
    ready: list[float] = field(default_factory=list)
    findings: Counter[str] = field(default_factory=Counter)

    def holds(self, journals: Mapping[str, Iterable[Entry]], acks: Mapping[str, Sequence[Any]], commits: int) -> None:
        """What a state root holds, in place of what it was said to hold before."""
        entries = list(all_entries(journals))
        self.acknowledged = Counter({noun: len(group) for noun, group in acks.items()})
        self.commits, self.entries = commits, len(entries)
        self.ambiguous = sum(_is_ambiguous(entry) for entry in entries)

    def found(self, findings: Iterable[Finding]) -> None:
        self.findings.update(one.code for one in findings)

    def add(self, other: Tally) -> None:
        for name in ("rounds", "ambiguous", "entries", "commits", "clones", "restores", "clones_again"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("kills", "acknowledged", "findings"):
            getattr(self, name).update(getattr(other, name))
        self.ready += other.ready

    @property
    def lost(self) -> int:
        return sum(count for code, count in self.findings.items() if code in LOST)

    @property
    def doubled(self) -> int:
        return sum(count for code, count in self.findings.items() if code in DOUBLED)

    def view(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "rounds": self.rounds,
            "kills": dict(sorted(self.kills.items())),
            "kills_in_all": sum(self.kills.values()),
            "acknowledged": dict(sorted(self.acknowledged.items())),
            "acknowledged_in_all": sum(self.acknowledged.values()),
            "lost": self.lost,
            "doubled": self.doubled,
            "ambiguous": self.ambiguous,
            "findings": dict(sorted(self.findings.items())),
            "entries": self.entries,
            "commits": self.commits,
            "clones": self.clones,
            "restores": self.restores,
            "clones_tried_again": self.clones_again,
            "ready_seconds": {
                name: _quantile(self.ready, q) for name, q in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
            },
        }

    def write(self, path: Path, **about: Any) -> None:
        """Keep it, with what was asked for."""
        path.write_text(json.dumps({**about, **self.view()}, indent=2) + "\n")

    def table(self) -> str:
        """The same for people, in Markdown."""
        seen = self.view()
        ready = seen["ready_seconds"]
        rows = [
            ("rounds", self.rounds),
            ("kills and stalls", seen["kills_in_all"]),
            *((f"· {name}", count) for name, count in _grouped(self.kills).items()),
            ("acknowledged requests", seen["acknowledged_in_all"]),
            *((f"· {noun}", count) for noun, count in seen["acknowledged"].items()),
            ("lost", self.lost),
            ("doubled", self.doubled),
            ("other findings", sum(self.findings.values()) - self.lost - self.doubled),
            ("ambiguous, and asked or told", self.ambiguous),
            ("journal entries, commits", f"{self.entries}, {self.commits}"),
            ("clones of the live root checked, of these restored and verified", f"{self.clones}, {self.restores}"),
            ("time to ready", f"p50 {ready['p50']} s, p99 {ready['p99']} s, max {ready['max']} s"),
        ]
        return "\n".join(["| what | count |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def _is_ambiguous(entry: Entry) -> bool:
    """A person was asked what became of a call, or told that nobody knows how a command ended."""
    data = entry["data"]
    if entry["kind"] == "question.asked":
        return bool(data["purpose"] == "ambiguous")
    return entry["kind"] == "task.ended" and bool((data["ending"] or {}).get("lost"))


def _grouped(kills: Mapping[str, int]) -> dict[str, int]:
    """Failpoints by process: there are hundreds of places."""
    found: Counter[str] = Counter()
    for name, count in kills.items():
        words = name.split()
        found[f"at a failpoint in the {words[1]}" if words[0] == "failpoint" else name.replace("_", " ")] += count
    return dict(sorted(found.items()))


def _quantile(values: Sequence[float], q: float) -> float | None:
    ordered = sorted(values)
    return round(ordered[max(0, math.ceil(q * len(ordered)) - 1)], 2) if ordered else None
