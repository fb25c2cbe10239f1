"""Schedules of a real daemon: fires, skips, catch-up after downtime, kills at the claim, edits (demands 9 and 25)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support import forking
from tests.support.daemon import Daemon, ask, bash, call, until
from tests.support.released import release

CLOCK = Path(__file__).parent.parent / "support" / "clock"
ROUTES: dict[str, Any] = {
    "hello": [{"text": "hi"}],
    "asks": [bash("rm -rf /tmp/nothing-of-this-name"), {"text": "asked"}],
    "plans": [
        {
            "tool_calls": [
                call("wake_after", after="1s", note="look again"),
                call("schedule_create", id="mine", every="1h", start={"input": {"content": "hourly"}}),
                call("schedule_create", id="theirs", every="1h", start={"session": "s", "input": {"content": "x"}}),
                call("wake_at", at="2020-01-01T00:00Z", note="too late"),
            ]
        },
        {
            "tool_calls": [
                call("schedule_list"),
                call("schedule_cancel", id="stranger"),
                call("schedule_update", id="mine", every="2h"),
                call("schedule_cancel", id="persons"),
            ]
        },
        {"text": "{{last_result}}"},
    ],
    "many": [
        {"tool_calls": [call("wake_after", after="1h", note=f"number {number}") for number in range(33)]},
        {"text": "{{last_result}}"},
    ],
    "alone": [
        {"tool_calls": [call("bash", command="rm -rf nothing"), *ask()["tool_calls"]]},
        {"text": "alone"},
    ],
    "leaves": [
        {
            "tool_calls": [
                {"name": "spawn_agent", "arguments": {"name": "kid", "prompt": "unsure", "route": "unsure"}},
                call("wake_after", after="1s", note="woken"),
            ]
        },
        {"text": "I do not wait"},
    ],
    "unsure": [
        {"tool_calls": [call("request_parent_clarification", question="which?", to="user")]},
        {"tool_calls": [call("message_agent", to="parent", message="I decided")]},
        {"text": "{{last_result}}"},
    ],
    "fails": {"driver": "scripted", "script": {"turns": [{"error": {"status": 400}}]}},
}
HELLO = {"start": {"session": "s", "input": {"content": "hello", "route": "hello"}}}


def fires(daemon: Daemon, name: str, *states: str) -> list[dict[str, Any]]:
    return list(daemon.client.schedules.fires(name, state=states or None, limit=200)["items"])


def put(daemon: Daemon, name: str, **fields: Any) -> dict[str, Any]:
    answer = daemon.http("PUT", f"/v1/schedules/{name}", {**HELLO, **fields})
    assert answer.status_code in (200, 201), answer.text
    found: dict[str, Any] = answer.json()
    return found


def clocked(folder: Path) -> tuple[dict[str, str], Path]:
    """The environment of a daemon whose clock is shifted by what the file says."""
    clock = folder / "clock"
    return {"PYTHONPATH": forking.on_path(CLOCK), "KHEISH_TEST_CLOCK": str(clock)}, clock


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon.fresh(tmp_path_factory.mktemp("schedules"), routes=ROUTES) as daemon:
        # Their occurrences come while other tests run: the last two wait for several of them.
        put(daemon, "stuck", every="5s", start={"session": "w", "input": {"content": "x", "route": "asks"}})
        put(daemon, "broken", every="5s", pause_after_failures=2,
            start={"new_session": {"route": "fails"}, "input": {"content": "x"}})  # fmt: skip
        yield daemon


@pytest.mark.demand(9)
def test_a_file_fires_runs_that_say_for_when_and_on_whose_behalf(shared: Daemon) -> None:
    shared.write("schedules/tick.yaml", "every: 5s\nstart: {session: t, input: {content: hello, route: hello}}\n")
    until(lambda: shared.http("GET", "/v1/schedules/tick").status_code == 200, what="the file is in force")
    [fire, *_] = until(lambda: fires(shared, "tick", "settled"), what="it fired")
    run = shared.client.runs.get(fire["run_id"]).data
    assert (run["kind"], run["request"]["actor"], run["status"]) == ("scheduled_input", "schedule:tick", "completed")
    assert run["request"]["metadata"] == {"scheduled_for": fire["planned"], "fire_id": f"tick@{fire['planned']}"}
    assert fire["claimed_at"] >= fire["planned"], "never early"
    (shared.root / "schedules/tick.yaml").unlink()
    until(lambda: shared.http("GET", "/v1/schedules/tick").status_code == 404)
    assert fires(shared, "tick"), "what was, stays"


def test_trigger_pause_resume_and_next(shared: Daemon) -> None:
    put(shared, "daily", cron="0 9 * * 1-5", timezone="Europe/Berlin")
    paused = shared.client.schedules.pause("daily", reason="holidays")
    assert (paused["state"], paused["pause_reason"]) == ("paused", "holidays")
    times = shared.client.schedules.next("daily", count=3)
    assert len(times["items"]) == 3 and times["items"][0]["planned"] == paused["next"]
    assert times["timezone"] == "Europe/Berlin" and "T09:00:00+0" in times["items"][0]["local"]
    key = {"idempotency-key": "once"}
    first, again = (shared.http("POST", "/v1/schedules/daily/trigger", {}, headers=key).json() for _ in range(2))
    assert first["run_id"] == again["run_id"] and first["by"] == "token:local"
    until(lambda: [one["state"] for one in fires(shared, "daily")] == ["settled"])
    assert shared.client.schedules.resume("daily")["state"] == "active"
    assert shared.client.definitions("schedules").get("daily")["next"] == paused["next"], "a trigger moves nothing"


def test_what_is_refused_and_why(shared: Daemon) -> None:
    for fields, why in (
        ({"every": "4s"}, "5s at least"),
        ({"every": "99999999999999999999s"}, "the most is 36500d"),
        ({"every": "5s", "jitter": "9" * 400 + "s"}, "the most is 36500d"),
        ({"at": "0001-01-01T00:00:00+14:00"}, "within the years 1971 to 9998"),
        ({"at": "9999-12-31T23:59:59-12:00"}, "within the years 1971 to 9998"),
        ({"every": "5s", "max_runs": 2**60}, "max_runs"),
        ({"cron": "* * * * * *"}, "six fields"),
        ({"cron": "0 0 30 2 *"}, "day-of-month"),
        ({}, "exactly one of cron, every and at"),
        ({"every": "5s", "at": "2030-01-01T00:00Z"}, "exactly one of cron, every and at"),
        ({"every": "5s", "timezone": "Nowhere"}, "not a time zone"),
        ({"every": "5s", "start": {"observations": {"latest": 1}}}, "unknown key 'latest'"),
        ({"every": "5s", "start": {"channel": "c", "message": "m"}}, "there is no channel 'c'"),
        ({"every": "5s", "start": {"channel": "c"}}, "a channel needs a message"),
        (
            {"every": "5s", "start": {"channel": "c", "message": "m", "input": {"content": "x"}}},
            "has a message, not input",
        ),
        ({"every": "5s", "start": {"project": "p"}}, "a project needs a task"),
        ({"every": "5s", "reply_targets": [{"channel": "x"}]}, "output"),
        (
            {"every": "5s", "start": {"session": "s", "input": {"content": "x", "route": "helo"}}},
            "did you mean 'hello'",
        ),
        ({"every": "5s", "colour": "red"}, "colour"),
    ):
        answer = shared.http("PUT", "/v1/schedules/bad", {**HELLO, **fields})
        assert answer.status_code == 400 and why in answer.text, (fields, answer.text)


def test_the_longest_interval_has_a_next_time_in_every_zone(shared: Daemon) -> None:
    put(shared, "rare", every="36500d", timezone="Pacific/Kiritimati")
    times = shared.client.schedules.next("rare", count=100)["items"]
    assert 70 < len(times) < 80 and times[-1]["planned"] < "9999"
    shared.http("DELETE", "/v1/schedules/rare")


def test_an_agent_schedules_its_own_session_only(shared: Daemon) -> None:
    shared.client.sessions.create("agent", route="plans")
    put(shared, "persons", every="1h", start={"session": "agent", "input": {"content": "a person's"}})
    first = shared.client.runs.start("agent", "plan", wait="20s")
    assert first.data["status"] == "completed", first.data
    said = shared.kinds("agent")
    assert said.count("wake.set") == 1
    results = [entry["data"] for entry in shared.journal("agent") if entry["kind"] == "tool.finished"]
    assert [one["is_error"] for one in results] == [False, False, True, True, False, False, False, True]
    assert "own session" in results[2]["content"] and "in the future" in results[3]["content"]
    assert "mine: every 1h" in results[4]["content"] and "look again" in results[4]["content"]
    assert "not by you" in results[7]["content"]
    mine = shared.client.definitions("schedules").get("mine")
    assert (
        mine["every"] == "2h" and mine["start"]["session"] == "agent" and mine["start"]["input"]["content"] == "hourly"
    )
    runs = until(lambda: [one for one in shared.client.runs.list(session="agent")["items"] if one["kind"] != "input"])
    assert runs[0]["request"]["items"][0]["text"] == "look again" and runs[0]["kind"] == "scheduled_input"
    assert "wake.fired" in shared.kinds("agent")


def test_a_session_has_32_wakes_at_most(shared: Daemon) -> None:
    shared.client.sessions.create("sleepy", route="many")
    shared.client.runs.start("sleepy", "x", wait="20s")
    results = [entry["data"] for entry in shared.journal("sleepy") if entry["kind"] == "tool.finished"]
    assert [one["is_error"] for one in results] == [False] * 32 + [True]
    assert "32 schedules and wakes" in results[-1]["content"]


def test_a_run_that_no_person_attends_asks_nobody(shared: Daemon) -> None:
    put(shared, "alone", cron="0 0 1 1 *", unattended="deny",
        start={"session": "alone", "input": {"content": "x", "route": "alone"}})  # fmt: skip
    fire = shared.client.schedules.trigger("alone")
    run = shared.run(fire["run_id"])
    assert run["status"] == "completed" and run["settings"]["unattended"] == "deny"
    results = [entry["data"] for entry in shared.journal("alone") if entry["kind"] == "tool.finished"]
    assert [one["is_error"] for one in results] == [True, True]
    assert all("no person attends" in one["content"].lower() for one in results)
    assert not {"approval.requested", "question.asked"} & set(shared.kinds("alone"))


def test_no_person_attends_what_follows_from_an_unattended_run(shared: Daemon) -> None:
    shared.client.sessions.create("quiet", route="hello")
    put(shared, "quiet", cron="0 0 1 1 *", unattended="deny",
        start={"session": "quiet", "input": {"content": "x", "route": "leaves"}})  # fmt: skip
    shared.client.schedules.trigger("quiet")
    listed = lambda: shared.client.runs.list(session="quiet", limit=50)["items"]  # noqa: E731

    def posted() -> set[str]:
        return {one["data"]["type"] for one in shared.journal("quiet") if one["kind"] == "message.posted"}

    until(lambda: posted() >= {"message", "agent_result"}, what="all results are posted")
    until(lambda: "wake.fired" in shared.kinds("quiet") and all(one["finished_at"] for one in listed()))
    assert {one["kind"] for one in listed()} == {"scheduled_input", "mailbox_delivery"}
    assert {one["settings"]["unattended"] for one in listed()} == {"deny"}
    agent = shared.client.sessions.get("quiet")["agent_id"]
    (kid,) = shared.client.agents.list(parent=agent)["items"]
    said = [one["data"]["content"] for one in shared.journal(kid["session_id"]) if one["kind"] == "tool.finished"]
    assert "no person attends" in said[0].lower() and "question.asked" not in shared.kinds(kid["session_id"])
    run = shared.client.runs.start("quiet", "a person speaks", wait="20s")
    assert run.data["settings"]["unattended"] == "ask"


@pytest.mark.demand(25)
def test_twelve_hours_down_with_fifty_schedules(tmp_path: Path) -> None:
    """At most one catch-up each, spread, none early, none twice, and each occurrence has its outcome."""
    env, clock = clocked(tmp_path)
    config = {"schedules": {"spread": "5s"}, "sandbox": {"mode": "off"}, "commit": {"every": "1s"}}
    with Daemon.fresh(tmp_path, routes=ROUTES, env=env, config=config) as daemon:
        cadences = ("every: 15m", "every: 1h", "cron: '*/20 * * * *'", "cron: '7 * * * *'", "every: 90m")
        for number in range(50):
            misfire = "skip" if number % 10 == 9 else "once"
            text = f"{cadences[number % 5]}\nmisfire: {misfire}\n"
            text += f"start: {{session: s{number % 7}, input: {{content: hello, route: hello}}}}\n"
            daemon.write(f"schedules/n{number}.yaml", text)
        until(lambda: len(daemon.client.definitions("schedules").list(limit=200)["items"]) == 50)
        until(lambda: all(one["next"] for one in daemon.client.definitions("schedules").list(limit=200)["items"]))
        daemon.quiet()  # what is shown may not be durable yet
        daemon.kill9()
        clock.write_text(str(12 * 3600))
        daemon.start()

        def done() -> bool:
            found = daemon.client.definitions("schedules").list(limit=200)["items"]
            return all(one["counts"]["skipped"] for one in found) and not any(one["in_flight"] for one in found)

        until(done, what="all have caught up")
        claims = []
        for number in range(50):
            found = fires(daemon, f"n{number}")
            started = [one for one in found if one["run_id"]]
            assert len(started) <= 1 and len({one["planned"] for one in found}) == len(found)
            assert len(found) >= 8, "each of the occurrences has an outcome"
            assert all(one["claimed_at"] >= one["planned"] and one["is_late"] for one in started)
            assert all("misfire" in one["reason"] for one in found if one["state"] == "skipped")
            claims += [one["claimed_at"] for one in started]
        assert 45 <= len(claims) <= 50
        seconds = Counter(one[:19] for one in claims)
        assert len(seconds) >= 4 and max(seconds.values()) <= 25, "they are spread"


@pytest.mark.demand(9)
@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=pytest.mark.campaign)])
def test_a_kill_at_the_claim_leads_to_one_run(tmp_path: Path, kills: int) -> None:
    env, clock = clocked(tmp_path)
    with Daemon.fresh(tmp_path, routes=ROUTES, env=env) as daemon:
        put(daemon, "tick", every="1h", start={"session": "s", "input": {"content": "hello", "route": "hello"}})
        for number in range(1, kills + 1):
            clock.write_text(str(3600 * number))
            until(
                lambda number=number: daemon.client.definitions("schedules").get("tick")["counts"]["claimed"] >= number
            )  # type: ignore[misc]
            daemon.restart()
        until(lambda: len(fires(daemon, "tick", "settled")) >= kills)
        found = fires(daemon, "tick")
        assert [one["state"] for one in found] == ["settled"] * kills
        runs = daemon.client.runs.list(session="s", limit=200)["items"]
        assert Counter(run["request"]["metadata"]["scheduled_for"] for run in runs) == Counter(
            one["planned"] for one in found
        )


@pytest.mark.demand(9)
def test_a_kill_among_many_claims_leads_to_one_run_each(tmp_path: Path) -> None:
    """Where many are due at once, all are claimed before the first is started."""
    env, clock = clocked(tmp_path)
    at = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    with Daemon.fresh(tmp_path, routes=ROUTES, env=env, config={"schedules": {"spread": "1s"}}) as daemon:
        names = [f"n{number}" for number in range(40)]
        for name in names:
            start = "{session: s, input: {content: hello, route: hello}}"
            daemon.write(f"schedules/{name}.yaml", f'at: "{at}"\nstart: {start}\n')
        listed = lambda: daemon.client.definitions("schedules").list(limit=200)["items"]  # noqa: E731
        until(lambda: len(listed()) == 40 and all(one["next"] for one in listed()))
        daemon.quiet()
        clock.write_text(str(3600))
        until(lambda: any(one["counts"]["claimed"] for one in listed()))
        daemon.kill9()
        daemon.start()
        until(lambda: all(one["counts"]["settled"] for one in listed()), what="each has had its run")
        runs = daemon.client.runs.list(session="s", limit=200)["items"]
        assert Counter(one["request"]["metadata"]["fire_id"].partition("@")[0] for one in runs) == Counter(names)


@pytest.mark.demand(25)
def test_a_clock_that_jumps_fires_nothing_twice_or_early(tmp_path: Path) -> None:
    env, clock = clocked(tmp_path)
    with Daemon.fresh(tmp_path, routes=ROUTES, env=env) as daemon:
        put(daemon, "tick", every="1h")
        clock.write_text("3700")
        until(lambda: fires(daemon, "tick", "settled"))
        clock.write_text("0")
        daemon.client.schedules.trigger("tick")
        until(lambda: len(fires(daemon, "tick", "settled")) == 2)
        clock.write_text("3700")
        daemon.client.schedules.trigger("tick")
        until(lambda: len(fires(daemon, "tick", "settled")) == 3)
        assert Counter(one["by"] for one in fires(daemon, "tick")) == {None: 1, "token:local": 2}


@pytest.mark.demand(25)
def test_a_bad_edit_changes_nothing_and_a_good_one_begins_now(tmp_path: Path) -> None:
    env, clock = clocked(tmp_path)
    with Daemon.fresh(tmp_path, routes=ROUTES, env=env) as daemon:
        first = put(daemon, "tick", every="1h")
        daemon.write("schedules/tick.yaml", "every: 1h\nstart: {session: s}\n")
        until(lambda: daemon.client.problems()["items"], what="the bad edit is a problem")
        assert daemon.client.definitions("schedules").get("tick")["next"] == first["next"]
        clock.write_text("3700")
        until(lambda: fires(daemon, "tick", "settled"), what="the last valid version fires")
        changed = put(daemon, "tick", every="2h")
        assert changed["next"] > first["next"] and len(fires(daemon, "tick")) == 1, "a save never fires the past"
        clock.write_text(str(3700 + 7200))
        until(lambda: len(fires(daemon, "tick", "settled")) == 2, what="an edit between two fires")


@pytest.mark.demand(25)
def test_an_occurrence_behind_a_waiting_run_is_skipped_and_reported(shared: Daemon) -> None:
    def blocked() -> list[dict[str, Any]]:
        return [one for one in shared.client.problems()["items"] if one["code"] == "schedule_blocked"]

    [problem] = until(blocked, what="three skips behind one run are a problem")
    assert problem["path"] == "schedules/stuck.yaml"
    [waiting] = shared.client.approvals.list(session="w", status="pending")["items"]
    assert waiting["approval_id"] in problem["message"]
    skipped = fires(shared, "stuck", "skipped")
    assert len(skipped) >= 3
    assert all(f"waits for {waiting['approval_id']}" in one["reason"] for one in skipped)
    shared.client.approvals.deny(waiting["approval_id"])
    until(lambda: not blocked(), what="the problem is gone with the answer")
    shared.client.definitions("schedules").delete("stuck")


def test_failures_in_a_row_pause_it(shared: Daemon) -> None:
    until(lambda: shared.client.definitions("schedules").get("broken")["state"] == "paused", what="paused")
    found = shared.client.definitions("schedules").get("broken")
    assert found["counts"]["failed"] == 2 and "2 failures in a row" in found["pause_reason"]
    sessions = {one["session_id"] for one in fires(shared, "broken", "failed")}
    assert len(sessions) == 2 and all(one.startswith("broken-2") for one in sessions), "a session for each"
    assert "schedule_paused" in {one["code"] for one in shared.client.problems()["items"]}
    shared.client.schedules.resume("broken")
    shared.client.definitions("schedules").delete("broken")


def test_a_schedule_starts_a_flow_whose_end_is_that_of_the_fire(shared: Daemon) -> None:
    phases = [{"id": "say", "objective": "Say it."}, {"id": "read", "objective": "Read it.", "approval": "after"}]
    playbook = {"title": "Read", "objective": "Say {{inputs.what}}", "inputs": {"what": {"type": "string"}}}
    for name, parts in (("said", phases[:1]), ("read", phases)):
        release(shared, name, {**playbook, "phases": parts})
        flow = {"playbook": name, "inputs": {"what": "hello"}, "session": f"flow-{name}"}
        shared.client.sessions.create(f"flow-{name}", route="hello")
        put(shared, name, every="1d", unattended="deny", start={"flow": flow})
        shared.client.schedules.trigger(name)
    [said] = until(lambda: fires(shared, "said", "settled"), what="a Flow that succeeded")
    assert shared.client.flows.get(said["flow_id"])["started_by"] == "schedule:said"
    [read] = until(lambda: fires(shared, "read", "failed"), what="a Flow that needs a person")
    assert (
        read["reason"] == shared.client.flows.get(read["flow_id"])["reason"] and "no person attends" in read["reason"]
    )
