"""Secrets planted in everything that comes in: afterwards they are in no file, log, stream, answer or git object."""

from __future__ import annotations

import threading
from pathlib import Path

import httpx
import pytest

from kheish.errors import SecretInArguments
from tests.support.daemon import Daemon, allow, bash, call, git, scripted, until
from tests.system.conftest import Fresh
from tests.system.test_secrets import everything

SLOT = "slot-value/with+signs=0123456789"
ENV = "env-value-0123456789-abcdef"
SPOKEN = "sk-proj-abcdefghijklmnop"  # nobody told the daemon: kept where it was said, but not in logs and errors


def listen(daemon: Daemon, heard: list[bytes]) -> threading.Thread:
    """Keep everything that is streamed, until the daemon stops."""

    def follow() -> None:
        headers = {"authorization": f"Bearer {daemon.token}", "accept": "text/event-stream"}
        with httpx.stream("GET", f"{daemon.url}/v1/events", headers=headers, timeout=60, trust_env=False) as answer:
            try:
                heard.extend(answer.iter_raw())
            except httpx.TransportError:
                return

    thread = threading.Thread(target=follow)
    thread.start()
    return thread


def plant(daemon: Daemon, value: str) -> None:
    """The value by every way in."""
    (daemon.workspace / "note.txt").write_text(f"the key: {value}\n")
    half = len(value) // 2
    for name, part in {"first": value[:half], "second": value[half:]}.items():
        (daemon.workspace / name).write_text(part)
    daemon.client.sessions.create(f"s-{half}", title=f"on {value}")
    run = daemon.client.runs.start(f"s-{half}", f"use {value}", route="reads", wait="20s")
    assert run.data["status"] == "completed"
    waiting = daemon.client.runs.start(f"s-{half}", "ask", route="asks", wait="20s")
    [approval] = waiting.data["pending_approvals"]
    with pytest.raises(SecretInArguments):
        daemon.client.approvals.resolve(approval, "allow", arguments={"command": f"echo {value}"})
    daemon.client.approvals.resolve(approval, "deny", reason=f"not with {value}")
    answer = daemon.http("GET", f"/v1/sessions?note={value}")
    assert answer.status_code == 400 and value not in answer.text
    refused = daemon.http("PUT", "/v1/routes/pasted", json={"driver": "openai", "model": value})
    assert refused.status_code == 400 and "stored secret" in refused.text and value not in refused.text


def test_planted_secrets_are_nowhere_afterwards(fresh: Fresh) -> None:
    reads = [{"tool_calls": [call("read_file", path="note.txt")]}, bash("cat note.txt")]
    daemon = fresh(
        routes={
            "reads": [*reads, bash("cat first; sleep 0.3; cat second"), {"text": "{{last_result}}"}],
            "asks": [bash("id -u"), {"text": "so be it"}],
            "env": scripted([{"text": "hi"}], auth_ref="env:MY_KEY"),
        },
        permissions=allow("cat *", "sleep *"),
        env={"MY_KEY": ENV, "KHEISH_LOG": "debug"},
    )  # fmt: skip
    heard: list[bytes] = []
    thread = listen(daemon, heard)
    daemon.client.secrets.put("deploy", SLOT)
    for value in (SLOT, ENV):
        plant(daemon, value)
    daemon.write("routes/leak.yaml", f"# {SLOT}\ndriver: scripted\nscript: {{echo: true}}\n")
    until(lambda: "secret_in_file" in {one["code"] for one in daemon.client.problems()["items"]})
    daemon.client.sessions.create("later")
    until(lambda: "/later/" in git(daemon.root, "ls-tree", "-r", "--name-only", "HEAD"), what="a commit after it")
    (daemon.root / "routes/leak.yaml").unlink()
    daemon.quiet()
    assert "leak.yaml" not in git(daemon.root, "log", "--all", "--name-only", "--format=")
    assert SPOKEN not in daemon.http("GET", f"/v1/routes?{SPOKEN}=1").text
    daemon.stop()
    thread.join(10)

    told = {"files": everything(daemon.root), "log": daemon.stderr_path.read_bytes(), "stream": b"".join(heard)}
    assert b"[redacted:deploy]" in told["stream"] and b"tool.output" in told["stream"]
    assert {(where, value) for where, text in told.items() for value in (SLOT, ENV) if value.encode() in text} == set()
    halves = [value[len(value) // 2 :].encode() for value in (SLOT, ENV)]
    assert [half for half in halves if half in told["stream"]] == []


def test_doctor_finds_what_was_stored_after_it_leaked(fresh: Fresh, tmp_path: Path) -> None:
    daemon = fresh(routes={"hello": [{"text": "hello {{input}}"}]})
    daemon.client.sessions.create("s")
    daemon.client.runs.start("s", f"my key is {SLOT}", route="hello", wait="20s")
    daemon.write("routes/old.yaml", f"# {SLOT}\ndriver: scripted\nscript: {{echo: true}}\n")
    until(lambda: "old" in {one["id"] for one in daemon.http("GET", "/v1/routes").json()["items"]})
    daemon.quiet()
    daemon.write("routes/old.yaml", "driver: scripted\nscript: {echo: true}\n")
    assert daemon.cli("doctor", "--scan-history").returncode == 0
    daemon.client.secrets.put("deploy", SLOT)
    daemon.quiet()
    daemon.stop()

    found = daemon.cli("doctor", "--scan-history")
    commit = git(daemon.root, "log", "--format=%h", "--diff-filter=A", "--", "routes/old.yaml").strip()
    words = " ".join(found.stdout.split())
    assert found.returncode == 1 and f"commit {commit}, routes/old.yaml: has deploy" in words
    assert "/journal/" in words and SLOT not in found.stdout and "rotate" in words
