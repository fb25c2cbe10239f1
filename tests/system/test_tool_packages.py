"""Installed packages of tools, and what agents run with, with a real daemon that finds them on its path."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tests.support.daemon import Daemon, call, until
from tests.support.mcp_clients import token
from tests.support.packages import install

EXAMPLE = Path(__file__).parents[2] / "examples" / "tools"
BAD = "from kheish.runtime.tools.base import Tool\nraise SystemExit('this package is bad')\n"


def test_a_package_offers_its_tools_and_a_bad_one_is_a_problem(tmp_path: Path) -> None:
    install(site := tmp_path / "site", EXAMPLE, bad={"kheish.tools": {"bad": "bad_package:TOOLS"}})
    (site / "bad_package.py").write_text(BAD)
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    turns: list[dict[str, Any]] = [
        {"tool_calls": [call("weekday", day="2026-11-29"), call("weekday", day="2026-13-01")]},
        {"tool_calls": [call("ring_bell", times=2)]},
        {"text": "{{last_result}}"},
    ]
    playbook = {"title": "T", "objective": "O", "phases": [{"id": "a", "objective": "A"}],
                "tools": {"allow": ["weekday"]}}  # fmt: skip
    with Daemon.fresh(tmp_path, env={"PYTHONPATH": path}, routes={"own": turns}) as daemon:
        problem = next(one for one in daemon.client.problems()["items"] if one["code"] == "tool_package")
        assert problem["path"] == "kheish.tools/bad" and "SystemExit: this package is bad" in problem["message"]
        daemon.client.sessions.create("s", route="own")
        run = daemon.client.runs.start("s", "go")
        waiting = daemon.run(run.run_id, "waiting_for_approval", "failed")
        asked = daemon.client.approvals.get(waiting["pending_approvals"][0])
        assert (asked["tool"], asked["risk"], asked["arguments"]) == ("ring_bell", "high", {"times": 2})
        daemon.client.approvals.allow(asked["approval_id"])
        assert daemon.run(run.run_id)["output"] == "Rang 2 times."
        results = [one["data"] for one in daemon.journal("s") if one["kind"] == "tool.finished"]
        assert results[0]["content"] == "Sunday" and "2026-13-01 is no date" in results[1]["content"]
        assert daemon.http("PUT", "/v1/playbooks/own", playbook).status_code == 201, "a manifest may name its tools"
        found = [one["message"] for one in daemon.client.problems()["items"] if one["path"].startswith("playbooks/own")]
        assert not [one for one in found if "weekday" in one], found
        names = {one["name"] for one in json.loads(daemon.cli("tools", "--output", "json").stdout)}
        assert {"weekday", "ring_bell", "read_file"} <= names
        packages = {one["entry_point"]: one for one in daemon.client.runtime()["packages"]}
        assert packages["weekday"]["tools"] == ["weekday", "ring_bell"] and "SystemExit" in packages["bad"]["problem"]


def test_what_agents_run_with_is_shown_without_values(fresh: Any) -> None:
    daemon = fresh(routes={"hello": [{"text": "hi"}]})
    value = "sk-" + "0123456789abcdef" * 2
    daemon.client.secrets.put("openai.prod", value)
    route = {
        "driver": "openai",
        "model": "m",
        "auth_ref": "openai.prod",
        "api_base": "https://models.example.org/v1/key-1",
    }
    assert daemon.http("PUT", "/v1/routes/cloud", route).status_code == 201
    daemon.http("PUT", "/v1/routes/missing", {**route, "auth_ref": "other.slot"})
    daemon.client.runs.start(daemon.client.sessions.create("s", route="hello")["session_id"], "go", wait="20s")
    found = daemon.client.runtime()
    routes = {one["id"]: one for one in found["routes"]}
    assert routes["cloud"]["server"] == "https://models.example.org" and routes["cloud"]["status"] == "ready"
    assert routes["missing"]["status"] == "not_ready" and routes["missing"]["reason"]
    assert {one["name"] for one in found["drivers"] if one["loaded"]} == {"scripted"}
    assert {"slot": "openai.prod", "audience": "route:cloud", "status": "ready", "reason": None} in found["slots"]
    daemon.client.pause("hello")
    until(lambda: next(one for one in daemon.client.runtime()["routes"] if one["id"] == "hello")["status"] == "paused")
    shown = daemon.cli("runtime", "get")
    assert (
        shown.returncode == 0 and "cloud" in shown.stdout and "paused" in shown.stdout and "openai.prod" in shown.stdout
    )
    reader = token(daemon, "reader", "reader")
    answer = daemon.http("GET", "/v1/runtime", headers={"authorization": f"Bearer {reader}"})
    assert answer.json()["slots"] is None and answer.json()["routes"]
    for text in (json.dumps(found), shown.stdout, answer.text):
        assert value not in text and "key-1" not in text
