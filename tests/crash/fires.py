"""Rules of schedules: each occurrence has one outcome, and each claim leads to one run. Shares no code with Kheish."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from tests.crash.journals import Entry, Finding, all_entries


def once(journals: Mapping[str, list[Entry]]) -> Iterator[Finding]:
    """No time of a schedule is claimed or skipped twice, or claimed early; a claim has one run, and a run one claim."""
    outcomes: Counter[tuple[str, str]] = Counter()
    started: dict[str, str] = {}
    runs: Counter[str] = Counter()
    for entry in all_entries(journals):
        data, kind = entry["data"], entry["kind"]
        if kind == "fire.claimed":
            outcomes[data["schedule_id"], data["planned"]] += 1
            if data["planned"] > entry["at"]:
                yield Finding("fire_early", _id(data), f"it was claimed at {entry['at']}")
        elif kind == "fire.skipped":
            outcomes.update((data["schedule_id"], planned) for planned in data["planned"])
        elif kind == "fire.dispatched":
            started[_id(data)] = data["run_id"]
        elif kind == "run.submitted" and (fire := data["request"]["metadata"].get("fire_id")):
            runs[fire] += 1
    for (schedule, planned), count in outcomes.items():
        if count > 1:
            yield Finding("fire_twice", f"{schedule}@{planned}", f"{count} outcomes")
    for fire in started.keys() | runs.keys():
        if runs[fire] != 1 or fire not in started:
            yield Finding("fire_twice" if runs[fire] > 1 else "fire_lost", fire, f"{runs[fire]} runs")


def ended(journals: Mapping[str, list[Entry]]) -> Iterator[Finding]:
    """Where it is quiet, what was claimed has ended."""
    claimed: set[str] = set()
    for entry in all_entries(journals):
        if entry["kind"] == "fire.claimed":
            claimed.add(_id(entry["data"]))
    for entry in all_entries(journals):
        if entry["kind"] == "fire.settled":
            claimed.discard(_id(entry["data"]))
    for fire in sorted(claimed):
        yield Finding("fire_lost", fire, "it was claimed, and never ended")


def _id(data: Mapping[str, str]) -> str:
    return f"{data['schedule_id']}@{data['planned']}"
