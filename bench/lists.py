"""What a page, one thing and a search cost, at 1,000 sessions and at 100,000 with 1,000,000 entries.

One request at a time on a kept connection. The floor is a bare route that answers with as many bytes.
"""

from __future__ import annotations

from typing import Any

from bench import generate, processes
from bench.report import Report, Row
from bench.roots import SMALL, Roots

COUNT = 200
PAGE, SEARCH = 5.0, 50.0
#: what is asked, and the goal in ms. {name} is a session, {run} one of its runs, {cursor} the middle of a list
ASKED = {
    "first page of sessions": ("/v1/sessions", PAGE),
    "first page of runs": ("/v1/runs", PAGE),
    "a page in the middle": ("/v1/runs?cursor={cursor}", PAGE),
    "runs that failed": ("/v1/runs?status=failed", PAGE),
    "runs of one session": ("/v1/runs?session={name}", PAGE),
    "sessions of a rare route": ("/v1/sessions?route=asks", PAGE),
    "one session": ("/v1/sessions/{name}", PAGE),
    "one run": ("/v1/runs/{run}", PAGE),
    "entries of one session": ("/v1/sessions/{name}/journal", PAGE),
    "search: a word said once": ("/v1/sessions?q=ticket-1001", SEARCH),
    "search: a common word": ("/v1/sessions?q=deploy", SEARCH),
    "search: two words": ("/v1/sessions?q=rollback%20invoice", SEARCH),
    "search: a beginning": ("/v1/sessions?q=bacor*", SEARCH),
    "search in one session": ("/v1/sessions/{name}/search?q=the", SEARCH),
}


def measure(roots: Roots) -> Report:
    """Each question at both sizes."""
    report = Report("lists")
    for sessions in (SMALL, roots.large):
        with processes.daemon(roots.path(sessions)) as daemon, processes.scratch() as folder:
            report.details[str(sessions)] = found = _asked(daemon, sessions, folder)
        for what, one in found.items():
            report.rows.append(
                Row(
                    what=f"{what}, {sessions:,} sessions, p50",
                    measured=one["p50"],
                    unit="ms",
                    floor=one["floor"],
                    floor_is=f"bare route, {one['bytes']:,.0f} bytes",
                    limit=ASKED[what][1],
                )
            )
    report.notes.append(
        f"{COUNT} requests each, one after the other. {roots.entries(roots.large):,} entries in the large."
    )
    return report


def _asked(daemon: processes.Daemon, sessions: int, folder: Any) -> dict[str, dict[str, float]]:
    names = [generate.session_name(number * 7919 % sessions) for number in range(COUNT)]
    spec = {"url": daemon.url, "token": daemon.token}
    known = processes.load("look", **spec, names=names)
    found: dict[str, dict[str, float]] = {}
    with processes.floor(folder) as (url, _):
        for what, (path, _) in ASKED.items():
            paths = [path.format(name=one["name"], run=one["run"], cursor=known["cursor"]) for one in known["sessions"]]
            one = processes.load("gets", **spec, paths=paths)
            bare = processes.load("gets", url=url, token="", paths=[f"/bytes/{one['bytes']:.0f}"] * COUNT)
            found[what] = {**one, "floor": bare["p50"]}
    return found
