"""A daemon is killed with 1,000 runs under way: how soon it is ready again, and has taken all of them up."""

from __future__ import annotations

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from bench import processes
from bench.report import Report, Row

RUNS = 1000
#: each run is in its model call when the daemon dies, and in it again afterwards
ROUTE = "driver: scripted\nscript: {turns: [{text: late, delay: 600s}]}\n"
CONFIG = f"concurrency: {{runs: {RUNS}}}\nshutdown_grace: 1s\n"
PATIENCE = 120.0


def measure() -> Report:
    """From the start of the process to the ready line, and to the last `run.resumed`."""
    report = Report("resume")
    with processes.scratch() as folder:
        root = processes.new_root(folder, ROUTE)
        (root / "kheish.yaml").write_text(CONFIG)
        with processes.daemon(root) as daemon:
            floor = daemon.ready_after
            _submit(daemon)
            newest = _until_running(daemon)
            os.kill(daemon.pid, signal.SIGKILL)
        with processes.daemon(root) as daemon:
            ready, resumed = daemon.ready_after, daemon.ready_after + _all_resumed(daemon, newest)
    floor_is, what = "an empty root", f"kill -9 with {RUNS} runs under way"
    report.rows = [
        Row(what=f"{what}: ready", measured=ready, unit="s", floor=floor, floor_is=floor_is),
        Row(what="… and all resumed", measured=resumed, unit="s", floor=floor, floor_is=floor_is, limit=5.0),
    ]
    report.notes.append("Each in a session of its own, in its model call; counted from the start of the process.")
    return report


def _client(daemon: processes.Daemon) -> httpx.Client:
    headers = {"authorization": f"Bearer {daemon.token}"}
    return httpx.Client(base_url=daemon.url, headers=headers, timeout=PATIENCE, trust_env=False)


def _submit(daemon: processes.Daemon) -> None:
    def submit(number: int) -> None:
        client.post("/v1/sessions", json={"session_id": f"s{number}"}).raise_for_status()
        client.post(f"/v1/sessions/s{number}/runs", json={"content": "go"}).raise_for_status()

    with _client(daemon) as client, ThreadPoolExecutor(8) as pool:
        list(pool.map(submit, range(RUNS)))


def _until_running(daemon: processes.Daemon) -> int:
    """Wait until the model was asked in each run; returns the newest event's number."""
    return _hear(daemon, 0, "model.requested")


def _all_resumed(daemon: processes.Daemon, newest: int) -> float:
    """Seconds until each run was taken up again."""
    began = time.monotonic()
    _hear(daemon, newest, "run.resumed")
    return time.monotonic() - began


def _hear(daemon: processes.Daemon, after: int, kind: str) -> int:
    """Read events of a kind until there was one for each run; the number of the last."""
    runs, n = set[str](), after
    asked = {"after": str(after), "kind": kind}
    with _client(daemon) as client, client.stream("GET", "/v1/events", params=asked) as stream:
        for line in stream.iter_lines():
            if line.startswith("data: "):
                event = json.loads(line[6:])
                runs.add(event["run"])
                n = event["n"]
            if len(runs) == RUNS:
                return n
    raise RuntimeError(f"the event stream ended after {len(runs)} of {RUNS} runs")
