"""Makes the fixture beside it: a state root with some of everything, and what its daemon answers to reads.

    git worktree add --detach OLD COMMIT
    cd OLD && PYTHONPATH=. PYTHON path/to/tests/system/old_root/make.py

`Daemon` is then that of the old tree. The state root is archived after the daemon stopped, without what it makes by
itself (`.kheish`: index, token, socket); then it is served without its index, and every read operation is recorded.
"""

from __future__ import annotations

import gzip
import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.daemon import Daemon, ask, bash, call, git, until
from tests.support.released import release

HERE = Path(__file__).parent
PLACE = Path("/tmp/kheish-old-root")  # sessions name their workspace, so this is in the fixture
COMMANDS = ("seq *", "echo *")
PERSONA = "---\ndisplay_name: Ada\n---\nYou are Ada. You count.\n"
NOTE = {"tool_calls": [call("write_file", path="note.txt", content="one\ntwo\n")]}
TODOS = [{"content": "count", "status": "completed"}, {"content": "rest", "status": "pending"}]
ROUTES: dict[str, Any] = {
    "hello": [{"text": "hello {{input}}"}],
    "asks": [bash("id -u"), {"text": "it said {{last_result}}"}],
    "questions": [ask("Which way?", ("left", "right")), {"text": "{{last_result}}"}],
    "counts": [bash("seq 1 6000"), {"text": "counted"}],
    "writes": [NOTE, {"tool_calls": [call("todo_write", items=TODOS)]}, {"text": "written"}],
    "background": [{"tool_calls": [call("shell_task_start", command="echo over")]}, {"text": "begun"}],
    "small": {"driver": "scripted", "script": {"echo": True}, "capabilities": {"context_window": 2000}},
}
PLAYBOOK: dict[str, Any] = {
    "title": "Mend it",
    "objective": "It works again.",
    "phases": [
        {"id": "look", "instructions": "looked"},
        {"id": "tell", "instructions": "told", "needs": ["look"], "evidence": [{"kind": "attestation", "id": "read"}]},
    ],
}
#: read operations whose answers are about the process, or the moment
ABOUT_THE_PROCESS = (
    *("/healthz", "/readyz", "/metrics", "/openapi.json"),
    *("/v1/status", "/v1/logs", "/v1/auth/login", "/v1/state/head"),
)


def play(daemon: Daemon) -> None:
    """Let some of everything happen."""
    client = daemon.client
    daemon.write("personas/ada.md", PERSONA)
    until(lambda: client.definitions("personas").list()["items"], what="the persona is in force")
    client.sessions.create("hello", route="hello", persona="ada", title="The first")
    client.runs.start("hello", "world", wait="20s", idempotency_key="once")
    client.runs.start("hello", "moon", wait="20s")
    client.sessions.fork("hello", "child")
    client.runs.start("child", "child", wait="20s")
    client.sessions.create("gone", route="hello")
    client.runs.start("gone", "soon", wait="20s")
    client.sessions.delete("gone")
    for name in ("counts", "writes", "asks", "questions"):
        client.sessions.create(name, route=name)
    for name in ("counts", "writes"):
        assert client.runs.start(name, "go", wait="20s").status == "completed"
    rules = [{"tool": "shell_task_start", "match": "echo *", "decision": "allow"}]
    client.sessions.create("background", route="background", permission_rules=rules)
    client.runs.start("background", "go", wait="20s")
    until(lambda: all(one["ended_at"] for one in client.sessions.tasks("background")["items"]), what="the task's end")
    client.sessions.create("long", route="small")
    for number in range(8):
        client.runs.start("long", f"{number} " + "word " * 100, wait="20s")
    assert "context.compacted" in daemon.kinds("long")
    allowed = client.runs.start("asks", "first", wait="20s")
    client.approvals.allow(allowed.data["pending_approvals"][0])
    daemon.run(allowed.run_id)
    asked = client.runs.start("questions", "first", wait="20s")
    client.questions.answer(asked.data["pending_questions"][0], {"q1": {"selected": ["a"]}})
    daemon.run(asked.run_id)
    release(daemon, "mend", PLAYBOOK)
    flow_id = client.flows.start("mend", idempotency_key="once")["flow_id"]
    until(lambda: client.flows.get(flow_id)["status"] in ("waiting", "blocked"), what="the Flow waits for evidence")
    client.flows.attach(flow_id, "attestation", "read", description="I have read it.")
    until(lambda: client.flows.get(flow_id)["status"] == "succeeded", what="the Flow's end")
    assert client.runs.start("asks", "second", wait="20s").status == "waiting_for_approval"
    assert client.runs.start("questions", "second", wait="20s").status.startswith("waiting_for_")
    daemon.quiet()


def paths(daemon: Daemon, head: str) -> Iterator[str]:
    """Yield a path for each read operation and each thing."""
    yield from ABOUT_THE_PROCESS

    def ids(path: str, key: str) -> list[str]:
        return [one[key] for one in daemon.http("GET", f"{path}?limit=200").json()["items"]]

    yield from ("/v1/problems", "/v1/config", "/v1/permissions", "/v1/tokens", "/v1/secrets", "/v1/secrets/absent")
    yield from (f"/v1/auth/{name}" for name in ("accounts", "grants", "leases", "subjects/token:local"))
    yield from ("/v1/state/log?limit=200", f"/v1/state/blame?path=routes/asks.yaml&at={head}", "/v1/events")
    yield from (f"/v1/usage{more}" for more in ("", "?session=hello", "?by=day"))
    yield from ("/v1/audit?limit=200", "/v1/audit?limit=5", "/v1/trust", "/v1/trust/absent")
    yield from ("/v1/sessions?limit=3", "/v1/sessions?limit=200", "/v1/sessions?route=asks", "/v1/sessions?q=first")
    for session in [*ids("/v1/sessions", "session_id"), "gone"]:
        base = f"/v1/sessions/{session}"
        yield base
        yield from (f"{base}/{name}" for name in ("history", "changes", "journal?limit=200", "tasks", "events"))
        yield from (f"{base}/search?q=one", f"{base}/search?q=hello", f"{base}/diff?from=0")
    yield from ("/v1/runs?limit=200", "/v1/runs?status=completed&limit=4", "/v1/runs?route=hello")
    for run in ids("/v1/runs", "run_id"):
        yield from (f"/v1/runs/{run}", f"/v1/runs/{run}/events")
    for noun in ("approval", "question"):
        yield from (f"/v1/{noun}s", f"/v1/{noun}s?status=pending")
        yield from (f"/v1/{noun}s/{id}" for id in ids(f"/v1/{noun}s", f"{noun}_id"))
    yield from ("/v1/approvals?tool=bash", "/v1/approvals?risk=high")
    yield from ("/v1/flows", "/v1/flows?playbook=mend")
    for flow in ids("/v1/flows", "flow_id"):
        yield from (f"/v1/flows/{flow}{part}" for part in ("", "/events", "/report", "/report?format=html"))
    for kind in ("routes", "personas", "playbooks"):
        yield f"/v1/{kind}"
        for id in ids(f"/v1/{kind}", "id"):
            yield from (f"/v1/{kind}/{id}", f"/v1/{kind}/{id}/history")
    base = "/v1/playbooks/mend"
    yield from (f"{base}/{name}" for name in ("versions", "versions/1.0.0", "diff", "blame", "blame?version=1.0.0"))


def archive(root: Path) -> None:
    """Write the state root, without what the daemon makes by itself."""

    def kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        own = (".kheish", ".git/hooks", ".git/logs", ".git/kheish/index")
        return None if any(member.name == f"state/{one}" for one in own) else member

    git(root, "gc", "--quiet", "--prune=now")
    git(root, "config", "--remove-section", "diff.kheish-journal")  # names the Python that made it
    with tarfile.open(HERE / "state.tar.xz", "w:xz") as made:
        made.add(root, "state", filter=kept)


def main() -> None:
    """Make the state root, archive it, and record what its daemon answers."""
    from reads import read  # beside this file

    shutil.rmtree(PLACE, ignore_errors=True)
    daemon = Daemon.make(
        PLACE,
        config={"default_route": "hello", "commit": {"every": "1s"}},
        permissions={
            "mode": "default",
            "rules": [
                *({"tool": "bash", "match": one, "decision": "allow"} for one in COMMANDS),
                {"tool": "write_file", "match": "**", "decision": "allow"},
            ],
        },
        routes=ROUTES,
    )
    try:
        play(daemon.start())
        assert daemon.stop() == 0
        archive(daemon.root)
        newest = max(one["n"] for path in daemon.root.glob("**/*.jsonl") for one in _lines(path))
        commits = git(daemon.root, "rev-list", "HEAD").split()
        daemon.root.rename(PLACE / "served")
        with tarfile.open(HERE / "state.tar.xz") as kept:
            kept.extractall(PLACE, filter="data")
        daemon.start()
        answers = {path: read(daemon, path) for path in paths(daemon, commits[0])}
        daemon.stop()
    finally:
        daemon.end()
    found = {"newest": newest, "head": commits[0], "answers": answers}
    with gzip.GzipFile(HERE / "answers.json.gz", "wb", mtime=0) as file:
        file.write(json.dumps(found, indent=1, ensure_ascii=False).encode())


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


if __name__ == "__main__":
    main()
