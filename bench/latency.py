"""How long one run takes, from submitting it to seeing `run.completed` on an event stream, while the daemon is idle."""

from __future__ import annotations

from bench import processes
from bench.report import Report, Row, quantile

COUNT = 400
PAUSE = 0.015  # seconds between two runs
SESSIONS = 20


def measure() -> Report:
    """A run of the scripted driver has six entries and three barriers: accepted, model asked, ended."""
    report = Report("latency")
    with processes.scratch() as folder:
        with processes.floor(folder) as (url, _):
            echoes = processes.load("echoes", url=url, count=COUNT, pause=PAUSE)["times"]
        with processes.daemon(processes.new_root(folder)) as daemon:
            spec = {"url": daemon.url, "token": daemon.token, "names": [f"s{n}" for n in range(SESSIONS)]}
            processes.load("prepare", **spec)
            times = processes.load("latency", **spec, count=COUNT, warm=30, pause=PAUSE)["times"]
    for q, limit in ((0.5, 8.0), (0.99, 30.0)):
        row = Row(
            what=f"submit to completed, seen by SSE, p{q * 100:.0f}",
            measured=quantile([one["completed"] for one in times], q),
            unit="ms",
            floor=quantile([one["completed"] for one in echoes], q),
            floor_is="one fsynced append, seen by SSE",
            limit=limit,
        )
        report.rows.append(row)
    accepted = quantile([one["accepted"] for one in times], 0.5)
    report.rows.append(Row(what="of it: submit to accepted (202), p50", measured=accepted, unit="ms"))
    report.notes.append("A run waits for the disk three times: its input, the request to the model, its end.")
    report.details = {"times": times, "floor": echoes}
    return report
