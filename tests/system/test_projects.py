"""Projects of a real daemon: fenced claims, tasks that follow their runs, a team through kills (demand 27)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from kheish.client import Kheish
from kheish.errors import (
    ClaimLost,
    Conflict,
    DefinitionReferenced,
    Forbidden,
    InvalidDefinition,
    SessionNotIdle,
    TaskBlocked,
    TaskCycle,
)
from tests.support.daemon import Daemon, allow, ask, bash, call, scripted, until

USED = {"usage": {"input_tokens": 100, "output_tokens": 20}}


def worker(command: str) -> list[dict[str, Any]]:
    """A run that claims the task that its input names, works, and completes it."""
    return [
        {"tool_calls": [call("project_claim_task", task_id="{{input}}")], **USED},
        {**bash(command), "expect": "You have the task"},
        {
            "tool_calls": [
                call("project_update_task", task_id="{{input}}", status="completed", output="{{last_result}}")
            ]
        },
        {"text": "{{last_result}}", **USED},
    ]


ROUTES: dict[str, Any] = {
    "works": scripted(worker("echo {{input}} | tee -a done.txt"), price={"input_per_mtok": 10, "output_per_mtok": 10}),
    "claims": [{"tool_calls": [call("project_claim_task", task_id="{{input}}")]}, bash("sleep 30"), {"text": "late"}],
    "forgets": [{"tool_calls": [call("project_claim_task", task_id="{{input}}")]}, {"text": "I am done."}],
    "answers": [{"text": "the result", **USED}],
    "fails": [{"error": {"status": 400}}],
    "asks": [ask("Which?"), {"text": "chosen"}],
    "repeats": [
        {
            "tool_calls": [
                call("project_claim_task", task_id="{{input}}"),
                call("project_update_task", task_id="{{input}}", status="completed", output="built"),
                call("project_update_task", task_id="{{input}}", status="completed", output="built"),
                call("project_update_task", task_id="{{input}}", status="completed", output="another"),
            ]
        },
        {"text": "done"},
    ],
    "talks": [
        {
            "tool_calls": [
                call("read_channel_thread", channel="mirror", thread="root"),
                call("propose", kind="topic", text="More of it", dedupe_key="k"),
                call("post_to_channel", text="over to @two"),
            ]
        },
        {"text": "done"},
    ],
    "limited": scripted([{"error": {"status": 429}}] * 5, max_retries=0, patience="0s"),
    "plans": [
        {
            "tool_calls": [
                call("project_create_task", task_id="part-1", title="first", assignee="two"),
                call("project_create_task", task_id="part-2", title="second", blocked_by=["part-1"]),
                call("project_list_tasks"),
            ]
        },
        {"text": "{{last_result}}"},
    ],
}
MEMBERS = [
    {"member": "ann", "kind": "human"},
    {"member": "one", "kind": "session", "session": "one"},
    {"member": "two", "kind": "agent", "session": "two"},
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("projects")
    with Daemon.fresh(folder, routes=ROUTES, permissions=allow("echo *", "sleep *", "tee *")) as daemon:
        yield daemon


def project(daemon: Daemon, name: str, **fields: Any) -> str:
    """A project with sessions of its own."""
    members = [{**one, **({"session": f"{name}-{one['member']}"} if one["kind"] != "human" else {})} for one in MEMBERS]
    daemon.client.definitions("projects").put(name, {"members": members, **fields})
    return name


def session(daemon: Daemon, name: str, route: str) -> str:
    daemon.client.sessions.create(name, route=route)
    return name


def task(daemon: Daemon, project: str, task_id: str, *statuses: str) -> dict[str, Any]:
    """The task when it has one of these statuses."""

    def there() -> dict[str, Any] | None:
        found = daemon.client.projects.task(project, task_id)
        return dict(found) if not statuses or found["status"] in statuses else None

    return until(there, what=f"{project}/{task_id} is {statuses}: {daemon.client.projects.task(project, task_id)}")


@pytest.mark.demand(27)
def test_of_64_claims_at_once_one_wins_and_the_others_learn_its_name(shared: Daemon) -> None:
    p = project(shared, "race")
    shared.client.projects.create_task(p, "one of us", task_id="t")

    async def claim_all() -> list[httpx.Response]:
        headers = {"authorization": f"Bearer {shared.token}"}
        limits = httpx.Limits(max_connections=64)
        async with httpx.AsyncClient(headers=headers, limits=limits, timeout=60, trust_env=False) as http:
            url = f"{shared.url}/v1/projects/{p}/tasks/t/claim"
            return await asyncio.gather(*(http.post(url, json={"holder": f"w{n}"}) for n in range(64)))

    answers = asyncio.run(claim_all())
    [won] = [one.json() for one in answers if one.status_code == 200]
    lost = [one.json() for one in answers if one.status_code == 409]
    assert len(lost) == 63 and {one["code"] for one in lost} == {"task_claimed"}
    assert {one["claimed_by"] for one in lost} == {won["by"]} and won["attempt"] == 1
    assert task(shared, p, "t")["claim"]["claim_id"] == won["claim_id"]


def test_an_outside_claim_lapses_and_its_late_end_changes_nothing(shared: Daemon) -> None:
    p = project(shared, "lapse")
    shared.client.projects.create_task(p, "t", task_id="t")
    old = shared.client.projects.claim_task(p, "t", "slow", ttl="5s")
    assert shared.client.projects.extend_task(p, "t", old["claim_id"], ttl="5s")["expires_at"] > old["expires_at"]
    until(lambda: task(shared, p, "t")["lapsed"], what="it lapsed")
    [listed] = shared.client.projects.tasks(p, status=["in_progress"])["items"]
    assert listed["lapsed"] and listed["claim"]["by"] == "slow"
    new = shared.client.projects.claim_task(p, "t", "fast")
    before = task(shared, p, "t")
    assert (new["attempt"], before["lapsed"]) == (2, False)
    for change in (
        lambda: shared.client.projects.complete_task(p, "t", old["claim_id"], "late"),
        lambda: shared.client.projects.extend_task(p, "t", old["claim_id"]),
        lambda: shared.client.projects.release_task(p, "t", old["claim_id"]),
        lambda: shared.client.projects.update_task(p, "t", claim_id=old["claim_id"], title="late"),
    ):
        with pytest.raises(ClaimLost, match="fast has it now"):
            change()
    assert task(shared, p, "t") == before
    ended = shared.client.projects.complete_task(p, "t", new["claim_id"], "mine")
    assert (ended["status"], ended["output"], ended["claim"]) == ("completed", "mine", None)


def test_a_claim_ends_with_its_run_and_the_third_time_a_person_is_asked(shared: Daemon) -> None:
    p = project(shared, "thrice")
    shared.client.projects.create_task(p, "t", task_id="t")
    one, two = session(shared, f"{p}-one", "claims"), session(shared, f"{p}-two", "forgets")
    held = shared.client.runs.start(one, "t")
    claim = task(shared, p, "t", "in_progress")["claim"]
    assert (claim["by"], claim["run_id"], claim["attempt"]) == ("one", held.run_id, 1)
    with pytest.raises(Conflict, match="one has claimed"):
        shared.client.projects.claim_task(p, "t", agent="two")
    for forged in (
        lambda: shared.client.projects.complete_task(p, "t", claim["claim_id"], "forged"),
        lambda: shared.client.projects.release_task(p, "t", claim["claim_id"], "forged"),
        lambda: shared.client.projects.update_task(p, "t", status="completed", claim_id=claim["claim_id"]),
    ):
        with pytest.raises(Forbidden, match="alone changes it"):
            forged()
    held.cancel()
    found = task(shared, p, "t", "pending")
    assert (found["attempt"], found["failures"], found["barred_until"] is not None) == (2, 1, True)
    shared.client.runs.start(one, "t", route="forgets", wait="20s")  # the agent whose run gave it up waits a minute
    assert "has just given" in json.dumps(list(map(str, shared.client.sessions.journal(one, limit=200)["items"])))
    assert shared.client.runs.start(two, "t", wait="20s").data["status"] == "completed"
    assert task(shared, p, "t", "pending")["attempt"] == 3
    session(shared, "helper", "forgets")
    file = shared.client.definitions("projects").get(p)
    shared.client.definitions("projects").put(p, {"members": [*file["members"], {"member": "helper", "kind": "agent"}]})
    assert shared.client.runs.start("helper", "t", wait="20s").data["status"] == "completed"
    blocked = task(shared, p, "t", "blocked")
    assert (blocked["block_kind"], blocked["attempt"], blocked["failures"]) == ("attempts", 4, 3)
    question = shared.client.questions.get(blocked["question_id"])
    assert (question["status"], question["purpose"], question["session_id"]) == ("pending", "project_task", "helper")
    shared.client.questions.answer(question["question_id"], {"q1": {"selected": ["a"], "text": "Use the other way."}})
    again = task(shared, p, "t", "pending")
    assert again["failures"] == 0 and again["description"].endswith("Use the other way.")


def test_a_started_task_follows_its_run(shared: Daemon) -> None:
    p = project(shared, "follows")
    for member, route in (("one", "answers"), ("two", "asks")):
        session(shared, f"{p}-{member}", route)
        shared.client.projects.create_task(p, f"for {member}", task_id=member, assignee=member)
    answer = shared.http("POST", f"/v1/projects/{p}/tasks/one/start", {})
    assert answer.status_code == 202 and answer.json()["run_id"], answer.text
    ended = task(shared, p, "one", "completed")
    assert ended["output"] == "the result" and ended["run_id"] == answer.json()["run_id"]
    run = shared.client.runs.get(ended["run_id"]).data
    assert (run["kind"], run["project"]) == ("project_task", p)
    shared.client.projects.start_task(p, "two")
    waiting = task(shared, p, "two", "blocked")
    assert (waiting["block_kind"], waiting["claim"]["by"]) == ("needs_input", "two")
    [asked] = shared.client.questions.list(session=f"{p}-two", status="pending")["items"]
    shared.client.questions.answer(asked["question_id"], {"q1": {"selected": ["a"]}})
    assert task(shared, p, "two", "completed")["output"] == "chosen"
    [row] = [one for one in shared.client.usage(by=["project"])["items"] if one["project"] == p]
    assert row["input_tokens"] >= 100 and row["session_id"] is None
    kinds = {event.kind for event in shared.client.past_events(project=p)}
    assert {"project.set", "project_task.created", "project_task.claimed", "run.submitted", "run.completed"} <= kinds


def test_failures_block_what_comes_after_and_the_owner_gets_a_notice(shared: Daemon) -> None:
    p = project(shared, "breaks")
    session(shared, f"{p}-one", "fails")
    session(shared, f"{p}-two", "answers")
    shared.client.projects.create_task(p, "first", task_id="a", assignee="one")
    shared.client.projects.create_task(p, "second", task_id="b", assignee="two", blocked_by=["a"])
    with pytest.raises(TaskBlocked):
        shared.client.projects.start_task(p, "b")
    shared.client.projects.start_task(p, "a")
    assert task(shared, p, "a", "failed")["reason"].startswith("model_error")
    agent = shared.client.sessions.get(f"{p}-two")["agent_id"]

    def notices() -> list[Any]:
        return [one for one in shared.client.mailbox.list(agent)["items"] if one["type"] == "notice"]

    [notice] = until(notices, what="the owner of b has a notice")
    second = task(shared, p, "b")
    assert (second["block_kind"], second["failed"]) == ("dependency_failed", ["a"])
    assert "b" in notice["payload"] and "a failed" in notice["payload"]
    assert task(shared, p, "a")["failures"] == 1
    run_id = shared.client.projects.start_task(p, "a")["run_id"]
    assert (task(shared, p, "a", "failed")["failures"], task(shared, p, "a")["attempt"]) == (2, 2)
    assert "The attempt before this one: model_error" in str(shared.client.runs.get(run_id).data["request"]["items"])


def test_a_limit_of_the_provider_is_no_failure(shared: Daemon) -> None:
    p = project(shared, "limits")
    session(shared, f"{p}-one", "limited")
    shared.client.projects.create_task(p, "t", task_id="t", assignee="one")
    shared.client.projects.start_task(p, "t")
    found = task(shared, p, "t", "blocked", "failed")
    assert (found["block_kind"], found["failures"], found["restarts"]) == ("transient", 0, True)
    assert found["retry_at"] > found["created_at"]


def test_agents_plan_with_tools(shared: Daemon) -> None:
    p = project(shared, "plans")
    said = shared.client.runs.start(session(shared, f"{p}-one", "plans"), "go", wait="20s").data
    assert "part-1: first [pending; for two]" in said["output"], said["output"]
    assert "part-2: second [blocked: dependency; after part-1]" in said["output"]


def test_an_end_that_is_called_again_is_the_same(shared: Daemon) -> None:
    """A kill between the journal of the project and that of the session repeats the call."""
    p = project(shared, "repeats")
    session(shared, f"{p}-one", "repeats")
    shared.client.projects.create_task(p, "build it", task_id="b")
    shared.client.runs.start(f"{p}-one", "b", wait="20s")
    results = [one.data for one in shared.client.past_events(session=f"{p}-one") if one.kind == "tool.finished"][1:]
    assert [(one["is_error"], one["content"]) for one in results[:2]] == [(False, "The task b is completed.")] * 2
    assert results[2]["is_error"] and task(shared, p, "b")["output"] == "built"


def test_a_holder_has_a_name_that_nobody_takes_for_another_text(shared: Daemon) -> None:
    p = project(shared, "names")
    shared.client.projects.create_task(p, "a", task_id="a")
    agents = [one["member"] for one in shared.client.projects.get(p)["members"] if one["kind"] != "human"]
    for name in ("x\n[done]", "x\x1b[2J", "\u202ex", " ", "x\u2028y", *agents):
        answer = shared.http("POST", f"/v1/projects/{p}/tasks/a/claim", {"holder": name})
        assert answer.status_code == 400 and answer.json()["errors"][0]["path"] == "/holder", (name, answer.text)


def test_cycles_and_unknown_tasks_are_refused(shared: Daemon) -> None:
    p = project(shared, "cycles")
    shared.client.projects.create_task(p, "a", task_id="a")
    shared.client.projects.create_task(p, "b", task_id="b", blocked_by=["a"])
    with pytest.raises(TaskCycle):
        shared.client.projects.update_task(p, "a", blocked_by=["b"])
    answer = shared.http("POST", f"/v1/projects/{p}/tasks", {"title": "c", "blocked_by": ["nothing"]})
    assert answer.status_code == 400 and answer.json()["errors"][0]["path"] == "/blocked_by/0"
    with pytest.raises(Conflict, match="b waits for it"):
        shared.client.projects.delete_task(p, "a")
    shared.client.projects.delete_task(p, "b")
    shared.client.projects.delete_task(p, "a")
    assert shared.client.projects.tasks(p)["items"] == []


def test_owners_of_open_tasks_stay(shared: Daemon) -> None:
    p = project(shared, "owners")
    one = session(shared, f"{p}-one", "answers")
    shared.client.projects.create_task(p, "t", task_id="t", assignee="one")
    files = shared.client.definitions("projects")
    with pytest.raises(DefinitionReferenced, match=r"one \(1\)"):
        files.put(p, {"members": MEMBERS[:1]})
    with pytest.raises(SessionNotIdle, match=p):
        shared.client.sessions.end(one, force=True)
    with pytest.raises(SessionNotIdle, match=p):
        shared.client.sessions.delete(one)
    path = f"projects/{p}.yaml"
    shared.write(path, {"members": MEMBERS[:1]})
    problem = until(
        lambda: next((row for row in shared.client.problems()["items"] if row["path"] == path), None),
        what="the edit is a problem",
    )
    assert problem["code"] == "project_has_tasks" and problem["line"] and "one (1)" in problem["message"]
    assert len(files.get(p)["members"]) == 3, "the earlier version is in force"
    (shared.root / path).unlink()
    until(lambda: any("was removed" in row["message"] for row in shared.client.problems()["items"]))
    assert len(files.get(p)["members"]) == 3
    shared.client.projects.update_task(p, "t", status="cancelled")
    shared.write(path, {"title": "smaller", "members": MEMBERS[:1]})
    until(lambda: files.get(p)["title"] == "smaller", what="now it is possible")
    assert shared.client.sessions.end(one)["status"] == "ended"
    files.delete(p)  # a project with tasks is archived
    assert files.get(p)["state"] == "archived" and (shared.root / path).exists()
    files.put("empty", {})
    files.delete("empty")
    assert not (shared.root / "projects/empty.yaml").exists()


def test_a_project_pauses_and_a_review_waits_for_a_person(shared: Daemon) -> None:
    p = project(shared, "pauses", review=True)
    shared.client.projects.create_task(p, "t", task_id="t")
    assert shared.client.projects.pause(p, "lunch")["state"] == "paused"
    with pytest.raises(Conflict, match="paused"):
        shared.client.projects.claim_task(p, "t", "w")
    assert shared.client.projects.resume(p)["state"] == "active"
    claim = shared.client.projects.claim_task(p, "t", "w")["claim_id"]
    assert shared.client.projects.complete_task(p, "t", claim, "draft")["status"] == "in_review"
    with pytest.raises(Forbidden, match="another"):
        shared.client.projects.update_task(p, "t", status="completed")
    token = shared.client.tokens.create("reviewer", "operator", person="Rea")["token"]
    other = Kheish(url=shared.url, token=token).projects
    assert other.update_task(p, "t", status="pending", reason="a typo in line 3")["reason"] == "a typo in line 3"
    claim = other.claim_task(p, "t", "w")["claim_id"]
    assert shared.client.projects.complete_task(p, "t", claim, "better")["result_by"] == "token:local"
    ended = other.update_task(p, "t", status="completed")
    assert (ended["output"], ended["accepted_by"]) == ("better", "token:reviewer")
    audited = [one["data"] for one in shared.client.audit.list(limit=200)["items"]][-2:]
    said = [(one["outcome"], one["subject"], one["target"]) for one in audited]
    assert said == [
        ("refused", "token:reviewer", "project task pauses/t: rejected"),
        ("done", "token:reviewer", "project task pauses/t: accepted"),
    ]


def test_a_token_for_a_project_sees_that_project_alone(shared: Daemon) -> None:
    p, other = project(shared, "mine"), project(shared, "theirs")
    for name in (p, other):
        session(shared, f"{name}-one", "answers")
    shared.client.sessions.create("in-mine", route="answers", project=p)
    made = shared.client.tokens.create("limited", "operator", projects=[p])
    assert made["projects"] == [p]
    headers = {"authorization": f"Bearer {made['token']}"}

    def status(method: str, path: str, body: Any = None) -> int:
        return shared.http(method, path, body, headers=headers).status_code

    for path in ("", "/tasks", "/board", "/members"):
        assert (status("GET", f"/v1/projects/{p}{path}"), status("GET", f"/v1/projects/{other}{path}")) == (200, 403)
    assert status("POST", f"/v1/projects/{p}/tasks", {"title": "t"}) == 201
    assert status("POST", f"/v1/projects/{other}/tasks", {"title": "t"}) == 403
    for name, expected in ((f"{p}-one", 200), ("in-mine", 200), (f"{other}-one", 403)):
        assert status("GET", f"/v1/sessions/{name}") == expected, name
    assert status("GET", f"/v1/usage?project={p}") == 200 and status("GET", f"/v1/usage?project={other}") == 403
    assert status("GET", f"/v1/runs?project={p}") == 200 and status("GET", "/v1/runs") == 403
    assert status("PATCH", "/v1/sessions/in-mine", {"project": other}) == 403
    assert status("GET", "/v1/projects") == 403


def test_a_schedule_starts_a_task(shared: Daemon) -> None:
    p = project(shared, "cyclic")
    session(shared, f"{p}-one", "answers")
    shared.client.projects.create_task(p, "again", task_id="again", assignee="one")
    for name, target in (("repeat", "again"), ("fresh", {"title": "new each time", "assignee": "one"})):
        file = {"cron": "0 0 1 1 *", "start": {"project": p, "task": target}}
        shared.client.definitions("schedules").put(name, file)
        for _ in range(2):
            run_id = shared.client.schedules.trigger(name)["run_id"]
            assert shared.client.runs.get(run_id, wait="20s").data["status"] == "completed"
            until(lambda: not shared.client.projects.tasks(p, status=["in_progress"])["items"], what="it ended")
    found = {one["task_id"]: one for one in shared.client.projects.tasks(p)["items"]}
    assert found["again"]["attempt"] == 2 and len(found) == 3
    with pytest.raises(DefinitionReferenced):
        shared.client.definitions("projects").put("refers", {})
        file = {"cron": "0 0 1 1 *", "start": {"project": "refers", "task": "x"}}
        shared.client.definitions("schedules").put("refers", file)
        shared.client.definitions("projects").delete("refers")


def test_members_share_the_memory_of_their_project(shared: Daemon) -> None:
    p = project(shared, "remembers")
    shared.write(
        "routes/notes.yaml",
        scripted([
            {"tool_calls": [call("memory", command="create", path="/memories/project/notes.md", file_text="use make")]},
            {"text": "{{last_result}}"},
        ]),
    )  # fmt: skip
    until(lambda: "notes" in {one["id"] for one in shared.client.definitions("routes").list()["items"]})
    said = shared.client.runs.start(session(shared, f"{p}-one", "notes"), "go", wait="20s").data["output"]
    assert said == "File created successfully at: /memories/project/notes.md"
    seen = shared.http("GET", f"/v1/sessions/{session(shared, f'{p}-two', 'answers')}/memory").text
    assert f"memory/projects/{p}/notes.md" in seen
    assert p not in shared.http("GET", f"/v1/sessions/{session(shared, 'stranger', 'answers')}/memory").text


def test_a_project_links_channels(shared: Daemon) -> None:
    shared.client.definitions("channels").put("room", {"title": "The room"})
    p = project(shared, "linked", channels=[{"channel": "room", "default": True, "mirror": True}])
    with pytest.raises(DefinitionReferenced, match=r"projects/linked\.yaml"):
        shared.client.definitions("channels").delete("room")
    with pytest.raises(InvalidDefinition, match="no channel"):
        project(shared, "dangling", channels=[{"channel": "nowhere"}])
    session(shared, f"{p}-one", "answers")
    shared.client.projects.create_task(p, "talk about it", task_id="t", assignee="one")
    thread = shared.client.projects.start_task(p, "t")["thread"]
    assert thread and task(shared, p, "t", "completed")["thread"] == thread
    [found] = shared.http("GET", f"/v1/channels/room/threads?about=project_task/{p}/t").json()["items"]
    assert thread in found.values() and found["about"] == [{"kind": "project_task", "id": f"{p}/t"}]
    members = shared.http("GET", "/v1/channels/room/members").json()["items"]
    assert {(one["member"], one["kind"]) for one in members} == {("ann", "human"), ("one", "agent"), ("two", "agent")}
    shared.client.channels.post("room", "hello", addressed=["one"])
    until(
        lambda: any(turn["member"] == "one" for turn in shared.client.channels.turns("room")["items"]),
        what="a member of the project has a turn",
    )
    assert shared.client.projects.channels(p)["items"][0]["mirror"]


def test_a_mirrored_member_takes_part_as_the_others_do(shared: Daemon) -> None:
    members = [
        {"member": "one", "kind": "agent", "session": "mirror-one", "tags": ["🔥", "a long tag " * 15]},
        {"member": "two", "kind": "agent", "session": "mirror-two"},
    ]
    channel = {"policy": {"cooldown": "0s", "replies": 1}, "members": []}
    shared.client.definitions("channels").put("mirror", channel)
    links = [{"channel": "mirror", "mirror": True}]
    shared.client.definitions("projects").put("mirror", {"members": members, "channels": links})
    session(shared, "mirror-one", "talks")
    session(shared, "mirror-two", "answers")
    shared.client.channels.post("mirror", "It burns 🔥", message_id="root")
    until(lambda: len(shared.client.channels.messages("mirror")["items"]) == 2, what="the tagged one answers")
    [posted, _] = shared.client.channels.messages("mirror")["items"]
    assert posted["from"]["member"] == "one" and posted["addressed"] == ["two"], "it mentions a mirrored member"
    assert [one["text"] for one in shared.client.channels.proposals("mirror")["items"]] == ["More of it"]
    results = [one.data for one in shared.client.past_events(session="mirror-one") if one.kind == "tool.finished"]
    assert [one["is_error"] for one in results] == [False] * 3, results


def test_the_command_line_shows_and_moves_the_board(shared: Daemon) -> None:
    p = project(shared, "board")
    assert shared.cli("projects", "tasks", "add", p, "Build it", "--id", "build").stdout == "build is pending.\n"
    shared.cli("projects", "tasks", "add", p, "Ship it", "--id", "ship", "--after", "build")
    claim = shared.cli("--quiet", "projects", "tasks", "claim", p, "build", "--holder", "ci").stdout.strip()
    lost = shared.cli("projects", "tasks", "claim", p, "build", "--holder", "other")
    assert lost.returncode == 4 and "ci has claimed" in lost.stderr
    shown = shared.cli("projects", "board", p).stdout
    assert "build" in shown and "in_progress" in shown and "ci" in shown and "blocked: dependency" in shown
    assert shared.cli("projects", "tasks", "done", p, "build", "--claim", claim, "--result", "ok").returncode == 0
    assert "ship is" in shared.cli("projects", "tasks", "block", p, "ship", "--reason", "no key").stdout
    listed = json.loads(shared.cli("--output", "json", "projects", "tasks", "list", p).stdout)["items"]
    assert {one["task_id"]: one["status"] for one in listed} == {"build": "completed", "ship": "blocked"}
    assert "ann" in shared.cli("projects", "members", p).stdout
    for number in range(3):
        shared.client.projects.create_task(p, f"more {number}", task_id=f"m{number}")
    cut = shared.cli("projects", "board", p, "--limit", "2")
    assert "m2" in cut.stdout and "m0" not in cut.stdout
    assert "1 more pending: kheish projects tasks list board --status pending --cursor" in cut.stderr
    rest = shared.cli(*cut.stderr.split(": kheish ", 1)[1].split())
    assert "m0" in rest.stdout and "m2" not in rest.stdout


TEAM = {
    "t1": [], "t2": [], "t3": ["t1"], "t4": ["t1", "t2"], "t5": ["t3"], "t6": ["t4"], "t7": ["t5", "t6"],
    "t8": ["t7"], "t9": ["t7"], "t10": ["t8", "t9"],
}  # fmt: skip


@pytest.mark.demand(27)
def test_a_team_finishes_a_board_through_two_kills(tmp_path: Path) -> None:
    slow = scripted(worker("sleep 0.1; echo {{input}} | tee -a done.txt"),
                    price={"input_per_mtok": 10, "output_per_mtok": 10})  # fmt: skip
    permissions = allow("echo *", "sleep *", "tee *", "sleep 0.1; echo * | tee -a done.txt")
    members = [{"member": name, "kind": "agent"} for name in ("ada", "bob", "eve")]
    with Daemon.fresh(tmp_path, routes={"works": slow}, permissions=permissions) as daemon:
        daemon.write("projects/team.yaml", {"title": "The team", "members": members})
        until(lambda: daemon.client.definitions("projects").list()["items"])
        for one in members:
            session(daemon, one["member"], "works")
        for name, before in TEAM.items():
            daemon.client.projects.create_task("team", name, task_id=name, blocked_by=before)
        ended: list[str] = []
        kills = [2, 6]
        while len(ended) < len(TEAM):
            _hand_out(daemon, [one["member"] for one in members])
            ended = [one["task_id"] for one in daemon.client.projects.tasks("team", status=["completed"])["items"]]
            if kills and len(ended) >= kills[0]:
                kills.pop(0)
                before = _standing(daemon)
                daemon.restart()
                after = _standing(daemon)
                assert {name: before[name] for name in before if before[name] == "completed"}.items() <= after.items()
        order = {name: at for at, name in enumerate((daemon.workspace / "done.txt").read_text().split())}
        assert sorted(order) == sorted(TEAM), "each task once"
        assert len((daemon.workspace / "done.txt").read_text().split()) == len(TEAM)
        assert all(order[first] < order[name] for name, earlier in TEAM.items() for first in earlier)
        tasks = daemon.client.projects.tasks("team")["items"]
        assert {one["status"] for one in tasks} == {"completed"} and {one["failures"] for one in tasks} == {0}
        [row] = daemon.client.usage(by=["project"], project="team")["items"]
        runs = daemon.client.runs.list(project="team", limit=200)["items"]
        assert len(runs) >= len(TEAM) and row["project"] == "team"
        assert row["cost_usd"] > 0 and row["cost_usd"] == pytest.approx(sum(one["usage"]["cost_usd"] for one in runs))
        board = daemon.client.projects.board("team")
        assert board["counts"] == {"completed": 10} and board["claimed"] == 0
        daemon.quiet()
        assert (daemon.root / "projects-tasks/team/t10.yaml").exists()
        assert daemon.stop() == 0
        checks = [daemon.cli("state", "verify"), daemon.cli("doctor")]
        assert [one.returncode for one in checks] == [0, 0], [one.stdout + one.stderr for one in checks]


def _hand_out(daemon: Daemon, members: list[str]) -> None:
    """Give each idle agent the oldest pending task that no other works on."""
    pending = [one["task_id"] for one in daemon.client.projects.tasks("team", status=["pending"])["items"]][::-1]
    for name in members:
        is_idle = daemon.client.sessions.get(name)["status"] == "idle"
        if pending and is_idle:
            daemon.client.runs.start(name, pending.pop(0), idempotency_key=None)
    until(lambda: any(daemon.client.sessions.get(name)["status"] == "idle" for name in members))


def _standing(daemon: Daemon) -> dict[str, str]:
    return {one["task_id"]: one["status"] for one in daemon.client.projects.tasks("team")["items"]}


def test_a_start_and_its_end_survive_kills(tmp_path: Path) -> None:
    routes = {"works": [bash("sleep 1; echo x >> ran.txt"), {"text": "done"}]}
    with Daemon.fresh(
        tmp_path, routes=routes, permissions=allow("sleep 1; echo x >> ran.txt", "echo *", "sleep *")
    ) as d:
        d.client.definitions("projects").put("p", {"members": [{"member": "s", "kind": "session"}]})
        session(d, "s", "works")
        d.client.projects.create_task("p", "t", task_id="t", assignee="s")
        started = d.client.projects.start_task("p", "t")
        d.restart()
        assert d.client.projects.task("p", "t")["claim"]["run_id"] == started["run_id"]
        until(lambda: d.client.runs.get(started["run_id"]).data["status"] == "completed")
        d.restart()
        ended = task(d, "p", "t", "completed")
        assert ended["output"] == "done" and (d.workspace / "ran.txt").read_text() == "x\n"
        assert len(d.client.runs.list(session="s")["items"]) == 1


def test_a_repeated_post_with_its_key_starts_nothing_twice(shared: Daemon) -> None:
    p = project(shared, "keys")
    session(shared, f"{p}-one", "answers")
    url = f"/v1/projects/{p}/tasks"

    def post(path: str, body: Any, key: str) -> httpx.Response:
        return shared.http("POST", url + path, body, headers={"idempotency-key": key})

    made = [post("", {"title": "one", "assignee": "one"}, "k1") for _ in "12"]
    assert [one.status_code for one in made] == [201, 201] and made[0].json() == made[1].json()
    assert post("", {"title": "another"}, "k1").json()["code"] == "idempotency_conflict"
    assert len(shared.client.projects.tasks(p)["items"]) == 1
    t = made[0].json()["task_id"]
    started = [post(f"/{t}/start", {}, "k2") for _ in "12"]
    assert [one.status_code for one in started] == [202, 202]
    assert task(shared, p, t, "completed")["attempt"] == 1
    assert post(f"/{t}/start", {}, "k2").json()["status"] == "completed", "long after, too"
    assert len(shared.client.runs.list(session=f"{p}-one")["items"]) == 1
    shared.client.projects.create_task(p, "b", task_id="b")
    claims = [post("/b/claim", {"holder": "ci"}, "k3").json() for _ in "12"]
    assert claims[0] == claims[1] and claims[0]["claim_id"]
    assert post("/b/claim", {"holder": "ci"}, "k4").json()["code"] == "task_claimed"
    shared.client.projects.release_task(p, "b", claims[0]["claim_id"])
    assert post("/b/claim", {"holder": "ci"}, "k3").json()["code"] == "claim_lost"
    shared.restart()
    assert post("", {"title": "one", "assignee": "one"}, "k1").json()["task_id"] == t
