"""Clients of other protocols that npm installs, as their users run them; skipped where they are missing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from tests.support.daemon import Daemon, ask, bash, until
from tests.support.node.peer import Line, Peer, running
from tests.support.npm import package_root

LONG = "A long answer. " * 2000
ROUTES: dict[str, Any] = {
    "asks": [{"text": "I look.", **bash("id -u")}, {"text": "it said {{last_result}}"}],
    "question": [ask("Which way?", ["left", "right"]), {"text": "so {{last_result}}"}],
    "long": [{"text": LONG}],
    "stuck": [{"text": "never", "delay": "60s"}],
}
CONFIG: dict[str, Any] = {"default_route": "asks", "sandbox": {"mode": "off"}, "shutdown_grace": "1s"}
ACP, AGUI = "@agentclientprotocol/sdk", "@ag-ui/client"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    package_root(ACP)
    with Daemon.fresh(tmp_path_factory.mktemp("npm"), routes=ROUTES, config=CONFIG) as daemon:
        yield daemon


class Editor:
    """An editor that has begun a conversation with the agent."""

    def __init__(self, peer: Peer, can_show_forms: bool) -> None:
        self.peer = peer
        able = {"elicitation": {"form": {}}} if can_show_forms else {}
        begun = self.call("initialize", protocolVersion=1, clientCapabilities=able)
        assert begun["agentInfo"]["name"] == "kheish" and begun["agentCapabilities"]["loadSession"]

    def call(self, method: str, **params: Any) -> Any:
        answer = self.peer.answer(self.peer.begin(method=method, params=params))
        assert "error" not in answer, answer
        return answer["result"]

    def route(self, session: str, route: str) -> None:
        self.call("session/set_config_option", sessionId=session, configId="route", value=route)

    def prompt(self, session: str, text: str) -> int:
        params = {"sessionId": session, "prompt": [{"type": "text", "text": text}]}
        return self.peer.begin(method="session/prompt", params=params)

    def asked(self, kind: str = "permission") -> Line:
        """The newest question to the user, once there is one that was not answered."""
        return self.peer.find(lambda line: line.get("kind") == kind and line["asked"] > self.done)

    done = 0

    def choose(self, asked: Line, **result: Any) -> None:
        self.done = asked["asked"]
        self.peer.send(answers=asked["asked"], params=result)

    def updates(self, kind: str) -> list[Line]:
        found = [line["update"] for line in self.peer.lines if "update" in line]
        return [one for one in found if one["sessionUpdate"] == kind]

    def text(self, kind: str = "agent_message_chunk") -> str:
        return "".join(one["content"]["text"] for one in self.updates(kind))


@pytest.fixture
def editor(daemon: Daemon) -> Iterator[Editor]:
    with edits(daemon) as peer:
        yield Editor(peer, can_show_forms=True)


def edits(daemon: Daemon, *words: str) -> AbstractContextManager[Peer]:
    command = [sys.executable, "-m", "kheish.cli.main", "acp", *words, "--state-root", str(daemon.root)]
    environment = {**os.environ, **daemon.environment(), "PATH": os.environ["PATH"]}
    return running("acp.mjs", str(package_root(ACP)), *command, env=environment)


def selected(option: str) -> dict[str, Any]:
    return {"outcome": {"outcome": "selected", "optionId": option}}


def test_an_editor_allows_denies_answers_and_cancels(daemon: Daemon, editor: Editor) -> None:
    id = editor.call("session/new", cwd=str(daemon.workspace), mcpServers=[])["sessionId"]
    for decision, status in (("allow", "completed"), ("deny", "failed")):
        prompt = editor.prompt(id, decision)
        asked = editor.asked()
        assert asked["params"]["toolCall"]["title"] == "bash: id -u"
        assert asked["params"]["toolCall"]["toolCallId"] == editor.updates("tool_call")[-1]["toolCallId"]
        editor.choose(asked, **selected(decision))
        assert editor.peer.answer(prompt)["result"]["stopReason"] == "end_turn"
        assert editor.updates("tool_call_update")[-1]["status"] == status
    assert len({one["toolCallId"] for one in editor.updates("tool_call")}) == 2
    approvals = daemon.client.approvals.list(session=id)["items"]
    assert [(one["status"], one["decisions"][0]["via"]) for one in approvals] == [("denied", "acp"), ("allowed", "acp")]

    editor.route(id, "question")
    for answer, text in (({"action": "accept", "content": {"q1": "b"}}, "right"), ({"action": "decline"}, "declined")):
        prompt = editor.prompt(id, "ask me")
        editor.choose(editor.asked("elicitation"), **answer)
        assert editor.peer.answer(prompt)["result"]["stopReason"] == "end_turn" and text in editor.text()

    editor.route(id, "stuck")
    prompt = editor.prompt(id, "go")
    until(lambda: daemon.client.runs.list(session=id, status="running")["items"])
    editor.peer.send(method="session/cancel", params={"sessionId": id})
    assert editor.peer.answer(prompt)["result"]["stopReason"] == "cancelled"
    listed = editor.call("session/list", cwd=str(daemon.workspace))["sessions"]
    assert [one["sessionId"] for one in listed] == [id]


def test_cancelling_withdraws_what_the_run_asks(daemon: Daemon, editor: Editor) -> None:
    id = editor.call("session/new", cwd=str(daemon.workspace), mcpServers=[])["sessionId"]
    prompt = editor.prompt(id, "go")
    asked = editor.asked()
    editor.peer.send(method="session/cancel", params={"sessionId": id})
    editor.choose(asked, outcome={"outcome": "cancelled"})
    assert editor.peer.answer(prompt)["result"]["stopReason"] == "cancelled"
    assert [one["status"] for one in daemon.client.approvals.list(session=id)["items"]] == ["cancelled"]
    assert "still open" not in editor.text()

    prompt = editor.prompt(id, "once more")
    asked = editor.asked()
    (approval,) = daemon.client.approvals.list(session=id, status="pending")["items"]
    daemon.client.approvals.resolve(approval["approval_id"], "deny", reason="elsewhere")
    assert editor.peer.answer(prompt)["result"]["stopReason"] == "end_turn"
    editor.peer.find(lambda line: line.get("withdrawn") == asked["asked"])
    editor.done = asked["asked"]
    prompt = editor.prompt(id, "and again")
    asked = editor.asked()
    daemon.client.runs.get(daemon.client.sessions.get(id)["active_run_id"]).cancel()
    assert editor.peer.answer(prompt)["result"]["stopReason"] == "cancelled"
    editor.peer.find(lambda line: line.get("withdrawn") == asked["asked"])


def test_an_editor_continues_over_a_killed_daemon_and_loads(fresh: Callable[..., Daemon]) -> None:
    package_root(ACP)
    daemon = fresh(routes=ROUTES, config=CONFIG)
    folder = str(daemon.workspace)
    with edits(daemon) as peer:
        editor = Editor(peer, can_show_forms=False)
        id = editor.call("session/new", cwd=folder, mcpServers=[])["sessionId"]
        editor.route(id, "long")
        assert editor.peer.answer(editor.prompt(id, "tell"))["result"]["stopReason"] == "end_turn"
        editor.route(id, "asks")
        prompt = editor.prompt(id, "look")
        asked = editor.asked()
        daemon.kill9()
        editor.choose(asked, **selected("allow"))  # the answer waits for the daemon
        daemon.start()
        assert editor.peer.answer(prompt)["result"]["stopReason"] == "end_turn" and "it said" in editor.text()
        editor.prompt(id, "once more")
        editor.asked()
    daemon.restart()
    with edits(daemon) as peer:
        loaded = Editor(peer, can_show_forms=False)
        loaded.call("session/load", sessionId=id, cwd=folder, mcpServers=[])
        assert loaded.text("user_message_chunk") == "telllookonce more"
        assert LONG in loaded.text() and "it said" in loaded.text()
        asked = loaded.asked()
        assert asked["params"]["toolCall"]["toolCallId"] == loaded.updates("tool_call")[-1]["toolCallId"]
        loaded.choose(asked, **selected("allow"))
        until(lambda: loaded.text().count("it said") == 2)
    assert [run["status"] for run in daemon.client.runs.list(session=id)["items"]] == ["completed"] * 3


def test_a_limited_token_edits_in_its_sessions(daemon: Daemon) -> None:
    token = daemon.client.tokens.create("editor", "operator", sessions=["mine-*"])["token"]
    daemon.client.sessions.create("theirs")
    command = [sys.executable, "-m", "kheish.cli.main", "acp", "--session", "mine-1", "--url", daemon.url]
    environment = {**os.environ, **daemon.environment(), "PATH": os.environ["PATH"], "KHEISH_TOKEN": token}
    with running("acp.mjs", str(package_root(ACP)), *command, env=environment) as peer:
        editor = Editor(peer, can_show_forms=True)
        assert editor.call("session/new", cwd=str(daemon.workspace), mcpServers=[])["sessionId"] == "mine-1"
        assert [one["sessionId"] for one in editor.call("session/list")["sessions"]] == ["mine-1"]
        prompt = editor.prompt("mine-1", "look")
        editor.choose(editor.asked(), **selected("allow"))
        assert editor.peer.answer(prompt)["result"]["stopReason"] == "end_turn"
        until(lambda: f"works in {daemon.client.sessions.get('mine-1')['workspace']}" in editor.text())
        refused = editor.peer.answer(
            editor.peer.begin(method="session/load", params={"sessionId": "theirs", "cwd": "/", "mcpServers": []})
        )
        assert "no access" in refused["error"]["message"]


def test_a_user_interface_is_interrupted_and_resumes(daemon: Daemon) -> None:
    words = (str(package_root(AGUI)), f"{daemon.url}/agui", daemon.token, "thread-1")
    with running("agui.mjs", *words) as peer:
        shown = peer.answer(peer.begin(text="look"))
        (interrupt,) = shown["interrupts"]
        assert interrupt["reason"] == "kheish:approval" and "id -u" in interrupt["message"]
        allow = {interrupt["id"]: {"status": "resolved", "payload": {"decision": "allow"}}}
        done = peer.answer(peer.begin(answers=allow))
        assert done["result"].startswith("it said") and done["interrupts"] == []
        assert [one["role"] for one in done["messages"]] == ["user", "assistant", "tool", "assistant"]
        call, result = done["messages"][1]["toolCalls"][0], done["messages"][2]
        assert call["function"]["name"] == "bash" and result["toolCallId"] == call["id"]

        (interrupt,) = peer.answer(peer.begin(text="which?", route="question"))["interrupts"]
        declined = peer.answer(peer.begin(answers={interrupt["id"]: {"status": "cancelled"}}))
        assert "declined" in declined["result"] or "dismissed" in declined["result"]
    runs = daemon.client.runs.list(session="thread-1")["items"]
    assert [run["status"] for run in runs] == ["completed", "completed"]
