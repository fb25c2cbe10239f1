"""A hand edit, from the save to the moment when it is in force: seen by the API, and by the event."""

from __future__ import annotations

import time

from bench import processes
from bench.report import Report, Row, median, quantile
from kheish.client import Kheish

ROUNDS = 15
PERSONA = "---\ndisplay_name: Bench\n---\nAnswer in {} words.\n"
#: how long a file must be left alone before it is read (`state-root.md`)
SETTLING = 300.0


def measure() -> Report:
    """Saved by a rename, as most editors do, and in place; each until an answer of the API has it."""
    report = Report("edits")
    took: dict[str, list[float]] = {"renamed": [], "in place": []}
    with processes.scratch() as folder:
        root = processes.new_root(folder)
        path = root / "personas" / "bench.md"
        path.write_text(PERSONA.format(0))
        with processes.daemon(root) as daemon:
            client = Kheish(url=daemon.url, token=daemon.token)
            for number in range(1, ROUNDS + 1):
                for how in took:
                    words = number * 10 + (how == "renamed")
                    took[how].append(_once(client, path, how, PERSONA.format(words), f"in {words} words"))
    for how, times in took.items():
        report.rows += [
            Row(what=f"a hand edit, saved {how}, until in force: p50", measured=median(times), unit="ms",
                floor=SETTLING, floor_is="the time for which a file must be unchanged", limit=1000.0),
            Row(what=f"the same, saved {how}: p99", measured=quantile(times, 0.99), unit="ms", limit=1000.0),
        ]  # fmt: skip
    report.notes.append(f"{ROUNDS} edits of a persona each way; asked of the API every 2 ms.")
    report.details = dict(took)
    return report


def _once(client: Kheish, path: processes.Path, how: str, text: str, wanted: str) -> float:
    began = time.perf_counter()
    if how == "renamed":
        swap = path.with_name(".bench.md.swp")
        swap.write_text(text)
        swap.replace(path)
    else:
        path.write_text(text)
    while wanted not in str(client.definitions("personas").get("bench")):
        if time.perf_counter() - began > 30:
            raise RuntimeError("an edit was not taken up in 30 s")
        time.sleep(0.002)
    return (time.perf_counter() - began) * 1000
