"""How many journal entries a second are appended and acknowledged: 64 writers, each with a session of its own.

`PATCH /v1/sessions/{id}` is the request that makes exactly one entry (`session.updated`) and is answered when that is
durable: the whole write path (check, state, log, journals, index, commits) and nothing of a run.
"""

from __future__ import annotations

from bench import processes
from bench.report import Report, Row, median

WRITERS = 64
ROUNDS = 3
SECONDS = 4.0


def measure() -> Report:
    """Daemon and floor in turns, so that both meet the same disk; the medians are compared."""
    report = Report("appends")
    ours, floors = [], []
    with (
        processes.scratch() as folder,
        processes.floor(folder) as (url, _),
        processes.daemon(processes.new_root(folder)) as daemon,
    ):
        spec = {"url": daemon.url, "token": daemon.token, "names": [f"s{n}" for n in range(WRITERS)]}
        processes.load("prepare", **spec)
        for _ in range(ROUNDS):
            ours.append(processes.load("patches", **spec, clients=WRITERS, seconds=SECONDS))
            floors.append(processes.load("appends", url=url, clients=WRITERS, seconds=SECONDS))
    report.rows = [
        Row(
            what="entries appended and acknowledged",
            measured=median([one["rate"] for one in ours]),
            unit="/s",
            floor=median([one["rate"] for one in floors]),
            floor_is="bare route, group-committed append",
            limit=1 / 3,
            goal_of="ratio",
            better="more",
        ),
        Row(
            what="one acknowledgement, p50",
            measured=median([one["p50"] for one in ours]),
            unit="ms",
            floor=median([one["p50"] for one in floors]),
            floor_is="the same",
        ),
        Row(
            what="one acknowledgement, p99",
            measured=median([one["p99"] for one in ours]),
            unit="ms",
            floor=median([one["p99"] for one in floors]),
            floor_is="the same",
        ),
    ]
    report.notes.append(
        f"{WRITERS} writers, PATCH of a session's title, {ROUNDS} rounds of {SECONDS:.0f} s each, in turns."
    )
    report.details = {"ours": ours, "floors": floors}
    return report
