"""`kheish acp` with the library's own client side: prompts, permissions, questions, cancelling, loading."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import acp
import pytest
from acp.schema import (
    AcceptElicitationResponse,
    AllowedOutcome,
    ClientCapabilities,
    DeniedOutcome,
    ElicitationCapabilities,
    ElicitationFormCapabilities,
    EnvVariable,
    McpServerStdio,
    RequestPermissionResponse,
)

from tests.support.daemon import Daemon, ask, bash, until

ROUTES: dict[str, Any] = {
    "hello": [{"text": "hello {{input}}", "chunks": 3}],
    "asks": [{"text": "I look.", **bash("id -u")}, {"text": "it said {{last_result}}"}],
    "question": [ask("Which way?", ["left", "right"]), {"text": "so {{last_result}}"}],
    "stuck": [{"text": "never", "delay": "60s"}],
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    config = {"default_route": "hello", "sandbox": {"mode": "off"}, "shutdown_grace": "1s"}
    with Daemon.fresh(tmp_path_factory.mktemp("acp"), routes=ROUTES, config=config) as daemon:
        yield daemon


class Editor(acp.Client):
    """An editor that keeps what it is shown. `decision` is its user's; None: the user does not look."""

    def __init__(self, decision: str | None = "allow") -> None:
        self.decision = decision
        self.updates: list[Any] = []
        self.asked: list[Any] = []
        self.withdrawn = asyncio.Event()
        self.seen = asyncio.Event()

    def notice(self, event: Any) -> None:
        """See each message; the library has no handler for withdrawn requests."""
        if event.message.get("method") == "$/cancel_request":
            self.withdrawn.set()

    async def session_update(self, session_id: str, update: Any, **_: Any) -> None:
        self.updates.append(update)
        self.seen.set()

    async def request_permission(self, session_id: str, tool_call: Any, options: Any, **_: Any) -> Any:
        self.asked.append(tool_call)
        self.seen.set()
        if self.decision is None:
            await asyncio.Event().wait()
        chosen = DeniedOutcome(outcome="cancelled") if self.decision == "" else AllowedOutcome(
            outcome="selected", option_id=self.decision or ""
        )  # fmt: skip
        return RequestPermissionResponse(outcome=chosen)

    async def create_elicitation(self, message: str, mode: Any, **_: Any) -> Any:
        self.asked.append((message, mode))
        return AcceptElicitationResponse(action="accept", content={"q1": "b"})

    def text(self, kind: str = "agent_message_chunk") -> str:
        return "".join(one.content.text for one in self.updates if one.session_update == kind)

    def statuses(self) -> list[str]:
        return [one.status for one in self.updates if one.session_update in ("tool_call", "tool_call_update")]


@asynccontextmanager
async def connected(daemon: Daemon, editor: Editor, *words: str, forms: bool = True) -> AsyncIterator[Any]:
    command = [sys.executable, "-m", "kheish.cli.main", "acp", *words, "--state-root", str(daemon.root)]
    environment = {**os.environ, **daemon.environment()}
    async with acp.spawn_agent_process(
        editor, *command, env=environment, use_unstable_protocol=True, observers=[editor.notice]
    ) as (agent, _):
        able = ElicitationCapabilities(form=ElicitationFormCapabilities()) if forms else None
        begun = await agent.initialize(protocol_version=1, client_capabilities=ClientCapabilities(elicitation=able))
        assert begun.agent_info.name == "kheish" and begun.agent_capabilities.load_session
        async with asyncio.timeout(60):
            yield agent


async def test_an_editor_works_with_sessions_of_the_daemon(daemon: Daemon) -> None:
    editor = Editor()
    folder = daemon.workspace / "project"
    folder.mkdir()
    server = McpServerStdio(name="theirs", command="true", args=[], env=[])
    async with connected(daemon, editor, "--session", "edit-1") as agent:
        made = await agent.new_session(cwd=str(folder), mcp_servers=[server])
        id = made.session_id
        assert id == "edit-1" and daemon.client.sessions.get(id)["workspace"] == str(folder)
        assert made.modes.current_mode_id == "default" and "bypass" not in {
            one.id for one in made.modes.available_modes
        }
        route = made.config_options[0]
        assert {"hello", "asks", "default"} <= {one.value for one in route.options}

        done = await agent.prompt(session_id=id, prompt=[acp.text_block("you")])
        assert done.stop_reason == "end_turn" and "hello you" in editor.text()
        assert "MCP servers of the editor are not used: theirs" in editor.text()

        await agent.set_session_mode(session_id=id, mode_id="plan")
        assert daemon.client.sessions.get(id)["permission_mode"] == "plan"
        await agent.set_session_mode(session_id=id, mode_id="default")
        set_ = await agent.set_config_option(session_id=id, config_id="route", value="asks")
        assert set_.config_options[0].current_value == "asks"

        await agent.prompt(session_id=id, prompt=[acp.text_block("look")])
        assert editor.asked[0].title == "bash: id -u" and "it said" in editor.text()
        assert editor.statuses() == ["pending", "in_progress", "completed"]
        (approval,) = daemon.client.approvals.list(session=id)["items"]
        decision = approval["decisions"][0]
        assert (decision["decision"], decision["via"], decision["person"]) == ("allow", "acp", None)

        await agent.set_config_option(session_id=id, config_id="route", value="question")
        await agent.prompt(session_id=id, prompt=[acp.text_block("ask me")])
        assert "Which way?" in editor.asked[1][0] and "right" in editor.text()

        fork = (await agent.fork_session(session_id=id, cwd=str(folder))).session_id
        await agent.set_config_option(session_id=fork, config_id="route", value="hello")
        await agent.prompt(session_id=fork, prompt=[acp.text_block("fork")])
        loaded, again, forked = Editor(), id, Editor()
        listed = await agent.list_sessions(cwd=str(folder))
        assert {one.session_id for one in listed.sessions} == {id, fork}
        with pytest.raises(acp.RequestError) as refused:
            await agent.load_session(cwd=str(folder), session_id="nothing", mcp_servers=[])
        assert "nothing" in str(refused.value)
    async with connected(daemon, loaded) as agent:
        await agent.load_session(cwd=str(folder), session_id=again, mcp_servers=[])
        assert loaded.text("user_message_chunk") == "youlookask me"
        assert "hello you" in loaded.text() and "it said" in loaded.text()
        assert loaded.statuses().count("completed") == 2
    async with connected(daemon, forked) as agent:
        await agent.load_session(cwd=str(folder), session_id=fork, mcp_servers=[])
        assert forked.text("user_message_chunk") == "youlookask mefork" and forked.text().endswith("hello fork")


async def test_the_first_answer_counts_and_the_other_is_withdrawn(daemon: Daemon) -> None:
    editor = Editor(decision=None)
    async with connected(daemon, editor) as agent:
        id = (await agent.new_session(cwd=str(daemon.workspace), mcp_servers=[])).session_id
        await agent.set_config_option(session_id=id, config_id="route", value="asks")
        prompting = asyncio.ensure_future(agent.prompt(session_id=id, prompt=[acp.text_block("go")]))
        while not editor.asked:
            editor.seen.clear()
            await asyncio.wait_for(editor.seen.wait(), 30)
        (approval,) = daemon.client.approvals.list(session=id)["items"]
        daemon.client.approvals.resolve(approval["approval_id"], "deny", reason="no")
        done = await asyncio.wait_for(prompting, 30)
        assert done.stop_reason == "end_turn" and "failed" in editor.statuses()
        await asyncio.wait_for(editor.withdrawn.wait(), 30)
        assert len(daemon.client.approvals.get(approval["approval_id"])["decisions"]) == 1


async def test_closing_the_editor_stops_nothing_and_cancelling_does(daemon: Daemon) -> None:
    editor = Editor()
    async with connected(daemon, editor) as agent:
        id = (await agent.new_session(cwd=str(daemon.workspace), mcp_servers=[])).session_id
        await agent.set_config_option(session_id=id, config_id="route", value="stuck")
        prompting = asyncio.ensure_future(agent.prompt(session_id=id, prompt=[acp.text_block("go")]))
        await asyncio.to_thread(until, lambda: daemon.client.runs.list(session=id, status="running")["items"])
        prompting.cancel()
    (run,) = daemon.client.runs.list(session=id)["items"]
    assert run["status"] == "running", "the work goes on"
    async with connected(daemon, Editor()) as agent:
        await agent.load_session(cwd=str(daemon.workspace), session_id=id, mcp_servers=[])
        await agent.cancel(session_id=id)
        await asyncio.to_thread(until, lambda: daemon.client.runs.get(run["run_id"]).status == "cancelled")


async def test_an_editor_offers_a_server_that_is_added_on_agreement_only(daemon: Daemon) -> None:
    config = {"default_route": "hello", "sandbox": {"mode": "off"}, "shutdown_grace": "1s"}
    daemon.write("kheish.yaml", {**config, "acp": {"client_mcp": "ask"}})
    until(lambda: daemon.client.config()["acp"]["client_mcp"] == "ask")
    env = [EnvVariable(name="API_TOKEN", value="s3cr3t-of-the-editor")]
    server = McpServerStdio(name="Theirs", command="true", args=["--now"], env=env)
    for decision, ids in (("deny", set()), ("allow", {"theirs"})):
        editor = Editor(decision)
        async with connected(daemon, editor) as agent:
            await agent.new_session(cwd=str(daemon.workspace), mcp_servers=[server])
            await until_text(editor, "added")
        assert "unconfined: true --now" in editor.asked[0].title and len(editor.asked) == 1
        assert {one["id"] for one in daemon.client.mcp.list()["items"]} == ids
    assert "s3cr3t" not in (daemon.root / "mcp/theirs.yaml").read_text()
    again = Editor("deny")
    async with connected(daemon, again) as agent:
        made = await agent.new_session(cwd=str(daemon.workspace), mcp_servers=[server])
        await agent.prompt(session_id=made.session_id, prompt=[acp.text_block("you")])
    assert again.asked == [], "a server that is there is not offered again"


async def until_text(editor: Editor, text: str) -> None:
    while text not in editor.text():
        editor.seen.clear()
        await editor.seen.wait()
