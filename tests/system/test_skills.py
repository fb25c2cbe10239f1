"""Skills with a real daemon: files, git, HTTP, the command line, the sandbox, kills."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kheish.jobs import probing
from tests.support.daemon import Daemon, call, git, until


def use(skill: str, **more: Any) -> dict[str, Any]:
    """A call of use_skill."""
    return {"name": "use_skill", "arguments": {"name": skill, **more}}


ROUTES: dict[str, Any] = {
    "says": [{"text": "done"}],
    "uses": [{"tool_calls": [use("greet")]}, {"text": "done"}],
    "runs": [
        {"tool_calls": [use("greet")]},
        {
            "tool_calls": [
                call("bash", command="/skills/greet/hello.sh you; touch /skills/greet/x /skills/y; ls /skills")
            ]
        },
        {"text": "done"},
    ],
    "forks": [{"tool_calls": [use("review", arguments="main.py")]}, {"text": "reviewed"}],
    "lists": [{"tool_calls": [call("list_skills")]}, {"text": "done"}],
}
GREET = """\
---
name: greet
description: Greets a user: warmly.
allowed-tools: Bash
---
Run ${KHEISH_SKILL_DIR}/hello.sh
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    config = {"default_route": "says", "sandbox": {"mode": "ask"}}
    with Daemon.fresh(tmp_path_factory.mktemp("skills"), routes=ROUTES, config=config) as daemon:
        write(daemon, "greet", GREET, **{"hello.sh": "#!/bin/sh\necho hello $1\n"})
        fields = "context: fork\nmodel: says\nallowed-tools: Read"
        write(daemon, "review", f"---\nname: review\ndescription: Reviews.\n{fields}\n---\nReview $0.\n")
        until(lambda: {"greet", "review"} <= names(daemon), what="adopted")
        yield daemon


def write(daemon: Daemon, name: str, text: str, **files: str) -> Path:
    folder = daemon.root / "skills" / name
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        (folder / path).write_text(content)
        (folder / path).chmod(0o755)
    (folder / "SKILL.md").write_text(text)
    return folder


def names(daemon: Daemon, **more: Any) -> set[str]:
    return {one["name"] for one in daemon.client.skills.list(**more)["items"]}


def results(daemon: Daemon, session: str) -> list[str]:
    return [one["data"]["content"] for one in daemon.journal(session) if one["kind"] == "tool.finished"]


def loads(daemon: Daemon, session: str) -> list[dict[str, Any]]:
    return [one["data"] for one in daemon.journal(session) if one["kind"] == "skill.loaded"]


def test_a_skill_is_a_definition_like_others(daemon: Daemon) -> None:
    client = daemon.client
    made = client.skills.put(
        "own", {"name": "own", "description": "Mine.", "body": "Do it.", "allowed-tools": ["Read"]}
    )
    assert (made["source"], made["dir"], made["trusted"], made["model_invocable"]) == (
        "state",
        "skills/own",
        False,
        True,
    )
    assert client.skills.put("own", made, if_match=made["etag"])["etag"] == made["etag"]  # an answer can be sent back
    text = client.skills.text("own")
    assert text.text == (daemon.root / "skills/own/SKILL.md").read_text()
    assert client.skills.validate("---\nname: x\n---\n")["valid"] is False
    found = client.skills.validate("---\nname: other\ndescription: d\n---\nb", name="own")
    assert found["valid"] and [one["code"] for one in found["problems"]] == ["bad_name"]
    (daemon.root / "skills/own/notes.md").write_text("beside")
    until(lambda: "skills/own/notes.md" in git(daemon.root, "ls-files"), what="the file beside it is committed")
    assert client.skills.history("own")["items"]
    client.skills.delete("own")
    assert "own" not in names(daemon) and not (daemon.root / "skills/own/notes.md").exists()
    until(lambda: "skills/own/" not in git(daemon.root, "ls-files"), what="its removal is committed")
    write(daemon, "broken", "---\nname: broken\n---\nNo description.\n")
    until(
        lambda: [one for one in client.problems()["items"] if one["path"] == "skills/broken/SKILL.md"], what="reported"
    )
    assert "broken" not in names(daemon)


def test_the_command_line_manages_skills(daemon: Daemon, tmp_path: Path) -> None:
    assert "greet" in daemon.cli("skills", "list").stdout
    assert daemon.cli("skills", "show", "greet").stdout.rstrip() == GREET.rstrip()
    (tmp_path / "x").mkdir()
    (tmp_path / "x/SKILL.md").write_text("---\nname: x\ndescription: X: y\n---\nb")
    done = daemon.cli("skills", "validate", str(tmp_path / "x"))
    assert done.returncode == 0 and "warning" in done.stdout
    assert daemon.cli("skills", "add", "x", str(tmp_path / "x/SKILL.md")).returncode == 0
    assert daemon.cli("run", "cli", "go", "--skill", "x", "--wait", "20s").stdout.startswith("done")
    assert loads(daemon, "cli")[0]["by"] == "user"
    assert daemon.cli("run", "cli", "go", "--skill", "nothing").returncode == 2
    assert daemon.cli("skills", "remove", "x").returncode == 0


def test_readers_read_and_admins_write_and_trust(daemon: Daemon) -> None:
    client = daemon.client
    digest = client.trust.trusted_skill("greet")["digest"]
    requests = {
        ("GET", "/v1/skills"): None,
        ("GET", "/v1/skills/greet"): None,
        ("GET", "/v1/trust/skills/greet"): None,
        ("POST", "/v1/skills/validate"): {"description": "d"},
        ("PUT", "/v1/skills/mine"): {"description": "d"},
        ("POST", "/v1/trust"): {"name": "skills/greet", "digest": digest},
    }
    allowed = {"reader": 4, "operator": 4, "approver": 0}
    for role, count in allowed.items():
        token = client.tokens.create(f"a-{role}", role)["token"]
        headers = {"authorization": f"Bearer {token}"}
        codes = [daemon.http(*key, body, headers=headers).status_code for key, body in requests.items()]
        assert codes == [200] * count + [403] * (len(requests) - count), (role, codes)


def test_a_submission_names_its_skills(daemon: Daemon) -> None:
    client = daemon.client
    client.sessions.create("submits")
    run = client.runs.start("submits", "go", skills=["greet"], wait="20s")
    assert run.data["settings"]["skills"] == ["greet"] and loads(daemon, "submits")[0]["use"]["name"] == "greet"
    answer = daemon.http("POST", "/v1/sessions/submits/runs", {"content": "go", "skills": ["greet", "no"]})
    assert answer.status_code == 400 and answer.json()["errors"][0]["path"] == "/skills/1"
    assert client.runs.start("submits", "/greet Anna", wait="20s").output == "done"
    assert loads(daemon, "submits")[-1]["arguments"] == "Anna" and loads(daemon, "submits")[-1]["text"] is None


@pytest.mark.skipif(not probing.probe().available, reason="bubblewrap does not work here")
def test_a_trusted_skill_runs_its_script_in_the_sandbox(daemon: Daemon) -> None:
    client = daemon.client
    client.sessions.create("runs", route="runs")
    run = client.runs.start("runs", "go", wait="20s")
    assert run.data["status"] == "waiting_for_approval"
    client.runs.cancel(run.run_id)
    shown = client.trust.trusted_skill("greet")
    assert (shown["state"], shown["commands"], shown["kind"]) == ("waiting", ["Bash"], "skill")
    wrong = daemon.http("POST", "/v1/trust", {"name": "skills/greet", "digest": "0" * 64})
    assert wrong.status_code == 409 and wrong.json()["code"] == "digest_conflict"
    assert client.trust.allow("skills/greet", shown["digest"])["state"] == "trusted"
    assert daemon.cli("trust", "skills/greet/SKILL.md").returncode == 0  # it is trusted already
    run = client.runs.start("runs", "go", wait="20s")
    assert run.output == "done"
    output = results(daemon, "runs")[-1]
    assert (
        "hello you" in output
        and "Read-only file system" in output
        and output.rstrip().endswith("[exit status 1]") is False
    )
    assert client.skills.get("greet")["trusted"] is True
    (daemon.root / "skills/greet/link").symlink_to("/etc/hostname")  # no digest covers it
    listed = {one["name"]: one["trusted"] for one in client.skills.list()["items"]}
    assert listed["greet"] is False and client.skills.get("greet")["trusted"] is False
    beside = client.trust.trusted_skill("greet")
    assert beside["state"] == "waiting" and "link: is no plain file" in beside["reason"]
    (daemon.root / "skills/greet/link").unlink()
    (daemon.root / "skills/greet/hello.sh").write_text("#!/bin/sh\necho changed\n")
    assert client.trust.trusted_skill("greet")["reason"] == "its files changed since it was trusted"
    assert client.runs.start("runs", "go", wait="20s").data["status"] == "waiting_for_approval"
    client.runs.cancel(client.runs.list(session="runs")["items"][0]["run_id"])


def test_a_skill_that_a_scope_excludes_is_refused_with_the_task(daemon: Daemon) -> None:
    scope = {"allow": ["*"], "deny": ["greet"]}
    daemon.client.definitions("personas").put("narrow", {"body": "Be brief.", "capability_scope": scope})
    daemon.client.sessions.create("narrow", persona="narrow")
    answer = daemon.http("POST", "/v1/sessions/narrow/runs", {"content": "go", "skills": ["greet"]})
    assert answer.status_code == 400 and "/skills/0: a capability scope" in answer.json()["detail"]
    said = daemon.cli("run", "narrow", "go", "--skill", "greet")
    assert said.returncode == 2 and "excludes the skill 'greet'" in said.stderr
    assert daemon.client.runs.list(session="narrow")["items"] == []


def test_an_edit_applies_to_the_next_turn(daemon: Daemon) -> None:
    daemon.client.sessions.create("edits", route="uses")
    daemon.client.runs.start("edits", "go", wait="20s")
    write(daemon, "greet", GREET + "Add a smile.\n")
    until(lambda: "smile" in daemon.client.skills.text("greet").text, what="adopted")
    daemon.client.runs.start("edits", "go", wait="20s")
    first, second = loads(daemon, "edits")
    assert "smile" not in first["text"] and "smile" in second["text"]


def test_a_skill_that_forks_answers_as_its_agent_does(daemon: Daemon) -> None:
    daemon.client.sessions.create("forks", route="forks")
    run = daemon.client.runs.start("forks", "go", wait="30s")
    assert daemon.run(run.run_id, "completed")["output"] == "reviewed"
    (result,) = results(daemon, "forks")
    assert "done" in result
    (agent,) = daemon.client.agents.list(parent=run.data["agent_id"])["items"]
    assert agent["name"].startswith("review-") and agent["status"] == "settled"
    (loaded,) = loads(daemon, agent["session_id"])
    assert "Review main.py." in loaded["text"]


def test_a_sessions_workspace_has_skills_of_its_own(daemon: Daemon, tmp_path: Path) -> None:
    for name in ("greet", "local"):
        (tmp_path / ".claude/skills" / name).mkdir(parents=True)
        text = f"---\nname: {name}\ndescription: Of the workspace.\n---\nb"
        (tmp_path / ".claude/skills" / name / "SKILL.md").write_text(text)
    client = daemon.client
    client.sessions.create("there", workspace=str(tmp_path), route="lists")
    assert "local" not in names(daemon)
    items = client.skills.list(session="there")["items"]
    rows = {(one["name"], one["source"], one["shadowed_by"]) for one in items if one["name"] in ("greet", "local")}
    assert rows == {("greet", "state", None), ("greet", "workspace", "skills/greet"), ("local", "workspace", None)}
    pages, cursor = [], None
    while cursor is not None or not pages:
        page = client.skills.list(session="there", limit=1, cursor=cursor)
        pages += [one["dir"] for one in page["items"]]
        cursor = page["next_cursor"]
    assert pages == [one["dir"] for one in items]
    assert client.skills.get("local", session="there")["body"] == "b"
    assert client.skills.text("local", session="there").text.endswith("---\nb")
    client.runs.start("there", "go", wait="20s")
    (listed,) = results(daemon, "there")
    assert "- local (from .claude/skills/local): Of the workspace." in listed and "shadowed by skills/greet" in listed


def test_a_draft_of_memory_becomes_a_skill(daemon: Daemon) -> None:
    client = daemon.client
    client.memory.put("shared", "-", "deploy.md", "Deploy on Mondays.")
    draft = client.memory.promote("memory/shared/deploy.md", "deploying")
    path = daemon.root / draft["path"]
    path.rename(path.with_name("SKILL.md"))
    until(lambda: "deploying" in names(daemon), what="adopted")
    assert "Deploy on Mondays." in client.skills.get("deploying")["body"]


def test_hostile_folders_make_nobody_wait(daemon: Daemon, tmp_path: Path) -> None:
    place = tmp_path / "skills"
    (place / "many").mkdir(parents=True)
    for number in range(100_000):
        os.close(os.open(place / "many" / str(number), os.O_CREAT | os.O_WRONLY))
    (place / "many/SKILL.md").write_text("---\nname: many\ndescription: Many files.\n---\nb")
    (place / "pipe").mkdir()
    os.mkfifo(place / "pipe/SKILL.md")
    (place / "link").symlink_to("/etc")
    (place / "big").mkdir()
    (place / "big/SKILL.md").write_text("---\nname: big\ndescription: Big.\n---\nb")
    os.truncate(place / "big/SKILL.md", 1 << 30)
    (place / os.fsdecode(b"odd\xff")).mkdir()
    (place / os.fsdecode(b"odd\xff") / "SKILL.md").write_bytes(b"---\ndescription: \xff\n---\n" + b"\xfe" * 1000)
    (place / "yaml").mkdir()
    (place / "yaml/SKILL.md").write_bytes(b"---\ndescription: d\nx: " + b"[" * 50_000 + b"\n---\nb")
    daemon.client.sessions.create("hostile", workspace=str(tmp_path))
    took = []
    run = daemon.client.runs.start("hostile", "/many go")
    while daemon.client.runs.get(run.run_id).data["status"] != "completed":
        began = time.monotonic()
        assert daemon.http("GET", "/healthz").status_code == 200
        took.append(time.monotonic() - began)
    assert loads(daemon, "hostile")[0]["use"]["name"] == "many"
    assert {"many", "big", "yaml"} <= names(daemon, session="hostile")
    *_, worst = sorted([*took[:1], *took])
    assert worst < 2.0, sorted(took)[-5:]


def test_a_kill_between_the_call_and_its_result_is_repaired(tmp_path: Path) -> None:
    routes = {"uses": [{"tool_calls": [use("greet")], "delay": "300ms"}, {"text": "done"}]}
    with Daemon.fresh(tmp_path, routes=routes, config={"default_route": "uses"}) as daemon:
        write(daemon, "greet", GREET)
        until(lambda: "greet" in names(daemon), what="adopted")
        daemon.client.sessions.create("s")
        for _ in range(2):
            run = daemon.client.runs.start("s", "go")
            time.sleep(0.35)  # about when the call begins; each moment is repaired
            daemon.kill9()
            daemon.start()
            assert daemon.run(run.run_id, "completed")["output"] == "done"
        texts = [one for one in loads(daemon, "s") if one["text"] is not None]
        assert len(texts) == 1
