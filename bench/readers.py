"""Event streams: 1,000 readers of one event each 10 ms, and a replay of all that there is."""

from __future__ import annotations

from bench import processes
from bench.report import Report, Row
from bench.roots import Roots

READERS = 1_000
EVENTS = 800
PAUSE = 0.01
FRAMES, FRAME = 1_000_000, 420


def measure(roots: Roots) -> Report:
    """Every reader must get every event, in order; timed from the moment when the request was sent."""
    report = Report("readers")
    with processes.scratch() as folder:
        with processes.floor(folder) as (url, _):
            floor = processes.load("follow", url=url, token="", readers=READERS, events=EVENTS, pause=PAUSE, bare=True)
        with processes.daemon(processes.new_root(folder)) as daemon:
            spec = {"url": daemon.url, "token": daemon.token}
            processes.load("prepare", **spec, names=["heard"])
            found = processes.load("follow", **spec, readers=READERS, events=EVENTS, pause=PAUSE, bare=False)
    floor_is = f"a bare event stream, {READERS:,} readers"
    for name, limit in (("p50", None), ("p99", 250.0)):
        report.rows.append(
            Row(what=f"an event at {READERS:,} readers, one each 10 ms, {name}", measured=found[name], unit="ms",
                floor=floor[name], floor_is=floor_is, limit=limit)
        )  # fmt: skip
    report.rows.append(
        Row(what="readers with a gap, a repetition or a wrong order", measured=found["wrong"], unit="", limit=0.0)
    )
    report.notes.append(
        f"{EVENTS} events in {found['took']:.1f} s (at the floor {floor['took']:.1f} s), {found['received']:,} frames "
        f"received of {READERS * EVENTS:,}; all readers are in one process, which takes {found['cpu']:.0%} of a core."
    )
    report.details = {"ours": found, "floor": floor}
    return report


def measure_replay(roots: Roots) -> Report:
    """Everything from event 0 on by one stream, as fast as one client takes it."""
    report = Report("replay")
    with processes.scratch() as folder, processes.floor(folder) as (url, _):
        floor = processes.load("replay", url=url, token="", path=f"/frames/{FRAMES}/{FRAME}", count=FRAMES)
    with processes.daemon(roots.path(roots.large)) as daemon:
        count = min(FRAMES, roots.entries(roots.large))
        found = processes.load("replay", url=daemon.url, token=daemon.token, path="/v1/events?after=0", count=count)
    report.rows.append(
        Row(what=f"replay by SSE of {found['count']:,} events", measured=found["rate"], unit="/s",
            floor=floor["rate"], floor_is=f"a bare stream of made frames, {FRAME} bytes each",
            limit=50_000.0, better="more")
    )  # fmt: skip
    report.notes.append(f"{found['bytes'] / found['count']:.0f} bytes an event; in order: {found['ordered']}.")
    report.details = {"ours": found, "floor": floor}
    return report
