"""What a claim, the board and a page of tasks cost in a project with 100 tasks, and in one with 10,000.

Tasks are created over HTTP; half of them are completed. One request at a time on a kept connection.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx

from bench import processes
from bench.report import Report, Row

SIZES = (100, 10_000)
CLAIMS, READS = 40, 60
RATIO = 2.0
_AT_ONCE = 16


def measure() -> Report:
    """Each question at both sizes."""
    report = Report("projects")
    with processes.scratch() as folder:
        root = processes.new_root(folder)
        with processes.daemon(root) as daemon:
            headers = {"authorization": f"Bearer {daemon.token}"}
            with httpx.Client(base_url=daemon.url, headers=headers, timeout=60, trust_env=False) as http:
                few, many = (_asked(http, tasks) for tasks in SIZES)
    for what, took in many.items():
        row = Row(what=f"{what}, {SIZES[1]:,} tasks, p50", measured=took, unit="ms", floor=few[what],
                  floor_is=f"the same with {SIZES[0]} tasks", limit=RATIO, goal_of="ratio")  # fmt: skip
        report.rows.append(row)
    report.notes.append(f"{CLAIMS} claims with their ends and {READS} reads each, one after the other.")
    return report


def _asked(http: httpx.Client, tasks: int) -> dict[str, float]:
    project = f"p{tasks}"
    http.put(f"/v1/projects/{project}", json={}).raise_for_status()

    def make(number: int) -> None:
        url = f"/v1/projects/{project}/tasks"
        http.post(url, json={"title": f"task {number}", "task_id": f"t{number}"}).raise_for_status()
        if number % 2:
            http.patch(f"{url}/t{number}", json={"status": "completed"}).raise_for_status()

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(make, range(tasks)))
    url, claims = f"/v1/projects/{project}", iter(range(0, tasks, 2))

    def claim() -> None:
        task = f"{url}/tasks/t{next(claims)}"
        held = http.post(f"{task}/claim", json={"holder": "bench"}).raise_for_status().json()
        http.post(f"{task}/complete", json={"claim_id": held["claim_id"]}).raise_for_status()

    return {
        "a claim and its end": _p50(claim, CLAIMS),
        "the board": _p50(lambda: http.get(f"{url}/board").raise_for_status(), READS),
        "first page of tasks": _p50(lambda: http.get(f"{url}/tasks").raise_for_status(), READS),
        "first page of pending tasks": _p50(lambda: http.get(f"{url}/tasks?status=pending").raise_for_status(), READS),
    }


def _p50(ask: Callable[[], object], count: int) -> float:
    took = []
    for _ in range(count):
        began = time.perf_counter()
        ask()
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)
