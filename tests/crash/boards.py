"""A project in the campaign, and its rules: one claim on a task at a time, one run for a start, one end. Shares no code
with Kheish."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tests.crash.journals import Entry, Finding, all_entries

BOARD = "board"
#: the sessions of its members
WORKERS = ("works-1", "works-2")
FILE: dict[str, Any] = {"members": [{"member": name, "kind": "session"} for name in WORKERS]}
_JOURNAL = f"journals/projects/{BOARD}"
_OVER = frozenset({"project_task.released", "project_task.review_requested", "project_task.ended"})
Send = Callable[..., tuple[int, dict[str, Any], int]]


def set_up(send: Send, acknowledge: Callable[[str, str, int], None]) -> None:
    """Have the project and its members; a daemon that is killed meanwhile has them in its next life."""
    for name in WORKERS:
        status, said, n = send("POST", "/v1/sessions", {"session_id": name, "route": "told"})
        if status == 201:
            acknowledge("sessions", said["session_id"], n)
    send("PUT", f"/v1/projects/{BOARD}", FILE)


def has_open_work(send: Send) -> bool:
    """Whether a run works on a task."""
    _, said, _ = send("GET", f"/v1/projects/{BOARD}/tasks?status=in_progress&limit=200")
    return any(one["claim"]["run_id"] is not None for one in said.get("items", ()))


def claims(journals: Mapping[str, list[Entry]], *, is_quiet: bool = True) -> Iterator[Finding]:
    """A task has one claim at a time and one end, a start has one run, and no run keeps a claim after its end."""
    runs = Counter(entry["run"] for entry in all_entries(journals) if entry["kind"] == "run.submitted")
    entries = sorted(all_entries({name: found for name, found in journals.items() if name.startswith(_JOURNAL)}),
                     key=lambda one: one["n"])  # fmt: skip
    held: dict[str, Mapping[str, Any]] = {}
    over: set[str] = set()
    for entry in entries:
        kind, data = entry["kind"], entry["data"]
        task = data.get("task_id", "")
        if kind == "project_task.created":
            if task in over or data.get("was") is None:
                over.discard(task)
            else:
                yield Finding("task_open_twice", task, f"n {entry['n']}")
        elif kind == "project_task.claimed":
            before = held.get(task)
            if before is not None and not (before["expires_at"] is not None and before["expires_at"] <= entry["at"]):
                yield Finding("claim_twice", task, f"{data['claim_id']} beside {before['claim_id']}")
            if task in over:
                yield Finding("claim_after_end", task, data["claim_id"])
            if data.get("started") and runs[data["run_id"]] != 1:
                yield Finding("start_run", task, f"{runs[data['run_id']]} runs")
            held[task] = data
        elif kind in _OVER:
            before = held.pop(task, None)
            if kind == "project_task.released" and (before is None or before["claim_id"] != data["claim_id"]):
                yield Finding("claim_stale", task, data["claim_id"])
            if kind == "project_task.ended":
                if task in over:
                    yield Finding("task_twice", task, "it ended twice")
                over.add(task)
    for task, claim in held.items() if is_quiet else ():
        if claim["run_id"] is not None:
            yield Finding("task_lost", task, f"the run {claim['run_id']} has ended, and keeps it")


def tasks(journals: Mapping[str, list[Entry]], acks: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[Finding]:
    """What was acknowledged is there once: tasks, starts, and results of outside holders."""
    made: Counter[str] = Counter()
    started: Counter[str] = Counter()
    ended: dict[str, list[Any]] = {}
    for entry in all_entries(journals):
        data = entry["data"]
        if entry["kind"] == "project_task.created" and data.get("was") is None:
            made[data["task_id"]] += 1
        elif entry["kind"] == "project_task.claimed" and data.get("started"):
            started[data["task_id"]] += 1
        elif entry["kind"] == "project_task.ended":
            ended.setdefault(data["task_id"], []).append(data["output"])
    for task, count in (*made.items(), *started.items()):
        if count > 1:
            yield Finding("task_twice", task, f"{count} times made, or started with one key")
    for one in acks.get("tasks", ()):
        if not made[one["id"]]:
            yield Finding("task_gone", str(one["id"]), "it was acknowledged")
    for one in acks.get("starts", ()):
        if not started[one["id"]]:
            yield Finding("start_lost", str(one["id"]), "it was acknowledged")
    for one in acks.get("results", ()):
        if ended.get(one["id"]) != [one["output"]]:
            yield Finding("result_lost", str(one["id"]), f"{ended.get(one['id'])} in place of {one['output']}")
