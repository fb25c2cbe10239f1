"""Goals in the campaign, and their rules: each continuation has one run, one after the other. Shares no code with
Kheish."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.crash.journals import Entry, Finding

#: sessions with a goal that has no end
GOALS = ("goal-1", "goal-2")
#: works, and names another step each time; its next run is a little later
TURNS: list[dict[str, Any]] = [
    {
        "tool_calls": [
            {"name": "todo_write", "arguments": {"items": [{"content": "go on", "status": "in_progress"}]}},
            {"name": "update_goal", "arguments": {"status": "working", "next": "go on", "wait_until": "1s"}},
        ]
    },
    {"text": "more is left"},
]
_KIND = "goal_continuation"
_ENDS = frozenset({"run.completed", "run.failed", "run.cancelled", "run.interrupted"})
Send = Callable[[str, str, dict[str, Any]], tuple[int, dict[str, Any], int]]


def pursue(send: Send, acknowledge: Callable[[str, str, int], None]) -> None:
    """Have the goals be active; a daemon that is killed meanwhile has them in its next life."""
    for name in GOALS:
        status, said, n = send("POST", "/v1/sessions", {"session_id": name, "route": "pursues"})
        if status == 201:
            acknowledge("sessions", said["session_id"], n)
        send("PUT", f"/v1/sessions/{name}/goal", {"objective": "go on for ever"})


def pause(send: Send) -> None:
    """Let the goals rest, for the time in which it is quiet."""
    for name in GOALS:
        send("PATCH", f"/v1/sessions/{name}/goal", {"status": "paused"})


def continuations(journals: Mapping[str, list[Entry]]) -> Iterator[Finding]:
    """Each claim of a goal has its run and each run its claim; they are numbered, and none begins before the end of
    another."""
    for name, entries in journals.items():
        claimed: list[str] = []
        submitted: list[str] = []
        is_open: str | None = None
        for entry in entries:
            data, kind = entry["data"], entry["kind"]
            if kind == "goal.continued":
                claimed.append(data["run_id"])
                if data["number"] != len(claimed):
                    yield Finding("goal_number", name, f"claim {len(claimed)} has the number {data['number']}")
                if is_open is not None:
                    yield Finding("goal_twice", name, f"{data['run_id']} is claimed while {is_open} is open")
                is_open = data["run_id"]
            elif kind == "run.submitted" and data["run_kind"] == _KIND:
                submitted.append(entry["run"])
            elif kind in _ENDS and entry["run"] == is_open:
                is_open = None
        if claimed != submitted:
            yield Finding("goal_twice", name, f"claims {claimed}, runs {submitted}")
