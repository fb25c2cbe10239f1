"""Debug capture of a real daemon: what its servers received, byte for byte, and no secret where none may be."""

from __future__ import annotations

import hashlib
import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, until

SECRET, UNKNOWN = "correct-horse-battery-9", "sk-unknown0123456789abcdef"
STANDIN = str(Path(__file__).parent.parent / "support" / "mcp_standin.py")


class Model(ThreadingHTTPServer):
    """A model server that keeps the bytes of each request; it answers with `pieces`, one in each event."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: list[bytes] = []
        self.answers: list[bytes] = []
        self.pieces = ["hel", "lo"]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Model

    def do_POST(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers["content-length"])))
        events = [{"choices": [{"index": 0, "delta": {"content": one}}]} for one in self.server.pieces]
        events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        raw = b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in events) + b"data: [DONE]\n\n"
        self.server.answers.append(raw)
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: Any) -> None:
        """Be quiet."""


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with Model() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, model: Model) -> Iterator[Daemon]:
    route = {"driver": "openai", "model": "m", "api_base": model.url}
    rules = {"mode": "default", "rules": [{"tool": "mcp__*", "decision": "allow"}]}
    with Daemon.fresh(tmp_path_factory.mktemp("debug"), routes={"main": route}, permissions=rules) as daemon:
        yield daemon


def run(daemon: Daemon, session: str, text: str, level: str | None, **settings: Any) -> str:
    """The id of a run of a new session, which has ended."""
    daemon.client.sessions.create(session, **{"route": "main", **settings})
    body = {"content": text} | ({"debug": level} if level else {})
    answer = daemon.http("POST", f"/v1/sessions/{session}/runs?wait=30s", body)
    assert answer.status_code == 202 and answer.json()["status"] == "completed", answer.text
    return str(answer.json()["run_id"])


def artifacts(daemon: Daemon, run_id: str) -> dict[str, bytes]:
    items = daemon.http("GET", f"/v1/runs/{run_id}/debug").json()["items"]
    found = {one["artifact_id"]: daemon.client.runs.debug_artifact(run_id, one["artifact_id"]) for one in items}
    for one in items:
        raw = found[one["artifact_id"]]
        assert (one["bytes"], one["sha256"]) == (len(raw), hashlib.sha256(raw).hexdigest())
    return found


@pytest.mark.parametrize("level", ["redacted", "full"])
def test_a_captured_prompt_is_what_the_model_server_received(daemon: Daemon, model: Model, level: str) -> None:
    model.pieces = ["hel", "lo"]
    found = artifacts(daemon, run(daemon, f"exact-{level}", "Grüße, say hello", level))

    assert found["turn-0001-attempt-0001-model-request"] == model.bodies[-1]
    assert found["turn-0001-attempt-0001-model-events"] == model.answers[-1]
    prompt = json.loads(found["turn-0001-attempt-0001-prompt"])
    names = [one["name"] for one in prompt["sections"]]
    assert names[:2] == ["Instructions", "Tools"] and "Environment" in names
    system = json.loads(model.bodies[-1])["messages"][0]["content"]
    assert all(one["text"] in system and one["bytes"] == len(one["text"].encode()) for one in prompt["sections"])


def test_nothing_is_captured_without_a_level(daemon: Daemon) -> None:
    run_id = run(daemon, "silent", "hello", None)
    assert artifacts(daemon, run_id) == {}
    assert not (daemon.root / ".kheish/debug" / run_id).exists()


def test_the_session_sets_the_level_and_a_run_its_own(daemon: Daemon) -> None:
    loud = run(daemon, "loud", "hello", None, debug="redacted")
    quiet = daemon.http("POST", "/v1/sessions/loud/runs?wait=30s", {"content": "hello", "debug": "off"}).json()

    assert artifacts(daemon, loud) and not artifacts(daemon, quiet["run_id"])
    assert daemon.client.sessions.get("loud")["debug"] == "redacted"


def test_no_secret_is_in_a_redacted_artifact(daemon: Daemon, model: Model) -> None:
    daemon.client.secrets.put("horse", SECRET)
    model.pieces = ["the key is ", SECRET[:9], SECRET[9:], ", and ", UNKNOWN[:12], UNKNOWN[12:]]

    run_id = run(daemon, "planted", f"my key is {UNKNOWN}", "redacted")
    found = artifacts(daemon, run_id)

    stored = b"".join(path.read_bytes() for path in (daemon.root / ".kheish/debug" / run_id).iterdir())
    assert UNKNOWN.encode() in model.bodies[-1]
    assert b"[redacted:token]" in found["turn-0001-attempt-0001-model-request"]
    assert b"withheld" in found["turn-0001-attempt-0001-model-events"]
    for part in (SECRET, SECRET[:9], UNKNOWN, UNKNOWN[:12]):
        assert part.encode() not in stored, part


def test_full_artifacts_are_encrypted_and_for_admins_only(daemon: Daemon, model: Model) -> None:
    model.pieces = [UNKNOWN]
    run_id = run(daemon, "whole", f"my key is {UNKNOWN}", "full")
    name = "turn-0001-attempt-0001-model-request"
    token = daemon.client.tokens.create("looker", "reader")["token"]

    refused = daemon.http("GET", f"/v1/runs/{run_id}/debug/{name}", headers={"authorization": f"Bearer {token}"})
    listed = daemon.http("GET", f"/v1/runs/{run_id}/debug", headers={"authorization": f"Bearer {token}"})

    stored = (daemon.root / ".kheish/debug" / run_id / name).read_bytes()
    assert UNKNOWN.encode() not in stored and b"age-encryption.org/v1" in stored
    assert artifacts(daemon, run_id)[name] == model.bodies[-1]
    assert (refused.status_code, listed.status_code) == (403, 200)
    assert all(one["encrypted"] for one in listed.json()["items"])


def test_the_exchanges_of_hooks_and_servers_are_captured(daemon: Daemon, tmp_path: Path) -> None:
    command = 'cat > /dev/null; echo \'{"systemMessage": "noted"}\''
    daemon.client.hooks.put("note", {"events": ["PreToolUse"], "command": command})
    server = {"command": "python3", "args": ["-S", "-E", STANDIN, str(tmp_path)], "sandbox": "off"}
    daemon.client.mcp.put("one", {**server, "start_timeout": "40s"})
    turns = [{"tool_calls": [{"name": "mcp__one__echo", "arguments": {"text": "ping"}}]}, {"text": "done"}]
    daemon.http("PUT", "/v1/routes/calls", {"driver": "scripted", "script": {"turns": turns}})

    found = artifacts(daemon, run(daemon, "exchanges", "go", "redacted", route="calls"))

    daemon.client.hooks.delete("note")
    (given,) = [raw for key, raw in found.items() if key.startswith("hook-note") and key.endswith("input")]
    (got,) = [raw for key, raw in found.items() if key.startswith("hook-note") and key.endswith("output")]
    (asked,) = [raw for key, raw in found.items() if key.startswith("mcp") and key.endswith("request")]
    (answer,) = [raw for key, raw in found.items() if key.startswith("mcp") and key.endswith("response")]
    assert json.loads(given)["tool_input"] == {"text": "ping"} and b"noted" in got
    assert json.loads(asked)["arguments"] == {"text": "ping"} and b"ping" in answer
    (raw,) = [raw for key, raw in found.items() if key.startswith("mcp") and key.endswith("messages")]
    messages = [json.loads(line) for line in raw.splitlines()]
    (sent,) = [one["sent"] for one in messages if one.get("sent", {}).get("method") == "tools/call"]
    (received,) = [one["received"] for one in messages if one.get("received", {}).get("id") == sent["id"]]
    assert sent["params"]["arguments"] == {"text": "ping"} and "ping" in str(received["result"]["content"])


def test_the_command_line_lists_and_prints(daemon: Daemon, model: Model) -> None:
    model.pieces = ["hello"]
    done = daemon.cli("run", "by-words", "hello", "--route", "main", "--debug", "redacted", "--wait", "30s", "--quiet")
    run_id = daemon.client.runs.list(session="by-words")["items"][0]["run_id"]
    listed = daemon.cli("runs", "debug", run_id, "--quiet")
    printed: subprocess.CompletedProcess[str] = daemon.cli("runs", "debug", run_id, listed.stdout.split()[1])

    assert done.returncode == 0 and "turn-0001-attempt-0001-model-request" in listed.stdout, listed.stderr
    assert printed.stdout.encode() == model.bodies[-1]
    assert daemon.cli("runs", "debug", run_id, "absent").returncode != 0


def test_a_deleted_session_leaves_no_artifact(daemon: Daemon) -> None:
    run_id = run(daemon, "leaves", "hello", "redacted")
    folder = daemon.root / ".kheish/debug" / run_id
    assert folder.exists()
    daemon.http("DELETE", "/v1/sessions/leaves")
    until(lambda: not folder.exists(), what="the artifacts are gone")
