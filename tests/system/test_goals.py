"""Goals of a real daemon: continuations, no progress, failures, budgets, requirements, kills and restores."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from kheish.cli.output import when
from tests.support.daemon import QUICK, Daemon, allow, bash, call, scripted, until
from tests.system.test_schedules import clocked

USED = {"usage": {"input_tokens": 40, "output_tokens": 10}}


def update(**arguments: Any) -> dict[str, Any]:
    """A turn that updates the goal."""
    return {"tool_calls": [call("update_goal", **arguments)]}


ROUTES: dict[str, Any] = {
    "repeats": [{"text": "I am still thinking."}],
    "same": [update(status="working", next="think"), {"text": "still"}],
    "dotted": [
        update(status="working", next="Think."),
        {"text": "x"},
        update(status="working", next="think "),
        {"text": "x"},
    ],
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
    "down": scripted([{"error": {"status": 500}}] * 9, max_retries=0),
    "rich": scripted(
        [{**bash("echo x"), **USED}, {"text": "worked", **USED}],
        price={"input_per_mtok": 1000, "output_per_mtok": 1000},
    ),
}
PERMISSIONS = allow("echo *")


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Path]:
    return clocked(tmp_path_factory.mktemp("clock"))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, clock: tuple[dict[str, str], Path]) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("goals")
    with Daemon.fresh(folder, routes=ROUTES, permissions=PERMISSIONS, env=clock[0]) as daemon:
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


def at(text: str | None) -> datetime:
    return datetime.fromisoformat(text or "")


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
    reason = {"status": "paused", "reason": "until tomorrow"}
    for _ in range(2):
        paused = shared.http("PATCH", "/v1/sessions/repeats/goal", reason).json()
        assert (paused["status"], paused["why"], paused["question_id"]) == ("paused", "until tomorrow", None)
    assert not shared.client.questions.list(session="repeats", status="pending")["items"], "a person has decided"


@pytest.mark.parametrize("route", ["bad", "same", "dotted"])
def test_words_about_the_goal_are_no_work(shared: Daemon, route: str) -> None:
    """An `update_goal` that always fails, and one that always names the same step."""
    begin(shared, route, route)
    found = goal(shared, route, "paused")
    assert found["why"] == "no_progress"
    assert found["continuations"] == (2 if route == "bad" else 3), "the first word of the step was news"
    shared.client.goals.clear(route)
    assert not shared.client.questions.list(session=route, status="pending")["items"], "the question is withdrawn"
    assert shared.http("GET", f"/v1/sessions/{route}/goal").status_code == 404


def test_a_claim_without_a_requirement_completes_the_goal(shared: Daemon) -> None:
    begin(shared, "claims", "claims")
    found = goal(shared, "claims", "complete")
    assert (found["why"], found["continuations"], found["completed_at"] is not None) == ("all is done", 1, True)
    assert shared.http("PATCH", "/v1/sessions/claims/goal", {"status": "active"}).status_code == 409
    before = found["goal_id"]
    assert shared.http("PUT", "/v1/sessions/claims/goal", {"objective": "another"}).status_code == 201
    assert goal(shared, "claims", "complete")["goal_id"] != before


def test_a_goal_that_is_sent_again_with_its_key_is_the_same(shared: Daemon) -> None:
    shared.client.sessions.create("again", route="claims")
    key, place = {"idempotency-key": "k1"}, "/v1/sessions/again/goal"
    first = shared.http("PUT", place, {"objective": "once"}, headers=key)
    assert first.status_code == 201
    done = goal(shared, "again", "complete")
    shared.kill9()
    shared.start()
    second = shared.http("PUT", place, {"objective": "once"}, headers=key)
    assert (second.status_code, second.json()["goal_id"], second.json()["status"]) == (200, done["goal_id"], "complete")
    assert len(runs(shared, "again")) == 1
    other = shared.http("PUT", place, {"objective": "twice"}, headers=key)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")


def test_a_claim_is_checked_by_the_requirement(shared: Daemon) -> None:
    required = ["it is well built", {"workspace_file": "built.txt"}, {"command": "cat built.txt"}]
    begin(shared, "builds", "builds", completion=required)
    goal(shared, "builds", "complete")
    [work, check] = runs(shared, "builds")
    assert [one["request"]["metadata"]["purpose"] for one in (work, check)] == ["work", "check"]
    assert work["settings"]["completion"] == [] and check["settings"]["completion"] == required
    begin(shared, "hopes", "hopes", completion=[{"workspace_file": "never.txt"}])
    found = until(lambda: (one := shared.client.goals.get("hopes"))["failures"] and one, what="the check fails")
    assert found["status"] == "active" and "completion_unsatisfied" in str(found["last_error"])
    assert not found["is_claimed"], "a refuted claim is no claim"
    shared.client.goals.clear("hopes")


def test_an_agent_waits_and_a_message_of_a_user_goes_first(shared: Daemon) -> None:
    begin(shared, "waits", "waits")
    found = until(lambda: (one := shared.client.goals.get("waits"))["wait_until"] and not one["run_id"] and one)
    assert when(found["wait_until"]) in shared.cli("goals", "list", "--session", "waits").stdout
    assert (found["next"], found["continuations"]) == ("look at CI", 1)
    run = shared.client.runs.start("waits", "hello", route="hello", wait="20s")
    assert run.data["status"] == "completed" and shared.client.goals.get("waits")["continuations"] == 1
    assert shared.client.goals.update("waits", status="paused", reason="lunch")["why"] == "lunch"
    assert shared.client.goals.update("waits", status="active")["status"] == "active"
    until(lambda: shared.client.goals.get("waits")["continuations"] == 2, what="a resumed goal waits no more")


def test_a_message_overtakes_a_queued_run_of_the_goal(shared: Daemon) -> None:
    shared.client.pause("hello")
    begin(shared, "overtaken", "hello")
    until(lambda: shared.client.goals.get("overtaken")["run_id"])
    user = shared.client.runs.start("overtaken", "me first")
    assert shared.client.runs.get(user.run_id).data["queue_position"] == 1
    shared.client.resume("hello")
    shared.run(user.run_id)
    goal(shared, "overtaken", "paused")
    kinds = [one["kind"] for one in sorted(runs(shared, "overtaken"), key=lambda one: one["started_at"])]
    assert kinds == ["input", "goal_continuation", "goal_continuation"]


def test_a_person_who_cancels_its_run_pauses_it(shared: Daemon) -> None:
    begin(shared, "slow", "slow")
    shared.client.runs.cancel(until(lambda: shared.client.goals.get("slow")["run_id"]))
    assert goal(shared, "slow", "paused")["why"] == "cancelled"


def test_an_agent_sets_a_goal_in_a_run_that_a_user_asked_for(shared: Daemon) -> None:
    shared.client.sessions.create("sets", route="sets")
    run = shared.client.runs.start("sets", "set a goal", wait="20s")
    assert "The goal is set" in (run.output or "")
    found = goal(shared, "sets", "paused")
    assert (found["objective"], found["set_by"], found["checks_ask"]) == ("tidy up", run.data["agent_id"], True)
    assert found["budget"]["tokens"] == 5000 and found["usage"]["tokens"] > 0
    results = [one["data"]["content"] for one in shared.journal("sets") if one["kind"] == "tool.finished"]
    assert results[0] == "This session has no goal." and "has a goal already" in results[3]


@pytest.mark.demand(14)
def test_a_budget_ends_in_one_wrap_up_and_a_raise_continues(shared: Daemon) -> None:
    begin(shared, "spends", "works", budget={"tokens": 220})
    found = goal(shared, "spends", "budget_limited")
    assert (found["why"], found["usage"]["tokens"]) == ("tokens", 350), "two runs and a half, and the wrap-up"
    purposes = [one["request"]["metadata"]["purpose"] for one in runs(shared, "spends")]
    assert purposes == ["work", "work", "work", "wrap_up"]
    assert runs(shared, "spends")[2]["error"]["code"] == "budget_exceeded", "it asks for no approval"
    assert not shared.client.approvals.list(session="spends")["items"]
    refused = shared.http("PATCH", "/v1/sessions/spends/goal", {"status": "active"})
    assert refused.status_code == 409 and refused.json()["code"] == "goal_state_conflict"
    body, key = {"add_budget": {"tokens": 300}}, {"idempotency-key": "more"}
    first, again = (shared.http("PATCH", "/v1/sessions/spends/goal", body, headers=key).json() for _ in range(2))
    assert first["budget"]["tokens"] == again["budget"]["tokens"] == 520
    found = until(lambda: (one := goal(shared, "spends", "budget_limited"))["continuations"] > 4 and one)
    purposes = [one["request"]["metadata"]["purpose"] for one in runs(shared, "spends")][4:]
    assert purposes.count("wrap_up") == 1 and purposes[-1] == "wrap_up"
    assert found["usage"]["tokens"] >= 520, "usage only grows"
    for body in ({"objective": "x"}, {"objective": "x", "budget": {"tokens": 9}}):
        refused = shared.http("PUT", "/v1/sessions/spends/goal", body)
        assert refused.status_code == 409 and "used up its budget (tokens)" in refused.json()["detail"]
    again = shared.http("PUT", "/v1/sessions/spends/goal", {"objective": "x", "budget": {"tokens": 9000}}).json()
    assert (again["goal_id"], again["status"]) == (found["goal_id"], "active")
    shared.client.goals.clear("spends")


@pytest.mark.demand(14)
def test_dollars_are_a_budget_too(shared: Daemon) -> None:
    begin(shared, "rich", "rich", budget={"cost_usd": 0.05})
    assert goal(shared, "rich", "budget_limited")["why"] == "cost_usd"
    shared.client.sessions.create("poor", route="works")
    refused = shared.http("PUT", "/v1/sessions/poor/goal", {"objective": "x", "budget": {"cost_usd": 1}})
    assert refused.status_code == 400 and "needs a price" in refused.json()["detail"]


def test_failed_runs_back_off_and_the_fifth_pauses(shared: Daemon, clock: tuple[dict[str, str], Path]) -> None:
    begin(shared, "down", "down")
    for number, wait in enumerate((60, 240, 960, 3600), 1):
        found = until(
            lambda number=number: (one := shared.client.goals.get("down"))["failures"] == number and one  # type: ignore[misc]
        )
        failed = runs(shared, "down")[-1]["finished_at"]
        assert abs((at(found["retry_at"]) - at(failed)).total_seconds() - wait) < 10
        clock[1].write_text(str(float(clock[1].read_text() if clock[1].exists() else 0) + wait))
    found = goal(shared, "down", "paused")
    assert (found["why"], found["failures"], found["continuations"]) == ("failures", 5, 5)
    assert found["question_id"] is None and "model_server" in str(found["last_error"])


def test_the_command_line_has_it_all(shared: Daemon) -> None:
    shared.client.sessions.create("typed", route="waits")
    words = ("goals", "set", "typed", "reach it", "--when", "it is good", "--tokens", "100000", "--time", "2h")
    assert "reach it" in shared.cli(*words).stdout
    assert "is paused" in shared.cli("goals", "pause", "typed", "--reason", "lunch").stdout
    assert "lunch" in shared.cli("goals", "show", "typed").stdout
    listed = shared.cli("goals", "list", "--status", "paused", "--limit", "200").stdout
    assert next(line for line in listed.splitlines() if line.startswith("typed ")).split()[1:3] == ["paused", "lunch"]
    assert shared.cli("goals", "list", "--session", "typed", "--status", "complete").stderr == "No matches.\n"
    raised = shared.cli("goals", "raise", "typed", "--tokens", "1", "--output", "json").stdout
    assert json.loads(raised)["budget"] == {"tokens": 100001, "cost_usd": None, "wall_time": 7200.0}
    assert "is active" in shared.cli("goals", "resume", "typed").stdout
    assert "is removed" in shared.cli("goals", "clear", "typed").stdout
    assert shared.cli("goals", "clear", "typed").returncode == 3
    assert shared.cli("goals", "show", "typed").returncode == 3
    assert shared.client.goals.list(session="typed")["items"] == []


@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.campaign)])
def test_a_kill_at_any_step_leads_to_one_continuation(tmp_path: Path, kills: int) -> None:
    with Daemon.fresh(tmp_path, routes=ROUTES, permissions=PERMISSIONS) as daemon:
        begin(daemon, "s", "works")
        for _ in range(kills):
            before = daemon.client.goals.get("s")["continuations"]
            until(lambda before=before: daemon.client.goals.get("s")["continuations"] > before)  # type: ignore[misc]
            daemon.restart()
        daemon.client.goals.update("s", status="paused")
        found = goal(daemon, "s", "paused")
        entries = daemon.journal("s")
        claims = [one["data"] for one in entries if one["kind"] == "goal.continued"]
        submitted = [one["run"] for one in entries if one["kind"] == "run.submitted"]
        assert [one["number"] for one in claims] == list(range(1, found["continuations"] + 1))
        assert [one["run_id"] for one in claims] == submitted, "each claim has its run, and each run its claim"
        # A run that had not begun at the pause is cancelled.
        assert [one["status"] for one in runs(daemon, "s")][:-1] == ["completed"] * (len(submitted) - 1)


def test_a_restore_and_a_setting_pause_goals(tmp_path: Path) -> None:
    with Daemon.fresh(tmp_path / "old", routes=ROUTES, permissions=PERMISSIONS) as old:
        begin(old, "s", "waits")
        until(lambda: old.client.goals.get("s")["wait_until"] and not old.client.goals.get("s")["run_id"])
        old.quiet()
        done = old.cli("restore", f"file://{old.root}", str(tmp_path / "new" / "state"))
        assert done.returncode == 0, done.stderr
        old.write("kheish.yaml", {**QUICK, "goals": {"on_restart": "pause"}})
        until(lambda: old.client.config()["goals"]["on_restart"] == "pause")
        old.restart()
        assert goal(old, "s", "paused")["why"] == "restart"
    new = Daemon(tmp_path / "new" / "state", old.workspace)
    try:
        new.start()
        assert goal(new, "s", "paused")["why"] == "restored"
        new.client.resume()
        assert goal(new, "s", "paused")["continuations"] == 1, "resuming the daemon resumes no goal"
        assert new.client.goals.update("s", status="active")["status"] == "active"
        until(lambda: new.client.goals.get("s")["continuations"] == 2)
    finally:
        new.end()
