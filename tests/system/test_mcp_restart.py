"""Calls of MCP servers over a kill of the daemon: what waits for a user, runs as a task, or was under way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, until
from tests.system.conftest import Fresh
from tests.system.test_mcp import ALLOWED, ANSWERS, GIVEN, alive, answered, calls, noted, pids, put, server


def run(daemon: Daemon, session: str, turns: list[dict[str, Any]]) -> Any:
    daemon.http("PUT", f"/v1/routes/{session}", {"driver": "scripted", "script": {"turns": turns}})
    daemon.client.sessions.create(session, route=session)
    return daemon.client.runs.start(session, "go")


def waits(daemon: Daemon, run_id: str) -> str | None:
    """The question that a run waits for."""
    doc = daemon.client.runs.get(run_id).data
    return doc["pending_questions"][0] if doc["status"] == "waiting_for_question" else None


@pytest.mark.demand(29)
def test_what_a_kill_of_the_daemon_leaves(fresh: Fresh, tmp_path: Path) -> None:
    daemon = fresh(permissions=ALLOWED)
    modern, legacy, tasks, lazy = (tmp_path / name for name in ("modern", "legacy", "tasks", "lazy"))
    put(daemon, "modern", server(modern, "modern"))
    put(daemon, "legacy", server(legacy))
    put(daemon, "tasks", server(tasks, "modern"))
    put(daemon, "lazy", server(lazy))
    asked = run(daemon, "asked", calls("mcp__modern__ask"))
    during = run(daemon, "during", calls("mcp__legacy__ask"))
    job = run(daemon, "job", calls("mcp__tasks__job", text="4"))
    slow = run(daemon, "slow", calls("mcp__lazy__slow", text="60"))
    until(lambda: waits(daemon, asked.run_id) and waits(daemon, during.run_id), what="both ask")
    until(lambda: noted(tasks, "polls"), what="the task is followed")
    until(lambda: noted(lazy, "calls"), what="the slow call is under way")
    question = waits(daemon, asked.run_id)
    processes = [pid for folder in (modern, legacy, tasks, lazy) for pid in pids(folder)]
    assert len(processes) == 4 and all(map(alive, processes))

    daemon.kill9()
    until(lambda: not any(map(alive, processes)), what="the servers have ended with their daemon")
    daemon.start()

    assert waits(daemon, asked.run_id) == question, "the same question still waits"
    done = answered(daemon, daemon.client.runs.get(asked.run_id), ANSWERS)
    assert (done.data["status"], json.loads(done.output)) == ("completed", GIVEN)
    assert [json.loads(line)[0] for line in noted(modern, "calls")] == ["ask", "ask"], "the answer repeated the call"
    finished = daemon.client.runs.get(job.run_id, wait="30s")
    assert (finished.data["status"], finished.output) == ("completed", "the task is done")
    assert [json.loads(line)[0] for line in noted(tasks, "calls")] == ["job"], "it was found again, not called again"
    for one in (during, slow):
        id = until(lambda one=one: waits(daemon, one.run_id), what="its outcome is unknown")
        assert daemon.client.questions.get(id)["purpose"] == "ambiguous"
    assert len(noted(lazy, "calls")) == len(noted(legacy, "calls")) == 1, "neither was called again"
    choice = {"outcome": {"selected": ["done"], "text": "it went well"}}
    assert answered(daemon, daemon.client.runs.get(slow.run_id), choice).output == "it went well"
    until(lambda: daemon.client.mcp.get("modern")["negotiated"], what="the server was started again")
    assert daemon.client.mcp.get("modern")["negotiated"]["era"] == "modern"
    servers = [pid for pid in (*pids(modern), *pids(tasks)) if alive(pid)]
    assert servers
    daemon.stop()
    until(lambda: not any(map(alive, servers)), what="a stop ends them")
