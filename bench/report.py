"""What a benchmark reports: rows of a table, and the JSON file of the run."""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure. `limit` is the goal, of the figure or (with `goal_of`) of its ratio to the floor; None: no goal.

    `better` says which direction is good; `floor_is` says what the floor measures.
    """

    what: str
    measured: float
    unit: str
    floor: float | None = None
    floor_is: str = ""
    limit: float | None = None
    goal_of: Literal["measured", "ratio"] = "measured"
    better: Literal["more", "less"] = "less"

    @property
    def ratio(self) -> float | None:
        """Measured by floor."""
        return self.measured / self.floor if self.floor else None

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None where there is none."""
        value = self.measured if self.goal_of == "measured" else self.ratio
        if self.limit is None or value is None:
            return None
        return value <= self.limit if self.better == "less" else value >= self.limit


@dataclass(slots=True)
class Report:
    """The rows of one benchmark, and whatever else is worth keeping."""

    name: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)


def quantile(values: Sequence[float], q: float) -> float:
    """The value that the part `q` of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(q * len(ordered)) - 1)]


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def show(report: Report) -> str:
    """The table, as people read it."""
    head = ("what", "measured", "floor measured in the same run", "ratio", "goal", "")
    lines = [head, *(_cells(row) for row in report.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    text = [f"== {report.name}"]
    for number, line in enumerate(lines):
        text.append("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        if number == 0:
            text.append("  ".join("-" * width for width in widths[:-1]))
    return "\n".join([*text, *(f"  {note}" for note in report.notes), ""])


def _cells(row: Row) -> tuple[str, ...]:
    floor = f"{_number(row.floor)} {row.unit} ({row.floor_is})" if row.floor is not None else "-"
    ratio = _number(row.ratio) if row.ratio is not None else "-"
    sign = "≤" if row.better == "less" else "≥"
    goal = (
        "-"
        if row.limit is None
        else f"{sign} {_number(row.limit)} " + ("times" if row.goal_of == "ratio" else row.unit)
    )
    verdict = {None: "", True: "met", False: "MISSED"}[row.met]
    return row.what, f"{_number(row.measured)} {row.unit}", floor, ratio, goal, verdict


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def write(report: Report) -> Path:
    """Keep the run under `bench/results/`."""
    RESULTS.mkdir(exist_ok=True)
    at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    content = {
        "name": report.name,
        "at": at,
        "commit": _commit(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg(),
        "rows": [{**asdict(row), "ratio": row.ratio, "met": row.met} for row in report.rows],
        "notes": report.notes,
        "details": report.details,
    }
    path = RESULTS / f"{report.name}-{at}.json"
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return path


def _commit() -> str | None:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=RESULTS.parent, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or None
