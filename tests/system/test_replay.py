"""Replays: a session of 200 turns is the same again, and what is different is named at its turn."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, ask, bash, call, until
from tests.support.released import release

#: runs of the long session, and turns of each
RUNS, TURNS = 10, 20
_ID = re.compile(r"\b([a-z]+)_[0-9a-z]{26}\b")


def long() -> list[dict[str, Any]]:
    turns: list[dict[str, Any]] = [
        {"text": f"Turn {n}.", "tool_calls": [call("read_file", path=f"notes/{n % 10}.txt")]} for n in range(TURNS - 1)
    ]
    turns[4] = {"text": "Write.", "tool_calls": [call("write_file", path="out.txt", content="made")]}
    return [*turns, {"text": "All read."}]


ROUTES: dict[str, Any] = {
    "long": long(),
    "asks": [ask("Which way?", ["left", "right"]), bash("echo decided"), {"text": "it said {{last_result}}"}],
    "two": [{"text": "one"}],
    "replay": {"driver": "replay"},
}
RULES: dict[str, Any] = {"mode": "default", "rules": [{"tool": "write_file", "match": "**", "decision": "allow"}]}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon.fresh(tmp_path_factory.mktemp("replay"), permissions=RULES, routes=ROUTES) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def recorded(daemon: Daemon) -> Path:
    """The folder as it was before the recorded session of 200 turns."""
    before = daemon.workspace / "long"
    (before / "notes").mkdir(parents=True)
    for n in range(10):
        (before / "notes" / f"{n}.txt").write_text(f"note {n} in {n}\n")
    copy = daemon.workspace / "copy"
    shutil.copytree(before, copy)
    daemon.client.sessions.create("long", route="long", workspace=str(before))
    for number in range(RUNS):
        run = daemon.client.runs.start("long", f"read all, {number}", wait="60s")
        assert run.status == "completed" and run.data["usage"]["model_calls"] == TURNS
    return copy


#: what differs by the route, and by the lengths of names
PROMPT = ("route", "model", "memory", "parts", "sections", "window")


def neutral(daemon: Daemon, session: str, workspace: Path) -> list[str]:
    """The journal without ids, times, numbers, and the names of its own session and folder."""
    lines: list[str] = []
    cursor = None
    while True:
        page = daemon.client.sessions.journal(session, limit=200, cursor=cursor)
        for line in page["items"]:
            if line["kind"] in ("session.created", "checkpoint"):
                continue
            data = {key: value for key, value in line["data"].items() if key not in ("digest", "key")}
            if line["kind"] == "run.submitted":
                data = {"items": data["request"]["items"]}
            if line["kind"] in ("model.requested", "model.responded"):
                data = {key: value for key, value in data.items() if key not in PROMPT}
            text = json.dumps([line["kind"], data], sort_keys=True).replace(str(workspace), "W")
            lines.append(_ID.sub(r"\1_", text))
        cursor = page["next_cursor"]
        if cursor is None:
            return lines


def replay(daemon: Daemon, *words: str) -> tuple[int, Any]:
    done = daemon.cli("replay", *words, "--output", "json")
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_200_turns_are_the_same_journal(daemon: Daemon, recorded: Path) -> None:
    shutil.copytree(recorded, daemon.workspace / "same")
    code, shown = replay(daemon, "long", "--to", "same", "--workspace", str(daemon.workspace / "same"))
    assert (code, shown["difference"]) == (0, None), shown
    assert [row["answers"] for row in shown["runs"]] == [TURNS] * RUNS
    then = neutral(daemon, "long", daemon.workspace / "long")
    assert neutral(daemon, "same", daemon.workspace / "same") == then and len(then) > 4 * TURNS * RUNS
    assert (daemon.workspace / "same" / "out.txt").read_text() == "made"


def test_a_changed_result_is_named_at_its_turn(daemon: Daemon, recorded: Path) -> None:
    folder = daemon.workspace / "changed"
    shutil.copytree(recorded, folder)
    (folder / "notes" / "7.txt").write_text("note 7 in eight\n")
    code, shown = replay(daemon, "long", "--to", "changed", "--workspace", str(folder))
    assert code == 1 and shown["runs"][0]["answers"] == 8
    assert "Turn 9: the result of read_file" in shown["difference"] and "note 7 in eight" in shown["difference"]
    run = daemon.client.runs.get(shown["runs"][0]["replay"])
    assert run.status == "failed" and "Turn 9" in run.error["message"]


def test_changed_permissions_are_named(daemon: Daemon, recorded: Path) -> None:
    folder = daemon.workspace / "denied"
    shutil.copytree(recorded, folder)
    daemon.write("permissions.yaml", {**RULES, "rules": [{**RULES["rules"][0], "decision": "deny"}]})
    until(lambda: daemon.client.permissions.get()["rules"][0]["decision"] == "deny")
    code, shown = replay(daemon, "long", "--to", "denied", "--workspace", str(folder))
    daemon.write("permissions.yaml", RULES)
    until(lambda: daemon.client.permissions.get()["rules"][0]["decision"] == "allow")
    assert code == 1 and "Turn 6: the permission of write_file" in shown["difference"], shown["difference"]
    assert "recorded was 'allow', and now it is 'deny'" in shown["difference"]
    assert not (folder / "out.txt").exists()


def test_decisions_and_answers_are_repeated_on_request(daemon: Daemon) -> None:
    daemon.client.sessions.create("asks", route="asks")
    run = daemon.client.runs.start("asks", "go", wait="20s")
    question = run.data["pending_questions"][0]
    daemon.client.questions.answer(question, {"q1": {"selected": ["b"], "text": None}})
    run.refresh()
    run.wait(20)
    while not run.data["pending_approvals"]:
        run.refresh()
    daemon.client.approvals.resolve(run.data["pending_approvals"][0], "allow")
    while not run.done:
        run.refresh()
    code, shown = replay(daemon, "asks", "--as-decided", "--to", "asks-again")
    assert (code, shown["difference"]) == (0, None), shown
    again = daemon.client.runs.get(shown["runs"][0]["replay"])
    assert again.output == run.output and "decided" in (again.output or "")
    approvals = daemon.client.approvals.list(session="asks-again")["items"]
    assert [one["status"] for one in approvals] == ["allowed"]


def test_a_recording_is_for_callers_that_may_read_it(daemon: Daemon) -> None:
    daemon.client.runs.start(daemon.client.sessions.create("secret", route="two")["session_id"], "x", wait="10s")
    token = daemon.client.tokens.create("narrow", "operator", sessions=["mine*"])["token"]
    daemon.client.sessions.create("mine")
    body = {"content": "x", "route": "replay/secret"}
    assert (
        daemon.http("POST", "/v1/sessions/mine/runs", body, headers={"authorization": f"Bearer {token}"}).status_code
        == 403
    )
    assert daemon.http("POST", "/v1/sessions/mine/runs", body).status_code == 202
    run = daemon.client.runs.start("mine", "y", route="replay/nothing", wait="10s")
    assert run.status == "failed" and "no session 'nothing'" in run.error["message"]


def test_changed_instructions_and_flows_are_compared(daemon: Daemon) -> None:
    daemon.client.sessions.create("told", route="two")
    daemon.client.runs.start("told", "go", wait="10s")
    daemon.write("instructions.md", "Be brief.\n")
    until(lambda: "Be brief" in daemon.http("GET", "/v1/instructions").text)
    code, shown = replay(daemon, "told")
    assert code == 0 and shown["runs"][0]["prompt"] == ["Instructions (turn 1)"]

    phases = [
        {"id": "look", "instructions": "Look around."},
        {"id": "tell", "instructions": "Tell it.", "needs": ["look"]},
    ]
    release(daemon, "small", {"title": "Small", "objective": "It is said.", "phases": phases})
    daemon.client.sessions.create("flow", route="two")
    daemon.client.flows.start("small", session_id="flow", wait="20s")
    changed = [phases[0], {**phases[1], "instructions": "Tell it well."}]
    release(daemon, "small", {"title": "Small", "objective": "It is said.", "phases": changed}, version="1.1.0")
    code, shown = replay(daemon, "flow")
    assert (code, shown["difference"]) == (0, None) and [row["prompt"] for row in shown["runs"]] == [[], []], shown
    code, shown = replay(daemon, "flow", "--playbook", "small@1.1.0")
    assert code == 1 and len(shown["runs"]) == 2, shown
    assert "Turn 1: the task differs: recorded was 'Tell it.', and now it is 'Tell it well.'" in shown["difference"]
    longer = [*phases, {"id": "more", "instructions": "More.", "needs": ["tell"]}]
    release(daemon, "small", {"title": "Small", "objective": "It is said.", "phases": longer}, version="1.2.0")
    code, shown = replay(daemon, "flow", "--playbook", "small@1.2.0")
    assert code == 1 and "had 2 runs, and now it has 3" in shown["difference"], shown
    roles = {"mender": {"purpose": "Mends.", "route": "two"}}
    pinned = {"title": "Small", "objective": "It is said.", "phases": phases, "roles": roles}
    release(daemon, "small", pinned, version="1.3.0")
    done = daemon.cli("replay", "flow", "--playbook", "small@1.3.0")
    assert done.returncode and "names the route two" in done.stderr, done.stderr
