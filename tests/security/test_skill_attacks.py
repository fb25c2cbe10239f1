"""What skills must not be good for: reading what a rule denies, shedding what they take away, starting themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.daemon import Daemon, bash, call, until


def use(tool: str, **arguments: Any) -> dict[str, Any]:
    """A call of a tool that has an argument `name`."""
    return {"name": tool, "arguments": arguments}


ROUTES: dict[str, Any] = {
    "reads": [
        {"tool_calls": [call("read_file", path="config/prod.yaml"), call("read_file", path="skill:leak/prod.yaml")]},
        {"text": "done"},
    ],
    "spawns": [
        {"tool_calls": [use("use_skill", name="calm")]},
        {"tool_calls": [use("spawn_agent", name="kid", prompt="go", route="kid")]},
        {"tool_calls": [call("wait_agent", agents=["kid"])]},
        {"text": "done"},
    ],
    "hires": [
        {"tool_calls": [use("spawn_agent", name="kid", agent="helper", prompt="go", route="says")]},
        {"tool_calls": [call("wait_agent", agents=["kid"])]},
        {"text": "done"},
    ],
    "kid": [bash("echo broken out"), bash("rm -r x"), {"text": "done"}],
    "says": [{"text": "done"}],
}
RULES = [
    {"tool": "read_file", "match": "config/**", "decision": "deny"},
    {"tool": "spawn_agent", "decision": "allow"},
    {"tool": "bash", "decision": "allow"},
]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder, config = tmp_path_factory.mktemp("skills"), {"default_route": "says", "sandbox": {"mode": "off"}}
    with Daemon.fresh(folder, routes=ROUTES, config=config, permissions={"rules": RULES}) as daemon:
        yield daemon


def skill(daemon: Daemon, name: str, fields: str = "") -> None:
    daemon.write(f"skills/{name}/SKILL.md", f"---\nname: {name}\ndescription: About {name}.\n{fields}---\nDo it.\n")
    until(lambda: name in {one["name"] for one in daemon.client.skills.list()["items"]}, what="adopted")


def results(daemon: Daemon, session: str) -> list[dict[str, Any]]:
    return [one["data"] for one in daemon.journal(session) if one["kind"] == "tool.finished"]


def test_a_skills_path_does_not_evade_a_rule_that_denies_reading(daemon: Daemon) -> None:
    config = daemon.workspace / "config"
    config.mkdir()
    (config / "prod.yaml").write_text("password: PRODSECRET\n")
    (config / "SKILL.md").write_text("---\nname: leak\ndescription: Leaks.\n---\nRead it.\n")
    (daemon.workspace / "skills").mkdir()
    (daemon.workspace / "skills/leak").symlink_to("../config")
    daemon.client.sessions.create("reads", route="reads")
    daemon.client.runs.start("reads", "read", wait="20s")
    found = results(daemon, "reads")
    assert [one["is_error"] for one in found] == [True, True]
    assert "config/prod.yaml of the workspace" in found[1]["content"]
    assert "PRODSECRET" not in str(daemon.journal("reads"))


def test_children_lack_what_a_skill_takes_away(daemon: Daemon) -> None:
    skill(daemon, "calm", "disallowed-tools: Bash(echo *)\n")
    daemon.client.sessions.create("spawns", route="spawns")
    run = daemon.client.runs.start("spawns", "go", wait="30s")
    assert run.status == "completed", run.data
    agent = daemon.client.sessions.get("spawns")["agent_id"]
    (kid,) = daemon.client.agents.list(parent=agent)["items"]
    first, second = results(daemon, kid["session_id"])
    assert first["is_error"] and "denie" in first["content"], first
    assert "denie" not in second["content"], "the rest is allowed"


def test_a_schedule_starts_no_skill_of_users(daemon: Daemon) -> None:
    """An agent can make a schedule."""
    skill(daemon, "mine", "disable-model-invocation: true\n")
    start = {"session": "later", "input": {"content": "/mine now", "route": "says"}}
    daemon.http("PUT", "/v1/schedules/later", {"cron": "0 0 1 1 *", "start": start})
    fire = daemon.client.schedules.trigger("later")
    assert daemon.run(fire["run_id"])["status"] == "completed"
    assert "skill.loaded" not in daemon.kinds("later")
    daemon.client.runs.start("later", "/mine now", wait="20s")
    assert "skill.loaded" in daemon.kinds("later"), "a user starts it"


def test_an_agent_file_of_a_workspace_starts_no_skill_of_users(daemon: Daemon) -> None:
    skill(daemon, "private", "disable-model-invocation: true\n")
    skill(daemon, "public")
    folder = daemon.workspace / ".claude/agents"
    folder.mkdir(parents=True)
    text = "---\nname: helper\ndescription: Helps.\nskills: [private, public]\n---\nHelp.\n"
    (folder / "helper.md").write_text(text)
    daemon.client.sessions.create("hires", route="hires")
    run = daemon.client.runs.start("hires", "go", wait="30s")
    assert run.status == "completed", run.data
    (kid,) = daemon.client.agents.list(parent=daemon.client.sessions.get("hires")["agent_id"])["items"]
    loaded = [one["data"]["use"]["name"] for one in daemon.journal(kid["session_id"]) if one["kind"] == "skill.loaded"]
    assert loaded == ["public"]
