"""Secrets planted in everything that comes in: afterwards they are in no file, log, stream, answer or git object."""

from __future__ import annotations

import base64
import json
import threading
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from kheish.errors import SecretInArguments
from tests.support.daemon import Daemon, allow, ask, bash, call, git, scripted, until
from tests.support.released import release
from tests.support.site import Page, Site, serve
from tests.system.conftest import Fresh
from tests.system.test_secrets import everything

SLOT = "slot-value/with+signs=0123456789"
ENV = "env-value-0123456789-abcdef"
SPOKEN = "sk-proj-abcdefghijklmnop"  # nobody told the daemon: kept where it was said, but not in logs and errors

PLAYBOOK = {
    "title": "Look", "objective": "It is looked at.", "inputs": {"what": {"type": "string", "required": True}},
    "phases": [{"id": "look", "instructions": "Look at {{inputs.what}}",
                "evidence": [{"kind": "attestation", "id": "read"}]}],
}  # fmt: skip
RULES = [*allow("cat *", "sleep *", "echo")["rules"], {"tool": "shell_task_start", "decision": "allow"}]


def listen(daemon: Daemon, heard: list[bytes]) -> threading.Thread:
    """Keep everything that is streamed, until the daemon stops."""

    def follow() -> None:
        headers = {"authorization": f"Bearer {daemon.token}", "accept": "text/event-stream"}
        with httpx.stream(
            "GET", f"{daemon.url}/v1/events", headers=headers, timeout=60, trust_env=False, verify=False
        ) as answer:
            try:
                heard.extend(answer.iter_raw())
            except httpx.TransportError:
                return

    thread = threading.Thread(target=follow)
    thread.start()
    return thread


def forms(value: str) -> set[bytes]:
    """How it may stand somewhere, made by other means than the scrubber's own."""
    found = {value.encode(), json.dumps(value)[1:-1].encode(), quote(value, safe="").encode()}
    for lead in (b"", b"a", b"ab"):
        found.add(base64.b64encode(lead + value.encode())[4:-4])
    return found


def plant(daemon: Daemon, value: str, site: Site) -> None:
    """The value by every way in."""
    (daemon.workspace / "note.txt").write_text(f"the key: {value}\n")
    (daemon.workspace / "long.txt").write_text(f"{'x' * 40} {value}\n" * 2000)  # more than a line of a journal holds
    whole = [base64.b64encode(f"{lead}{value} and more".encode()).decode() for lead in ("", "a", "ab")]
    texts = [value, json.dumps(value), quote(value, safe=""), *whole]
    (daemon.workspace / "forms.txt").write_text("\n".join(texts))
    half = len(value) // 2
    for name, part in {"first": value[:half], "second": value[half:]}.items():
        (daemon.workspace / name).write_text(part)
    site.pages["/page"] = Page(f"the page has {value}".encode(), headers={"Content-Type": "text/plain"})
    session = f"s-{half}"
    daemon.client.sessions.create(session, title=f"on {value}", labels={"note": value})
    about = {"metadata": {"key": [value]}}
    run = daemon.client.runs.start(session, f"use {value}", route="reads", wait="20s", **about)
    assert run.data["status"] == "completed"
    daemon.client.sessions.create(f"web-{half}")  # where no end of a background command comes before the address
    web = daemon.http("POST", f"/v1/sessions/web-{half}/runs?wait=20s", {"content": site.url, "route": "web"}).json()
    assert web["status"] == "completed" and "the page has" in web["output"], web
    answer_and_deny(daemon, session, value)
    drop(daemon, session, value)
    flow(daemon, value)
    for path in (f"sessions?note={value}", f"runs?cursor={quote(value, safe='')}", f"sessions/{quote(value, safe='')}"):
        refused = daemon.http("GET", f"/v1/{path}")
        assert refused.status_code >= 400 and not [one for one in forms(value) if one in refused.content], refused.text
    for kind, body in {"routes": {"driver": "openai", "model": value}, "personas": {"body": f"Say {value}"},
                       "playbooks": {**PLAYBOOK, "objective": value}}.items():  # fmt: skip
        refused = daemon.http("PUT", f"/v1/{kind}/pasted", json=body)
        assert refused.status_code == 400 and "stored secret" in refused.text and value not in refused.text


def answer_and_deny(daemon: Daemon, session: str, value: str) -> None:
    waiting = daemon.client.runs.start(session, "ask", route="asks", wait="20s")
    [approval] = waiting.data["pending_approvals"]
    with pytest.raises(SecretInArguments):
        daemon.client.approvals.resolve(approval, "allow", arguments={"command": f"echo {value}"})
    daemon.client.approvals.resolve(approval, "deny", reason=f"not with {value}")
    daemon.run(waiting.run_id)
    asked = daemon.client.runs.start(session, "ask", route="question", wait="20s")
    [question] = asked.data["pending_questions"]
    item = daemon.client.questions.get(question)["questions"][0]["id"]
    daemon.client.questions.answer(question, {item: {"selected": ["a"], "text": f"it is {value}"}})
    daemon.run(asked.run_id)


def drop(daemon: Daemon, session: str, value: str) -> None:
    """Into the inbox: what is taken, and what is refused."""
    texts = {
        "a.md": f"look at {value}",
        "b.yaml": json.dumps({"content": value, "metadata": {"k": value}}),
        "c.yaml": f"contnet: {value}\n",
        "d.yaml": f"content: [{value}\n",
    }
    for name, text in texts.items():
        daemon.write(f"inbox/{session}/{name}", text)
    until(lambda: not list((daemon.root / "inbox" / session).glob("*.*")), what="the inbox is empty")


def flow(daemon: Daemon, value: str) -> None:
    started = daemon.http("POST", "/v1/flows", {"playbook": "look", "inputs": {"what": value}})
    assert started.status_code == 202, started.text
    flow_id = started.json()["flow_id"]
    word = {"kind": "attestation", "id": "read", "description": f"I saw {value}"}
    until(lambda: daemon.http("POST", f"/v1/flows/{flow_id}/evidence", word).status_code in (201, 409))
    until(lambda: daemon.http("GET", f"/v1/flows/{flow_id}").json()["status"] == "succeeded", what="the Flow ends")


def test_planted_secrets_are_nowhere_afterwards(fresh: Fresh) -> None:
    reads = [{"tool_calls": [call("read_file", path="note.txt")]}, bash("cat note.txt"), bash("cat long.txt")]
    halves_of = "cat first; sleep 0.3; cat second"
    background = {"tool_calls": [call("shell_task_start", command=f"{halves_of}; cat forms.txt")]}
    daemon = fresh(
        routes={
            "reads": [*reads, background, bash(f"{halves_of}; echo; cat forms.txt"), {"text": "{{last_result}}"}],
            "asks": [bash("id -u"), {"text": "so be it"}],
            "question": [ask(), {"text": "{{last_result}}"}],
            "web": [{"tool_calls": [call("web_fetch", url="{{input}}/page")]}, {"text": "{{last_result}}"}],
            "echo": [{"text": "you said {{input}}"}],
            "env": scripted([{"text": "hi"}], auth_ref="env:MY_KEY"),
        },
        permissions={"rules": [*RULES, {"tool": "web_fetch", "decision": "allow"}]},
        config={"network": {"allow": ["127.0.0.1"]}, "default_route": "echo"},
        env={"MY_KEY": ENV, "KHEISH_LOG": "debug"},
    )  # fmt: skip
    heard: list[bytes] = []
    thread = listen(daemon, heard)
    daemon.client.secrets.put("deploy", SLOT)
    release(daemon, "look", PLAYBOOK)
    with serve({}) as site:
        for value in (SLOT, ENV):
            plant(daemon, value, site)
    daemon.write("routes/leak.yaml", f"# {SLOT}\ndriver: scripted\nscript: {{echo: true}}\n")
    until(lambda: "secret_in_file" in {one["code"] for one in daemon.client.problems()["items"]})
    daemon.client.sessions.create("later")
    until(lambda: "/later/" in git(daemon.root, "ls-tree", "-r", "--name-only", "HEAD"), what="a commit after it")
    (daemon.root / "routes/leak.yaml").unlink()
    daemon.quiet()
    assert "leak.yaml" not in git(daemon.root, "log", "--all", "--name-only", "--format=")
    assert SPOKEN not in daemon.http("GET", f"/v1/routes?{SPOKEN}=1").text
    kept = daemon.http("GET", "/v1/logs?limit=200").content
    assert b'"level":"info"' in kept
    daemon.stop()
    thread.join(10)

    told = {str(path.relative_to(daemon.root)): path.read_bytes() for path in daemon.root.rglob("*") if path.is_file()}
    told |= {
        "git": everything(daemon.root),
        "log": daemon.stderr_path.read_bytes(),
        "kept": kept,
        "stream": b"".join(heard),
    }
    assert b"[redacted:deploy]" in told["stream"] and b"tool.output" in told["stream"]
    wanted = {one for value in (SLOT, ENV) for one in forms(value)}
    assert [(where, one) for where, text in told.items() for one in wanted if one in text] == []
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
