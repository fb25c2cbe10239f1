"""Scopes with a real daemon: a route that a session may not use, a tool that a persona does not see."""

from __future__ import annotations

import json

import pytest

from kheish.errors import Forbidden
from tests.support.daemon import bash, until
from tests.system.conftest import Fresh

SHY = "---\ncapability_scope: {deny: [bash]}\n---\n\nYou look, and touch nothing.\n"


def test_a_tool_that_a_persona_hides_is_denied_when_it_is_called_anyway(fresh: Fresh) -> None:
    daemon = fresh(routes={"main": [bash("echo hello > out"), {"text": "so be it"}]})
    daemon.write("personas/shy.md", SHY)
    until(lambda: "shy" in {one["id"] for one in daemon.http("GET", "/v1/personas").json()["items"]})
    daemon.client.sessions.create("s", persona="shy")
    run = daemon.client.runs.start("s", "go", route="main", wait="20s").data
    assert run["status"] == "completed" and not (daemon.workspace / "out").exists()
    decided = next(line["data"] for line in daemon.journal("s") if line["kind"] == "permission.decided")
    assert (decided["decision"], decided["origin"]) == ("deny", "persona shy, capability scope")
    assert run["settings"]["capability_scope"] == [{"origin": decided["origin"], "allow": None, "deny": ["bash"]}]
    told = daemon.cli("permissions", "check", "bash", "echo hello", "--session", "s", "--output", "json")
    assert json.loads(told.stdout)["origin"] == "persona shy, capability scope"


def test_a_route_out_of_a_sessions_scope_is_refused_and_not_used_later(fresh: Fresh) -> None:
    daemon = fresh(routes={"cloud": [{"text": "never"}], "near": [{"text": "here"}]})
    made = daemon.cli("sessions", "create", "s", "--deny-route", "cloud", "--deny-route", "openai.*")
    assert made.returncode == 0, made.stderr
    assert daemon.client.sessions.get("s")["credential_scope"] == {"allow": None, "deny": ["cloud", "openai.*"]}
    with pytest.raises(Forbidden, match=r"route 'cloud'.*session, credential scope") as refused:
        daemon.client.runs.start("s", "go", route="cloud")
    assert refused.value.code == "out_of_scope"

    # Accepted while it was in scope; then its route is given a slot that is not.
    daemon.http("POST", "/v1/pause", {})
    run = daemon.client.runs.start("s", "go", route="near")
    busy = daemon.http("PATCH", "/v1/sessions/s", {"credential_scope": None})
    assert (busy.status_code, busy.json()["code"]) == (409, "session_not_idle")
    daemon.client.secrets.put("openai.prod", "sk-planted-0123456789")
    daemon.write("routes/near.yaml", {"driver": "openai", "model": "m", "api_base": "http://127.0.0.1:9/v1",
                                      "auth_ref": "openai.prod"})  # fmt: skip
    until(lambda: daemon.http("GET", "/v1/routes/near").json()["driver"] == "openai")
    daemon.http("POST", "/v1/resume", {})
    failed = daemon.run(run.run_id)
    assert (failed["status"], failed["error"]["code"]) == ("failed", "out_of_scope")
    fork = daemon.client.sessions.fork("s")["session_id"]
    assert daemon.client.sessions.get(fork)["credential_scope"] == {"allow": None, "deny": ["cloud", "openai.*"]}
