"""Goals of a real daemon: continuations, no progress, failures, budgets, requirements, kills and restores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, allow, bash, call, until
from tests.system.test_schedules import clocked

USED = {"usage": {"input_tokens": 40, "output_tokens": 10}}


def update(**arguments: Any) -> dict[str, Any]:
    """A turn that updates the goal."""
    return {"tool_calls": [call("update_goal", **arguments)]}


ROUTES: dict[str, Any] = {
    "repeats": [{"text": "I am still thinking."}],
    "same": [update(status="working", next="think"), {"text": "still"}],
    "bad": [update(status="stuck"), {"text": "I have updated the goal."}],
    "claims": [update(status="complete", why="all is done"), {"text": "done"}],
    "builds": [bash("echo x >> built.txt"), update(status="complete"), {"text": "built"}],
    "hopes": [update(status="complete"), {"text": "it is there, I think"}],
    "waits": [update(status="working", next="look at CI", wait_until="1h"), {"text": "waiting"}],
    "works": [{**bash("echo x"), **USED}, {"text": "worked", **USED}],
    "sets": [
        {"tool_calls": [call("get_goal"), call("create_goal", objective="tidy up", tokens=5000)]},
        {"text": "{{last_result}}"},
    ],
    "hello": [{"text": "hi"}],
    "slow": [{"text": "slow", "delay": "1s"}],
    "down": {
        "driver": "scripted",
        "retries": 0,
        "script": {"turns": [{"error": {"status": 500}}]},
    },
}
PERMISSIONS = allow("echo *")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("goals")
    with Daemon.fresh(folder, routes=ROUTES, permissions=PERMISSIONS) as daemon:
        yield daemon


def begin(daemon: Daemon, session: str, route: str, objective: str = "reach it", **goal: Any) -> dict[str, Any]:
    """A session with a goal."""
    daemon.client.sessions.create(session, route=route)
    return dict(daemon.client.goals.put(session, objective, **goal))


def goal(daemon: Daemon, session: str, status: str) -> dict[str, Any]:
    """The goal when it has this status and no run."""

    def there() -> dict[str, Any] | None:
        found = daemon.client.goals.get(session)
        return dict(found) if found["status"] == status and found["run_id"] is None else None

    return until(there, what=f"the goal of {session} is {status}: {daemon.client.goals.get(session)}")


def runs(daemon: Daemon, session: str) -> list[dict[str, Any]]:
    return [dict(one) for one in daemon.client.runs.list(session=session, limit=200)["items"]][::-1]


def test_a_model_that_repeats_itself_is_paused_with_a_question(shared: Daemon) -> None:
    begin(shared, "repeats", "repeats")
    found = goal(shared, "repeats", "paused")
    assert (found["why"], found["continuations"], found["idle_runs"]) == ("no_progress", 2, 2)
    [first, second] = runs(shared, "repeats")
    assert {first["kind"], second["kind"]} == {"goal_continuation"}
    [question] = shared.client.questions.list(session="repeats", status="pending")["items"]
    assert (question["purpose"], question["run_id"]) == ("goal", second["run_id"])
    assert question["question_id"] == found["question_id"]
    answers = {"q1": {"selected": ["a"], "text": None}}
    shared.client.questions.answer(question["question_id"], answers)
    until(lambda: shared.client.goals.get("repeats")["continuations"] == 4, what="a person's word continues it")
    assert goal(shared, "repeats", "paused")["why"] == "no_progress"
