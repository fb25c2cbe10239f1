"""Bad input, each with its clear error."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, call, git, until

HUGE = "x" * (40 * 1024 * 1024)
CASES: dict[str, tuple[str, str, dict[str, Any], int, str, str]] = {
    # name: (method, path, request, status, code, in the detail or the errors)
    "unknown field": ("POST", "/v1/sessions", {"body": {"sesion_id": "x"}}, 400, "invalid_request", "sesion_id"),
    "unknown session": ("POST", "/v1/sessions/nobody/runs", {"body": {"content": "x"}}, 404, "not_found", "nobody"),
    "wrong cursor": ("GET", "/v1/runs?cursor=nonsense", {}, 400, "invalid_cursor", "cursor"),
    "id that leaves": ("POST", "/v1/sessions", {"body": {"session_id": "../x"}}, 400, "invalid_request", "session_id"),
    "no JSON": (
        "POST", "/v1/sessions", {"content": b"{", "headers": {"content-type": "application/json"}},
        400, "invalid_request", "line 1, column 2",
    ),
    "unknown route": ("POST", "/v1/sessions", {"body": {"route": "nowhere"}}, 400, "invalid_request", "nowhere"),
    "unknown decision": (
        "POST", "/v1/approvals/appr_x/resolve", {"body": {"decision": "maybe"}}, 400, "invalid_request", "decision",
    ),
    "workspace with a long name": (
        "POST", "/v1/sessions", {"body": {"workspace": f"/{'x' * 4000}"}}, 400, "workspace_not_allowed", "too long",
    ),
    "unknown run": ("GET", "/v1/runs/run_nothing", {}, 404, "not_found", "run_nothing"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_request_is_refused_with_its_reason(shared: Daemon, name: str) -> None:
    method, path, request, status, code, said = CASES[name]

    answer = shared.http(method, path, **request)

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert said in str([problem["detail"], problem["errors"]])


def test_a_huge_body_is_refused(shared: Daemon) -> None:
    shared.client.sessions.create("huge", route="hello")

    answer = shared.http("POST", "/v1/sessions/huge/runs", {"content": HUGE})

    assert answer.status_code == 413
    assert shared.client.runs.list(session="huge")["items"] == []


def test_bad_yaml_in_a_route_names_line_and_column(shared: Daemon) -> None:
    text = "driver: scripted\nscript: {echo: true}\nmodle: x\n"

    answer = shared.http("PUT", "/v1/routes/bad", content=text.encode(), headers={"content-type": "application/yaml"})
    shared.write("routes/bad.yaml", text)
    found = until(
        lambda: [one for one in shared.client.problems()["items"] if one["path"] == "routes/bad.yaml"], what="a problem"
    )
    (shared.root / "routes" / "bad.yaml").unlink()

    assert answer.status_code == 400
    assert "modle" in str(answer.json()["errors"]) and "routes/bad.yaml:3:1" in answer.json()["detail"]
    assert (found[0]["line"], found[0]["column"], found[0]["suggestion"]) == (3, 1, "model")
    until(
        lambda: not [one for one in shared.client.problems()["items"] if "bad.yaml" in one["path"]], what="it is gone"
    )


def test_a_route_without_its_credential_takes_no_run(shared: Daemon) -> None:
    route = {"driver": "openai", "model": "m", "api_base": "http://127.0.0.1:9/v1", "auth_ref": "env:NOT_SET_ANYWHERE"}
    shared.client.definitions("routes").put("poor", route)
    shared.client.sessions.create("poor", route="poor")

    answer = shared.http("POST", "/v1/sessions/poor/runs", {"content": "x"})

    assert answer.status_code == 409
    assert "NOT_SET_ANYWHERE" in answer.json()["detail"]
    assert shared.client.runs.list(session="poor")["items"] == []


def test_malformed_arguments_and_unknown_tools_are_told_to_the_model(shared: Daemon) -> None:
    turns = [
        {"tool_calls": [call("read_file", pfad="x"), call("raed_file", path="x")]},
        {"text": "{{last_result}}"},
    ]
    shared.client.definitions("routes").put("clumsy", {"driver": "scripted", "script": {"turns": turns}})
    shared.client.sessions.create("clumsy", route="clumsy")

    run = shared.client.runs.start("clumsy", "go", wait="20s")

    assert run.status == "completed"
    results = [line["data"] for line in shared.journal("clumsy") if line["kind"] == "tool.finished"]
    assert [one["code"] for one in results] == ["invalid_arguments", "unknown_tool"]
    assert "pfad" in results[0]["content"] and "read_file" in results[1]["content"]


def test_a_workspace_may_not_contain_the_state_root(shared: Daemon) -> None:
    for workspace in (shared.root.parent, shared.root, shared.root / "routes"):
        answer = shared.http("POST", "/v1/sessions", {"session_id": "too-wide", "workspace": str(workspace)})
        assert answer.status_code == 400, answer.json()
        assert "state root" in answer.json()["detail"]


def serve(daemon: Daemon, *words: str) -> subprocess.CompletedProcess[str]:
    done = daemon.cli("serve", *words, timeout=30)
    assert "Traceback" not in done.stderr
    return done


def test_a_port_in_use_and_a_second_daemon_are_refused(shared: Daemon, tmp_path: Path) -> None:
    other = Daemon.make(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = serve(other, "--bind", f"127.0.0.1:{port}")
    second = serve(shared, "--bind", "127.0.0.1:0")

    assert refused.returncode != 0 and f"127.0.0.1:{port}" in refused.stderr
    assert second.returncode == 4 and shared.process is not None
    assert str(shared.process.pid) in second.stderr


def test_a_newer_format_and_a_foreign_repository_are_refused(tmp_path: Path) -> None:
    daemon = Daemon.make(tmp_path)
    text = (daemon.root / "format.yaml").read_text()
    (daemon.root / "format.yaml").write_text(text.replace(": 1\n", ": 99\n", 1))
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    git(foreign, "init", "-q")
    git(foreign, "commit", "-q", "--allow-empty", "-m", "mine")

    newer = serve(daemon, "--bind", "127.0.0.1:0")
    init = Daemon(foreign, daemon.workspace).cli("init")

    assert newer.returncode != 0 and "99" in newer.stderr
    assert init.returncode != 0 and "repository" in init.stderr
    assert [path.name for path in foreign.iterdir()] == [".git"]
