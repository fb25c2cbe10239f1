"""Hooks that are requests or calls of tools; the events of agents, tasks, compactions and elicitations; the import."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.support.daemon import Daemon, bash, call, scripted, until
from tests.support.released import release
from tests.system.test_hooks import put, python, ran, results, said
from tests.system.test_mcp import GIVEN, calls, server

PERMISSIONS = {
    "mode": "default",
    "rules": [
        {"tool": "bash", "match": "echo *", "decision": "allow"},
        {"tool": "mcp__*", "decision": "allow"},
        {"tool": "spawn_agent", "decision": "allow"},
        {"tool": "write_file", "match": "**", "decision": "allow"},
    ],
}


class Receiver(http.server.BaseHTTPRequestHandler):
    """A receiver of hooks that keeps what it gets; each path has an answer."""

    got: ClassVar[list[tuple[str, dict[str, str], bytes]]] = []
    answers: ClassVar[dict[str, list[tuple[int, str]]]] = {}

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.got.append((self.path, {key.lower(): value for key, value in self.headers.items()}, body))
        known = self.answers.get(self.path, [(204, "")])
        status, text = known.pop(0) if len(known) > 1 else known[0]
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def receiver() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    config = {"network": {"allow": ["127.0.0.1/32"]}}
    with Daemon.fresh(tmp_path_factory.mktemp("executors"), permissions=PERMISSIONS, config=config) as daemon:
        yield daemon


@pytest.fixture(autouse=True)
def without_hooks(daemon: Daemon) -> Iterator[None]:
    yield
    for one in daemon.http("GET", "/v1/hooks").json()["items"]:
        daemon.http("DELETE", f"/v1/hooks/{one['id']}")


def go(daemon: Daemon, session: str, turns: list[dict[str, Any]], wait: str = "30s", **more: Any) -> dict[str, Any]:
    daemon.http("PUT", f"/v1/routes/{session}", scripted(turns, **more))
    daemon.client.sessions.create(session, route=session)
    return dict(daemon.client.runs.start(session, "go", wait=wait).data)


# --- http -------------------------------------------------------------------------------------------------------------


def test_a_request_is_signed_and_its_answer_counts(daemon: Daemon, receiver: str) -> None:
    key = base64.b64encode(b"a-signing-key-of-some-length").decode()
    daemon.client.secrets.put("hook.key", f"whsec_{key}")
    own = {"hookEventName": "PreToolUse", "permissionDecision": "deny", "permissionDecisionReason": "not today"}
    Receiver.answers["/guard"] = [(200, json.dumps({"hookSpecificOutput": own}))]
    put(daemon, "guard", {"events": "PreToolUse", "http": {"url": f"{receiver}/guard", "secret": "hook.key"}})
    run = go(daemon, "http-guard", [bash("echo hello"), {"text": "done"}])

    assert "not today" in results(daemon, run["session_id"])[0]["content"]
    _, headers, body = next(one for one in Receiver.got if one[0] == "/guard")
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    mac = hmac.new(b"a-signing-key-of-some-length", signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(mac).decode()}"
    assert headers["webhook-id"] == ran(daemon, run["session_id"], "pre_tool_use")[0]["outcomes"][0]["invocation_id"]
    assert json.loads(body)["tool_input"]["command"] == "echo hello"


def test_a_request_that_fails_is_repeated_with_the_same_id(daemon: Daemon, receiver: str) -> None:
    Receiver.answers["/flaky"] = [(500, "x"), (503, "y"), (200, "")]
    put(daemon, "flaky", {"events": "PreToolUse", "http": f"{receiver}/flaky", "retries": 2})
    run = go(daemon, "http-flaky", [bash("echo hello"), {"text": "done"}])

    ids = [headers["webhook-id"] for path, headers, _ in Receiver.got if path == "/flaky" and "webhook-id" in headers]
    assert len([one for one in Receiver.got if one[0] == "/flaky"]) == 3 and ids == []  # unsigned without a secret
    [known] = daemon.http("GET", "/v1/hooks/flaky/invocations").json()["items"]
    assert (known["attempts"], known["result"], run["status"]) == (3, "ok", "completed")


@pytest.mark.parametrize("answer", [(404, "gone"), (302, ""), (200, "{broken")], ids=["404", "redirect", "broken"])
def test_other_answers_are_failures(daemon: Daemon, receiver: str, answer: tuple[int, str]) -> None:
    path = f"/bad-{answer[0]}-{len(answer[1])}"
    Receiver.answers[path] = [answer]
    put(daemon, "bad", {"events": "PreToolUse", "http": f"{receiver}{path}", "failure": "closed"})
    run = go(daemon, f"http{path.replace('/', '-')}", [bash("echo hello"), {"text": "done"}])
    assert "gave no answer" in results(daemon, run["session_id"])[0]["content"]
    assert daemon.http("GET", "/v1/hooks/bad").json()["failures"] > 0


# --- MCP --------------------------------------------------------------------------------------------------------------


def test_a_tool_of_an_mcp_server_is_called(daemon: Daemon, tmp_path: Path) -> None:
    daemon.http("PUT", "/v1/mcp/notes", server(tmp_path / "notes"))
    tool = {"server": "notes", "tool": "echo", "input": {"text": "from ${source} in ${cwd}"}}
    put(daemon, "tool", {"events": "SessionStart", "mcp_tool": tool})
    run = go(daemon, "mcp-hook", [{"expect": f"echo: from startup in {daemon.workspace}", "text": "done"}])
    assert run["status"] == "completed", run["error"]
    targets = [one["data"]["target"] for one in _stream(daemon, "audit") if one["data"]["action"] == "hook"]
    assert "tool: session_start" in targets

    tool = {"server": "notes", "tool": "fail"}
    put(daemon, "tool", {"events": "PreToolUse", "mcp_tool": tool, "failure": "closed"})
    refused = go(daemon, "mcp-fails", [bash("echo hello"), {"text": "done"}])
    assert "it went wrong" in results(daemon, refused["session_id"])[0]["content"]
    daemon.http("DELETE", "/v1/hooks/tool")
    daemon.http("DELETE", "/v1/mcp/notes")


def _stream(daemon: Daemon, name: str) -> list[dict[str, Any]]:
    files = sorted((daemon.root / "journals" / name).rglob("*.jsonl"))
    return [json.loads(line) for path in files for line in path.read_text().splitlines()]


# --- agents, tasks, batches, compactions ------------------------------------------------------------------------------

_KEEP = "import sys, os; open(os.environ['INTO'], 'a').write(sys.stdin.read())"


def test_agents_have_their_own_events(daemon: Daemon, tmp_path: Path) -> None:
    into = tmp_path / "inputs"
    events = ["SessionStart", "SubagentStart", "SubagentStop", "Stop", "UserPromptSubmit", "PreToolUse"]
    put(daemon, "keep", python(_KEEP, events=events, env={"INTO": str(into)}))
    daemon.http("PUT", "/v1/routes/child", scripted([{"text": "found"}]))
    turns = [
        {"tool_calls": [{"name": "spawn_agent", "arguments": {"name": "scout", "prompt": "look", "route": "child"}}]},
        {"tool_calls": [call("wait_agent")]},
        {"text": "done"},
    ]
    run = go(daemon, "parent", turns)
    assert run["status"] == "completed", run

    inputs = [json.loads(line) for line in into.read_text().splitlines()]
    child = [one for one in inputs if "agent_id" in one]
    assert [one["hook_event_name"] for one in child] == ["SubagentStart", "SubagentStop"]
    assert child[0]["agent_type"] == "scout" and child[1]["last_assistant_message"] == "found"
    assert [one["tool_name"] for one in inputs if one["hook_event_name"] == "PreToolUse"] == ["Agent", "wait_agent"]


def test_tasks_may_be_refused(daemon: Daemon) -> None:
    code = "import json, sys; 'plan' in json.load(sys.stdin)['task_subject'] and sys.exit('no plans') or sys.exit(0)"
    code = code.replace("sys.exit('no plans')", "(print('no plans', file=sys.stderr), sys.exit(2))")
    put(daemon, "tasks", python(code, events="TaskCreated"))
    turns = [
        {"tool_calls": [call("task_create", title="a plan"), call("task_create", title="work")]},
        {"text": "done"},
    ]
    run = go(daemon, "tasks", turns)
    first, second = results(daemon, run["session_id"])
    assert "no plans" in first["content"] and not second["is_error"]


def test_failures_completed_tasks_definitions_and_flows_are_announced(daemon: Daemon, tmp_path: Path) -> None:
    into = tmp_path / "inputs"
    names = ["PostToolUseFailure", "StopFailure", "definition_changed", "flow_finished"]
    put(daemon, "announced", python(_KEEP, events=names, env={"INTO": str(into)}))
    put(daemon, "unfinished", python("import sys; sys.exit('x') if 0 else sys.exit(2)", events="task_completed"))
    daemon.client.sessions.create("announced")
    task = daemon.http("POST", "/v1/sessions/announced/tasks", {"title": "work"}).json()["task_id"]
    turns = [
        {"tool_calls": [call("read_file", path="missing"), call("task_update", task_id=task, status="completed")]},
        {"error": {"status": 400, "message": "no such model"}},
    ]
    daemon.http("PUT", "/v1/routes/announced", scripted(turns, max_retries=0))
    run = dict(daemon.client.runs.start("announced", "go", route="announced", wait="30s").data)
    assert run["status"] == "failed", run
    failed, refused = results(daemon, "announced")
    assert failed["is_error"] and refused["is_error"]
    assert daemon.http("GET", f"/v1/sessions/announced/tasks/{task}").json()["status"] == "pending"
    release(
        daemon, "greet", {"title": "Greet", "objective": "Greet.", "phases": [{"id": "one", "objective": "Greet."}]}
    )
    daemon.http("PUT", "/v1/routes/greets", scripted([{"text": "hello"}]))
    daemon.client.sessions.create("greets", route="greets")
    flow = daemon.client.flows.start("greet", session_id="greets")

    def given() -> dict[str, list[dict[str, Any]]]:
        inputs = [json.loads(line) for line in into.read_text().splitlines()]
        return {name: [one for one in inputs if one["hook_event_name"] == name] for name in names}

    until(lambda: given()["flow_finished"], what="the Flow ends")
    found = given()
    [tool], [stop], [end] = (found[name] for name in ("PostToolUseFailure", "StopFailure", "flow_finished"))
    assert (tool["tool_name"], tool["tool_input"]["file_path"]) == ("Read", f"{daemon.workspace}/missing")
    assert "missing" in tool["error"] and tool["tool_use_id"] and tool["is_interrupt"] is False
    assert stop["error"] == run["error"]["code"] and "no such model" in stop["error_details"]
    assert (end["flow_id"], end["status"]) == (flow["flow_id"], "succeeded")
    greets = {"path": "routes/greets.yaml", "change": "added"}
    until(
        lambda: any(greets.items() <= one.items() for one in given()["definition_changed"]),
        what="the new route is told",
    )
    for id in ("announced", "unfinished"):
        daemon.http("DELETE", f"/v1/hooks/{id}")


def test_a_batch_may_end_the_run(daemon: Daemon) -> None:
    put(daemon, "batch", python(said({"decision": "block", "reason": "enough"}), events="PostToolBatch"))
    run = go(daemon, "batch", [bash("echo hello"), {"text": "done"}])
    assert run["status"] == "interrupted"


def test_compactions_may_be_refused_and_are_announced(daemon: Daemon, tmp_path: Path) -> None:
    into = tmp_path / "inputs"
    put(daemon, "keep", python(_KEEP, events=["PreCompact", "PostCompact", "SessionStart"], env={"INTO": str(into)}))
    turns: list[dict[str, Any]] = [bash(f"echo {'x' * 3000}{at}") for at in range(6)]
    window = {"capabilities": {"context_window": 6000}}
    run = go(daemon, "compacts", [*turns, {"text": "done"}], **window)
    kinds = daemon.kinds("compacts")
    assert run["status"] == "completed" and "context.compacted" in kinds
    inputs = [json.loads(line) for line in into.read_text().splitlines()]
    assert [one["hook_event_name"] for one in inputs[:4]] == [
        "SessionStart",
        "PreCompact",
        "PostCompact",
        "SessionStart",
    ]
    assert (inputs[0]["source"], inputs[3]["source"]) == ("startup", "compact")

    put(daemon, "keep", python("import sys; sys.exit(2)", events=["PreCompact"]))
    again = go(daemon, "compacts-not", [*turns, {"text": "done"}], **window)
    assert again["status"] == "completed" and "context.compacted" not in daemon.kinds("compacts-not")


def test_permission_denied_may_let_the_model_retry(daemon: Daemon) -> None:
    own = {"hookSpecificOutput": {"hookEventName": "PermissionDenied", "retry": True}}
    put(daemon, "again", python(said(own), events="PermissionDenied"))
    daemon.http("PUT", "/v1/routes/denied", scripted([bash("uname"), {"text": "done"}]))
    daemon.client.sessions.create("denied", route="denied", permission_mode="dont_ask")
    daemon.client.runs.start("denied", "go", wait="20s")
    assert "You may retry it." in results(daemon, "denied")[0]["content"]


# --- import -----------------------------------------------------------------------------------------------------------


def test_settings_of_another_program_are_imported(daemon: Daemon, tmp_path: Path) -> None:
    plugin = tmp_path / "plug"
    (plugin / "hooks").mkdir(parents=True)
    guard = plugin / "guard.sh"
    guard.write_text("#!/bin/sh\necho refused >&2; exit 2\n")
    guard.chmod(0o755)
    handlers = {
        "PreToolUse": [
            {
                "matcher": "Bash",
                "hooks": [
                    {"type": "command", "command": "${CLAUDE_PLUGIN_ROOT}/guard.sh", "timeout": 5},
                    {"type": "agent", "prompt": "x"},
                ],
            }
        ],
        "WorktreeCreate": [{"hooks": [{"type": "command", "command": "true"}]}],
    }
    file = plugin / "hooks" / "hooks.json"
    file.write_text(json.dumps({"description": "d", "hooks": handlers}))

    without = daemon.cli("hooks", "import", str(file), "--yes", "--output", "json")
    assert without.returncode == 1 and "--plugin-root" in without.stdout
    done = daemon.cli("hooks", "import", str(file), "--plugin-root", str(plugin), "--yes", "--output", "json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["items"]
    assert [(one["event"], one["imported"]) for one in rows] == [
        ("PreToolUse", True), ("PreToolUse", False), ("WorktreeCreate", False),
    ]  # fmt: skip
    assert "WorktreeCreate" in rows[2]["notes"][0]
    run = go(daemon, "imported", [bash("echo hello"), {"text": "done"}])
    assert "refused" in results(daemon, run["session_id"])[0]["content"]


# --- elicitation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_an_elicitation_is_answered_by_a_hook(daemon: Daemon, tmp_path: Path, era: str) -> None:
    into = tmp_path / "inputs"
    daemon.http("PUT", f"/v1/mcp/{era}", server(tmp_path / "form", *(["modern"] if era == "modern" else [])))
    own = {"hookEventName": "Elicitation", "action": "accept", "content": {"city": "Oslo", "count": 3, "size": "m"}}
    answers = f"import sys; open({str(into)!r}, 'a').write(sys.stdin.read())\n{said({'hookSpecificOutput': own})}"
    put(daemon, "answers", python(answers, events=["Elicitation", "ElicitationResult"], matcher=era))
    run = go(daemon, f"elicits-{era}", calls(f"mcp__{era}__ask"))

    done = daemon.run(run["run_id"])
    assert (done["status"], json.loads(done["output"])) == ("completed", GIVEN)
    lines = until(lambda: len(found := into.read_text().splitlines()) == 2 and found, 20)
    inputs = [json.loads(line) for line in lines]
    assert [one["hook_event_name"] for one in inputs] == ["Elicitation", "ElicitationResult"]
    assert inputs[0]["mcp_server_name"] == era and "Where to?" in inputs[0]["message"]
    assert inputs[1]["action"] == "accept"


def test_an_elicitation_is_declined_by_a_hook(daemon: Daemon, tmp_path: Path) -> None:
    daemon.http("PUT", "/v1/mcp/pay", server(tmp_path / "form"))
    put(daemon, "declines", python("import sys; sys.exit(2)", events=["Elicitation"]))
    run = go(daemon, "elicits-not", calls("mcp__pay__page"))
    assert json.loads(daemon.run(run["run_id"])["output"]) == {"action": "decline"}
