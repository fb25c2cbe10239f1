"""The official reference servers behind one real daemon: everything (stdio and HTTP), filesystem and memory.

They are npm packages: `make npm` installs them.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import npm
from tests.support.daemon import Daemon, until
from tests.system.conftest import Fresh
from tests.system.test_mcp import ALLOWED, alive, answered, put

SCOPE = "@modelcontextprotocol/server-"
WHY = npm.missing(*(SCOPE + name for name in ("everything", "filesystem", "memory")))
pytestmark = pytest.mark.skipif(bool(WHY), reason=WHY)
CONFIG = {"network": {"allow": ["127.0.0.1"]}}
Calls = list[tuple[str, dict[str, Any], str]]


def stdio(name: str, *words: str, **more: Any) -> dict[str, Any]:
    """The file of a reference server over stdio."""
    return {"command": npm.node(), "args": [npm.program(SCOPE + name), *words], "sandbox": "off", **more}


def servers(folder: Path) -> dict[str, dict[str, Any]]:
    """The files of the three servers over stdio; the words of each have the folder."""
    (folder / "files").mkdir(parents=True, exist_ok=True)
    memory = {"MEMORY_FILE_PATH": str(folder / "memory.jsonl")}
    return {
        "everything": stdio("everything", "stdio", str(folder)),
        "filesystem": stdio("filesystem", str(folder / "files")),
        "memory": stdio("memory", str(folder), env=memory),
    }


def processes(folder: Path) -> list[int]:
    """The processes whose words name the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and str(folder).encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return [pid for pid in found if pid != os.getpid() and alive(pid)]


@contextlib.contextmanager
def everything_over_http(folder: Path) -> Iterator[str]:
    """Serve `everything` over streamable HTTP: its URL."""
    script, log = npm.program(SCOPE + "everything"), folder / "web.log"
    for port in range(43100, 43200):  # it cannot be told to take a free one
        with log.open("w") as file:
            words = [str(npm.node()), str(script), "streamableHttp"]
            web = subprocess.Popen(words, env={**os.environ, "PORT": str(port)}, stdout=file, stderr=file)
        try:
            until(lambda web=web: "listening on port" in log.read_text() or web.poll() is not None)
            if web.poll() is None:
                yield f"http://127.0.0.1:{port}/mcp"
                return
        finally:
            web.terminate()
            web.wait()
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reference-servers")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[Daemon]:
    made = Daemon.fresh(tmp_path_factory.mktemp("reference"), permissions=ALLOWED, config=CONFIG)
    with everything_over_http(folder) as url, made as daemon:
        for id, file in {**servers(folder), "web": {"url": url}}.items():
            put(daemon, id, file)
        yield daemon


def start(daemon: Daemon, session: str, server: str, calls: Calls) -> Any:
    """A run that makes the calls, one after another."""
    turns = [{"tool_calls": [{"name": f"mcp__{server}__{tool}", "arguments": given}]} for tool, given, _ in calls]
    script = {"turns": [*turns, {"text": "{{last_result}}"}]}
    daemon.http("PUT", f"/v1/routes/{session}", {"driver": "scripted", "script": script})
    daemon.client.sessions.create(session, route=session)
    return daemon.client.runs.start(session, "go")


def listed(daemon: Daemon, server: str) -> dict[str, str | None]:
    """The tools of a server, with their problems."""
    found = daemon.client.mcp.connect_server(server)
    assert (found["state"], found["negotiated"]["era"]) == ("ready", "legacy"), found["last_error"]
    return {one["true_name"].removeprefix(f"mcp__{server}__"): one["problem"] for one in found["tools"]}


def made(daemon: Daemon, session: str, calls: Calls) -> None:
    """Assert that each call of the session's run had the result that was expected."""
    events = daemon.client.past_events(session=session, kind="tool.finished", quiet=0.2)
    finished = [event.data for event in events]
    for (tool, _, expected), one in zip(calls, finished, strict=True):
        assert not one["is_error"] and re.search(expected, one["content"]), (tool, one)


EVERYTHING: Calls = [
    ("echo", {"message": "hi"}, "Echo: hi"),
    ("get-annotated-message", {"messageType": "success", "includeImage": True}, r"successfully\s+\[image: image/png"),
    ("get-env", {}, "PATH"),
    ("get-resource-links", {"count": 2}, r"\[resource: Text Resource 2 \(demo://resource/dynamic/text/2"),
    ("get-resource-reference", {"resourceType": "Text", "resourceId": 1}, "This is a plaintext resource"),
    ("get-structured-content", {"location": "Chicago"}, '"temperature":36'),
    ("get-sum", {"a": 2, "b": 3}, "is 5"),
    ("get-tiny-image", {}, r"image/png, \d+ bytes"),
    ("gzip-file-as-resource", {"name": "a.gz", "data": "data:text/plain,hello", "outputType": "resource"}, "a.gz: "),
    ("toggle-simulated-logging", {}, "Started"),
    ("toggle-subscriber-updates", {}, "Started"),
    ("trigger-long-running-operation", {"duration": 1, "steps": 4}, "completed. Duration: 1 seconds, Steps: 4"),
]
ASKING = {"trigger-elicitation-request", "trigger-url-elicitation"}
FILES: Calls = [
    ("list_allowed_directories", {}, "{files}"),
    ("create_directory", {"path": "{files}/sub"}, "Successfully created"),
    ("write_file", {"path": "{files}/a.txt", "content": "one\ntwo\n"}, "Successfully wrote"),
    ("write_file", {"path": "{files}/a.png", "content": "no picture"}, "Successfully wrote"),
    ("edit_file", {"path": "{files}/a.txt", "edits": [{"oldText": "two", "newText": "three"}]}, r"\+three"),
    ("read_file", {"path": "{files}/a.txt"}, "one\nthree"),
    ("read_text_file", {"path": "{files}/a.txt", "head": 1}, "one"),
    ("read_media_file", {"path": "{files}/a.png"}, "image/png, 10 bytes"),
    ("read_multiple_files", {"paths": ["{files}/a.txt", "{files}/none"]}, r"three(.|\n)*none: Error"),
    ("list_directory", {"path": "{files}"}, r"\[DIR\] sub"),
    ("list_directory_with_sizes", {"path": "{files}"}, r"a\.txt +10 B"),
    ("directory_tree", {"path": "{files}"}, '"type": "directory"'),
    ("search_files", {"path": "{files}", "pattern": "*.txt"}, r"a\.txt"),
    ("get_file_info", {"path": "{files}/a.txt"}, "size: 10"),
    ("move_file", {"source": "{files}/a.txt", "destination": "{files}/sub/b.txt"}, "Successfully moved"),
]
ADA, BOB = ({"name": name, "entityType": "person", "observations": ["met today"]} for name in ("Ada", "Bob"))
KNOWS = {"from": "Ada", "to": "Bob", "relationType": "knows"}
MEMORY: Calls = [
    ("create_entities", {"entities": [ADA, BOB]}, '"name": "Ada"'),
    ("create_relations", {"relations": [KNOWS]}, '"knows"'),
    ("add_observations", {"observations": [{"entityName": "Ada", "contents": ["writes"]}]}, "writes"),
    ("search_nodes", {"query": "writes"}, '"name": "Ada"'),
    ("open_nodes", {"names": ["Bob"]}, '"name": "Bob"'),
    ("delete_observations", {"deletions": [{"entityName": "Ada", "observations": ["writes"]}]}, "deleted"),
    ("delete_relations", {"relations": [KNOWS]}, "deleted"),
    ("delete_entities", {"entityNames": ["Bob"]}, "deleted"),
    ("read_graph", {}, '"name": "Ada"'),
]
TABLE = {"everything": EVERYTHING, "web": EVERYTHING, "filesystem": FILES, "memory": MEMORY}


@pytest.mark.parametrize("server", TABLE)
def test_a_run_calls_each_tool(daemon: Daemon, folder: Path, server: str) -> None:
    calls: Calls = json.loads(json.dumps(TABLE[server]).replace("{files}", str(folder / "files")))
    tools = listed(daemon, server)
    unusable = {name: why for name, why in tools.items() if why is not None}
    assert tools.keys() - unusable.keys() - ASKING == {tool for tool, _, _ in calls}
    if unusable:
        assert "as a task of version 2025-11-25" in unusable.pop("simulate-research-query") and not unusable
    run = start(daemon, server, server, calls).wait(60)
    assert run.data["status"] == "completed"
    made(daemon, server, calls)
    health = daemon.client.status()["mcp"]
    assert not health["failing"], health


def test_the_environment_of_a_server_is_clean(daemon: Daemon) -> None:
    content = daemon.client.mcp.call_tool("everything", "get-env")["content"]
    assert set(json.loads(content)) <= {"PATH", "HOME", "LANG", "PWD"}


@pytest.mark.parametrize("server", ["everything", "web"])
def test_progress_is_shown_and_forms_are_answered(daemon: Daemon, server: str) -> None:
    calls: Calls = [
        ("trigger-long-running-operation", {"duration": 4, "steps": 4}, "completed"),
        ("trigger-elicitation-request", {}, ""),
        ("trigger-url-elicitation", {"url": "https://pay.example/x"}, ""),
    ]
    run = start(daemon, f"asks-{server}", server, calls)
    shown = ""
    for event in run.follow():
        shown += event.data["text"] if event.kind == "tool.output" else ""
        if event.kind == "run.waiting":
            break
    assert shown == "1 of 4\n2 of 4\n3 of 4\n4 of 4\n"
    run = run.wait(30)
    form = daemon.client.questions.get(run.data["pending_questions"][0])
    assert form["purpose"] == "elicitation" and form["questions"][0]["text"]
    run = answered(daemon, run, filled(form))
    page = daemon.client.questions.get(run.data["pending_questions"][0])["questions"][0]
    assert page["text"].startswith("pay.example:")
    daemon.client.questions.decline(run.data["pending_questions"][0], "no money")
    assert daemon.client.runs.get(run.run_id, wait="30s").data["status"] == "completed"
    given = [one.data for one in daemon.client.past_events(session=f"asks-{server}", kind="tool.finished", quiet=0.2)]
    assert '"name": "Ada"' in given[1]["content"] and '"action": "accept"' in given[1]["content"], given[1]
    assert "declined" in given[2]["content"], given[2]


def filled(form: Any) -> dict[str, Any]:
    """The answers to a form: the first choice where there is one, else a text of the kind."""
    texts = {"email": "ada@example.org", "homepage": "https://example.org", "birthdate": "1815-12-10",
             "integer": "7", "number": "2.5"}  # fmt: skip
    answers: dict[str, Any] = {}
    for item in form["questions"]:
        name = item["id"].rpartition(".")[2]
        if item["options"]:
            answers[item["id"]] = {"selected": [item["options"][0]["id"]]}
        else:
            answers[item["id"]] = {"text": texts.get(name, "Ada")}
    return answers


def test_nothing_is_left_by_kills_and_a_stop(fresh: Fresh, tmp_path: Path) -> None:
    folder = tmp_path / "servers"
    daemon = fresh(permissions=ALLOWED)
    for id, file in servers(folder).items():
        put(daemon, id, file)
        listed(daemon, id)
    first = processes(folder)
    assert len(first) >= 3
    for pid in first:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    calls: Calls = [("read_graph", {}, "entities")]
    assert start(daemon, "again", "memory", calls).wait(40).data["status"] == "completed"
    made(daemon, "again", calls)
    listed(daemon, "everything")
    slow = start(daemon, "slow", "everything", [("trigger-long-running-operation", {"duration": 60, "steps": 6}, "")])
    until(lambda: "tool.started" in daemon.kinds("slow"), what="the call is under way")
    daemon.kill9()
    until(lambda: not processes(folder), what="the servers have ended with their daemon")
    daemon.start()
    run = until(lambda: (one := daemon.client.runs.get(slow.run_id)).data["status"] == "waiting_for_question" and one)
    assert daemon.client.questions.get(run.data["pending_questions"][0])["purpose"] == "ambiguous"
    for id in ("everything", "filesystem", "memory"):
        listed(daemon, id)
    assert len(processes(folder)) >= 3
    daemon.stop()
    until(lambda: not processes(folder), what="a stop ends them")
