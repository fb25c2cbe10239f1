"""The costs of agents that work together: messages, spawns, trees, schedules due at once, and many memory files."""

from __future__ import annotations

import datetime
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bench import processes
from bench.report import Report, Row, quantile
from kheish.client import Kheish

COUNT, WARM, PAUSE = 200, 20, 0.02
SESSIONS = 20
TREE = 128
SCHEDULES = 1_000
NOTES, SCOPES = 10_000, 50
READS = 200
SEARCHES = 10
#: seconds in which a daemon takes up 1,000 files, is stopped, and starts again
_AHEAD = 120.0
_QUOTAS = "agents: {spawns_per_minute: 100000, live: 10000, live_per_parent: 1000, live_per_root: 10000}\n"


def measure() -> Report:
    """A message until it is delivered, a child until it has settled beside a bare run, and a tree of agents."""
    report = Report("coordination")
    with processes.scratch() as folder, processes.floor(folder) as (floor, _):
        echoes = processes.load("echoes", url=floor, count=COUNT, pause=PAUSE)["times"]
        root = processes.new_root(folder)
        (root / "kheish.yaml").write_text(_QUOTAS)
        with processes.daemon(root) as daemon:
            spec = {"url": daemon.url, "token": daemon.token, "names": [f"s{n}" for n in range(SESSIONS)]}
            processes.load("prepare", **spec)
            how = {"count": COUNT, "warm": WARM, "pause": PAUSE}
            runs = processes.load("latency", **spec, **how)["times"]
            mail = processes.load("messages", **spec, **how)["times"]
            client = Kheish(url=daemon.url, token=daemon.token)
            parents = [f"p{n}" for n in range(SESSIONS)]
            agents = [client.sessions.create(name)["agent_id"] for name in parents]
            # A pause in which the parent reads the result of its child, in a run of its own.
            kids = processes.load("spawns", **spec, **{**how, "pause": 5 * PAUSE}, agents=agents)["times"]
            top = _tree(client)
            tree = processes.load("gets", **{**spec, "paths": [f"/v1/agents/{top}/tree"] * READS})
    p50 = [quantile([one["completed"] for one in times], 0.5) for times in (echoes, runs, mail, kids)]
    report.rows = [
        Row(what="message posted to delivered, idle recipient, p50", measured=p50[2], unit="ms", floor=p50[0],
            floor_is="one fsynced append, seen by SSE", limit=15.0),
        Row(what="spawn to settle of an echo child, p50", measured=p50[3], unit="ms", floor=p50[1],
            floor_is="a bare run, submit to completed", limit=2.5, goal_of="ratio"),
        Row(what=f"tree of {TREE} agents, p50", measured=tree["p50"], unit="ms", limit=5.0),
    ]  # fmt: skip
    report.notes.append(f"{COUNT} each, one after the other; both ends of a time are at the client.")
    report.details = {"echoes": echoes, "runs": runs, "messages": mail, "spawns": kids, "tree": tree}
    return report


def _tree(client: Kheish) -> str:
    """Make a tree of 128 agents that have settled, on three levels; return the top one."""
    top: str = client.sessions.create("top")["agent_id"]
    middles = [client.agents.spawn(top, f"middle{n}", prompt="x")["agent_id"] for n in range(7)]
    for number in range(TREE - 1 - len(middles)):
        client.agents.spawn(middles[number % len(middles)], f"leaf{number}", prompt="x")
    deadline = time.monotonic() + 120
    while client.agents.list(root=top, status=["running", "waiting"], limit=1)["items"]:
        if time.monotonic() > deadline:
            raise RuntimeError("the tree does not settle")
        time.sleep(0.2)
    found = len(client.agents.list(root=top, limit=200)["items"])
    if found != TREE:
        raise RuntimeError(f"the tree has {found} agents")
    return top


def measure_schedules() -> Report:
    """1,000 schedules that are due in one second, which a daemon that was restarted before has to claim."""
    report = Report("schedules")
    with processes.scratch() as folder:
        root = processes.new_root(folder)
        due = int(time.time() + _AHEAD)
        at = datetime.datetime.fromtimestamp(due, datetime.UTC).isoformat()
        for number in range(SCHEDULES):
            start = f"{{session: s{number % 100}, input: {{content: tick}}}}"
            text = f'at: "{at}"\nstart: {start}\n'
            (root / "schedules" / f"at-{number:04d}.yaml").write_text(text)
        with processes.daemon(root) as daemon:
            _until_taken_up(daemon)
        with processes.daemon(root) as daemon:
            if time.time() >= due:
                raise RuntimeError("the daemon was not ready in time")
            client = Kheish(url=daemon.url, token=daemon.token)
            before = processes.cpu(daemon.pid)
            claims, submitted = _claims(client, due)
            used = processes.cpu(daemon.pid) - before
    took = [one - due for one in claims]
    report.rows = [
        Row(what=f"{SCHEDULES:,} schedules due in one second: all claimed", measured=max(took), unit="s", limit=5.0),
        Row(what="… half of them", measured=quantile(took, 0.5), unit="s"),
        Row(what="… claimed twice, or with two runs", measured=float(submitted - SCHEDULES), unit="", limit=0.0),
        Row(what="… CPU of the daemon's process until all runs have ended", measured=used, unit="s"),
    ]
    return report


def _until_taken_up(daemon: processes.Daemon) -> None:
    client = Kheish(url=daemon.url, token=daemon.token)
    while sum(1 for _ in _all(client, "schedules")) < SCHEDULES:
        time.sleep(0.5)


def _all(client: Kheish, kind: str) -> Any:
    cursor: str | None = None
    while True:
        page = client.definitions(kind).list(limit=200, cursor=cursor)
        yield from page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return


def _claims(client: Kheish, due: int) -> tuple[list[float], int]:
    """Return the times of all claims, and the number of runs that they led to."""
    claims, runs = dict[str, float](), Counter[str]()
    ended = 0
    for event in client.events(after=0):
        if event.kind not in ("fire.claimed", "run.submitted", "fire.settled"):
            continue
        at, data = datetime.datetime.fromisoformat(event.at).timestamp(), event.data
        if event.kind == "fire.claimed":
            if data["schedule_id"] in claims or at < due:
                raise RuntimeError(f"{data['schedule_id']} was claimed twice, or early")
            claims[data["schedule_id"]] = at
        elif event.kind == "run.submitted":
            runs[data["request"]["metadata"]["fire_id"]] += 1
        ended += event.kind == "fire.settled"
        if ended == SCHEDULES:
            return list(claims.values()), sum(runs.values())
    raise RuntimeError("the stream of events ended")


def measure_memory_files() -> Report:
    """10,000 memory files in 50 folders: start to ready, a page, a search, and the section of a prompt."""
    report = Report("memory-files")
    with processes.scratch() as folder:
        root = processes.new_root(folder)
        with processes.daemon(root) as daemon:
            Kheish(url=daemon.url, token=daemon.token).sessions.create("s0")
            empty = daemon.ready_after
        _write_notes(root)
        with processes.daemon(root) as daemon:
            client = Kheish(url=daemon.url, token=daemon.token)
            ready, began = daemon.ready_after, time.monotonic()
            while len(client.memory.list(owner=f"s{SCOPES - 1}", limit=200)["items"]) < NOTES // SCOPES:
                time.sleep(0.1)
            listed = time.monotonic() - began
            spec = {"url": daemon.url, "token": daemon.token}
            asked = {
                "a page of 50": "/v1/memory?limit=50",
                "a search for a common word": "/v1/memory?q=common&limit=50",
                "a search for a unique word": "/v1/memory?q=unique7777",
                "the section of a prompt, 200 files": "/v1/sessions/s0/memory?query=deploy",
            }
            found = {what: processes.load("gets", **spec, paths=[path] * SEARCHES) for what, path in asked.items()}
            resident = processes.pss(daemon.pid)
    report.rows = [
        Row(what=f"start to ready, {NOTES:,} memory files", measured=ready, unit="s", floor=empty,
            floor_is="the same root without files"),
        Row(what="… from then until all are listed", measured=listed, unit="s"),
        *(Row(what=f"{what}, p50", measured=one["p50"], unit="ms") for what, one in found.items()),
        Row(what="memory of the daemon's process", measured=resident, unit="MB"),
    ]  # fmt: skip
    report.details = {"reads": found}
    return report


def _write_notes(root: Path) -> None:
    for number in range(NOTES):
        folder = root / "memory" / "sessions" / f"s{number % SCOPES}"
        folder.mkdir(parents=True, exist_ok=True)
        text = f"---\ndescription: Note {number}\n---\nA common word, and unique{number}.\n" + "More text.\n" * 20
        (folder / f"note-{number:05d}.md").write_text(text)
