"""What starts commands by itself: seen before anything of it runs, and bound to the content that was seen."""

from __future__ import annotations

import json

from tests.support.daemon import Daemon, git, until
from tests.system.conftest import Fresh

PLAYBOOK = {"title": "One", "objective": "o", "phases": [{"id": "only", "acceptance": [{"command": "touch good"}]}]}
PLAIN = {"title": "Two", "objective": "o", "phases": [{"id": "only", "acceptance": ["looks good"]}]}
ECHO = {"driver": "scripted", "script": {"echo": True}}


def start(daemon: Daemon) -> tuple[int, str]:
    answer = daemon.http("POST", "/v1/flows", {"playbook": "one@1.0.0"})
    return answer.status_code, answer.text


def publish(daemon: Daemon, id: str, manifest: object) -> None:
    for method, path, body in (("PUT", "", manifest), ("POST", "/versions", {"version": "1.0.0"})):
        done = daemon.http(method, f"/v1/playbooks/{id}{path}", body)
        assert done.status_code < 300, done.text


def test_a_version_starts_its_commands_once_an_admin_has_seen_them(fresh: Fresh) -> None:
    daemon = fresh(config={"default_route": "echo"}, routes={"echo": ECHO})
    publish(daemon, "one", PLAYBOOK)
    publish(daemon, "two", PLAIN)
    listed = json.loads(daemon.cli("trust", "--output", "json").stdout)["items"]
    assert [(one["name"], one["state"], one["commands"]) for one in listed] == [
        ("one@1.0.0", "waiting", ["touch good"]),
    ]
    assert start(daemon)[0] == 409, "it was only published"
    for role in ("operator", "approver", "reader"):
        text = daemon.client.tokens.create(role, role)["token"]
        body = {"name": "one@1.0.0", "digest": listed[0]["digest"]}
        refused = daemon.http("POST", "/v1/trust", body, headers={"authorization": f"Bearer {text}"})
        assert refused.status_code == 403, role

    asked = daemon.cli("trust", "one@1.0.0")  # nobody is at the terminal
    other = daemon.cli("trust", "one@1.0.0", "--yes", "--digest", "0" * 64)
    done = daemon.cli("trust", "one@1.0.0", "--yes")
    again = daemon.cli("trust", "one@1.0.0", "--quiet")

    assert (asked.returncode, "    touch good\n" in asked.stderr) == (2, True), asked
    assert (other.returncode, "has the digest" in other.stderr) == (4, True), other
    assert (done.returncode, done.stdout.startswith("one@1.0.0 is trusted (digest ")) == (0, True), done
    assert (again.returncode, again.stdout) == (0, "one@1.0.0\n")
    assert start(daemon)[0] == 202
    until((daemon.workspace / "good").exists)
    daemon.restart()
    shown = daemon.client.trust.get("one@1.0.0")
    assert (shown["state"], shown["trusted_by"], shown["trusted_at"] is not None) == ("trusted", "token:local", True)
    said = daemon.client.playbooks.version("one", "1.0.0")["evidence"][0]["description"]
    assert said == f"trusts the commands of {shown['digest'][:12]}"


def test_a_tag_that_came_by_git_waits_and_one_that_is_tampered_with_is_not_trusted(fresh: Fresh) -> None:
    daemon = fresh(config={"default_route": "echo"}, routes={"echo": ECHO})
    daemon.http("PUT", "/v1/playbooks/one", PLAYBOOK)
    daemon.quiet()
    git(daemon.root, "tag", "-a", "playbook/one/1.0.0", "-m", "by hand")
    until(lambda: daemon.client.trust.list()["items"])
    one = daemon.client.trust.get("one@1.0.0")
    assert (one["state"], one["via"], start(daemon)[0]) == ("waiting", "git", 409)
    git(daemon.root, "tag", "-f", "-a", "playbook/one/1.0.0", "-m", "moved", "HEAD~1")

    moved = daemon.cli("trust", "one@1.0.0", "--yes")

    assert (moved.returncode, "can only be revoked" in moved.stderr) == (4, True), moved
    assert daemon.client.trust.get("one@1.0.0")["state"] == "tampered"
    assert daemon.http("GET", "/v1/trust/one").status_code == 400
    assert daemon.http("GET", "/v1/trust/one@9.9.9").status_code == 404
