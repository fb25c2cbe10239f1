"""The daemon as an MCP server: the official SDK's client in both eras, over stdio and HTTP, and a real daemon."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from mcp.client.subscriptions import ResourcesListChanged, ResourceUpdated, SubscriptionLost, ToolsListChanged
from mcp.shared.exceptions import MCPError

from kheish.errors import Forbidden, PersonRequired
from tests.support import mcp_clients as clients
from tests.support.daemon import Daemon, allow, ask, bash, until
from tests.support.mcp_clients import User, modern, over_http, over_stdio, token, tool
from tests.support.released import release

ROUTES: dict[str, Any] = {
    "hello": [{"text": "hello {{input}}"}],
    "asks": [bash("id -u"), {"text": "it said {{last_result}}"}],
    "which": [ask("Which one?", ("red", "blue")), {"text": "they said {{last_result}}"}],
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon.fresh(tmp_path_factory.mktemp("served"), permissions=allow("sleep *"), routes=ROUTES) as daemon:
        yield daemon


OVER = [(over_http, "legacy"), (over_http, "auto"), (over_stdio, "legacy"), (over_stdio, "auto")]


@pytest.mark.parametrize(("over", "mode"), OVER, ids=["http-legacy", "http-modern", "stdio-legacy", "stdio-modern"])
def test_the_official_client_starts_waits_answers_and_reads(daemon: Daemon, over: Any, mode: str) -> None:
    user, id = User(), f"{over.__name__}-{mode}"
    reports: list[str] = []

    async def note(passed: float, most: float | None, message: str | None) -> None:
        reports.append(str(message))

    async def drive() -> None:
        async with over(daemon, mode, user) as client:
            assert client.protocol_version == ("2025-11-25" if mode == "legacy" else "2026-07-28")
            names = [one.name for one in (await client.list_tools()).tools]
            assert "start_run" in names and "resolve_approval" not in names
            started = await tool(client, "start_run", content="world", session=id, route="hello")
            assert started["status"] == "queued"
            ended = await client.call_tool("wait", {"id": started["run_id"]}, progress_callback=note)
            assert ended.structured_content["output"] == "hello world"
            assert json.loads(ended.content[0].text) == ended.structured_content
            for route, output in (("asks", "it said "), ("which", "they said H: red")):
                run = await tool(client, "start_run", content="go", session=id, route=route)
                ended = await tool(client, "wait", id=run["run_id"])
                assert ended["status"] == "completed" and ended["output"].startswith(output)
            text = (await tool(client, "read_session", session=id, limit=100))["text"]
            assert "approval allowed by token:local via mcp" in text
            [found] = (await tool(client, "search_session", session=id, query="world", limit=1))["items"]
            assert found["session_id"] == id
            assert id in {one["session_id"] for one in (await tool(client, "list_sessions", query="world"))["items"]}
            page = json.loads((await client.read_resource(f"kheish://sessions/{id}")).contents[0].text)
            assert page["runs"][0]["output"] == "they said H: red"

    asyncio.run(drive())
    assert "completed, 1 model calls, 0 tool calls" in reports
    approval, question = user.forms
    assert '"command": "id -u"' in approval.message and f"session {id}" in approval.message
    assert approval.requested_schema["required"] == ["decision"] and "Which one?" in question.message


def test_flows_are_started_awaited_and_read(daemon: Daemon) -> None:
    manifest = {"title": "Greet", "objective": "Greet {{inputs.name}}.", "inputs": {"name": {"type": "string"}},
                "phases": [{"id": "greet", "objective": "Greet.", "approval": "before"}]}  # fmt: skip
    release(daemon, "greet", manifest)
    daemon.client.sessions.create("flowing", route="hello")
    user = User()

    async def drive() -> None:
        async with over_http(daemon, "auto", user) as client:
            assert "greet" in {one["id"] for one in (await tool(client, "list_playbooks"))["items"]}
            shown = await tool(client, "get_playbook", playbook="greet")
            assert shown["versions"][0]["state"] == "active"
            flow = await tool(client, "start_flow", playbook="greet", inputs={"name": "Ada"}, session="flowing")
            ended = await tool(client, "wait", id=flow["flow_id"])
            assert ended["status"] == "succeeded", ended
            assert [one["flow_id"] for one in (await tool(client, "list_flows", session="flowing"))["items"]]
            uris = [one.uri for part in ("playbooks", "sessions", "flows")
                    for one in (await client.list_resources(cursor=part)).resources]  # fmt: skip
            assert {"kheish://playbooks/greet", f"kheish://flows/{flow['flow_id']}"} <= set(uris)
            contents = (await client.read_resource(f"kheish://flows/{flow['flow_id']}")).contents
            assert "Greet" in contents[1].text
            assert "objective: Greet" in (await client.read_resource("kheish://playbooks/greet")).contents[0].text

    asyncio.run(drive())
    assert len(user.forms) == 1 and "phase" in user.forms[0].message
    assert modern(daemon, "resources/read", {"uri": "kheish://playbooks/none"})["error"]["code"] == -32602


# --- forms ------------------------------------------------------------------------------------------------------------


def waiting_run(daemon: Daemon, session: str, route: str = "asks") -> tuple[str, str]:
    """A run that waits for an approval: the ids of both."""
    daemon.client.sessions.create(session, route=route)
    run_id = daemon.client.runs.start(session, "go").run_id
    return run_id, daemon.run(run_id, "waiting_for_approval")["pending_approvals"][0]


def test_what_another_user_answers_first_is_withdrawn_from_an_older_client(daemon: Daemon) -> None:
    run_id, approval_id = waiting_run(daemon, "elsewhere")

    async def never(context: Any, params: Any) -> Any:
        daemon.client.approvals.allow(approval_id)
        await asyncio.sleep(60)

    async def drive() -> dict[str, Any]:
        async with over_http(daemon, "legacy", never) as client:
            return await tool(client, "wait", id=run_id)

    assert asyncio.run(asyncio.wait_for(drive(), 30))["status"] == "completed"
    assert daemon.client.approvals.get(approval_id)["decisions"][0]["via"] == "api"


def test_a_form_that_is_declined_decides_nothing(daemon: Daemon) -> None:
    run_id, approval_id = waiting_run(daemon, "declined")

    async def drive(mode: str) -> dict[str, Any]:
        async with over_http(daemon, mode, User(lambda _: None)) as client:
            return await tool(client, "wait", id=run_id)

    for mode in ("legacy", "auto"):
        waited = asyncio.run(drive(mode))
        assert waited["status"] == "waiting_for_approval" and "left the form open" in waited["notes"][0]
    assert daemon.client.approvals.get(approval_id)["status"] == "pending"
    denied = User(lambda params: {"decision": "deny", "reason": "not today"})

    async def deny() -> dict[str, Any]:
        async with over_http(daemon, "auto", denied) as client:
            return await tool(client, "wait", id=run_id)

    asyncio.run(deny())
    [decision] = daemon.client.approvals.get(approval_id)["decisions"]
    assert (decision["decision"], decision["via"], decision["reason"]) == ("deny", "mcp", "not today")


def test_an_answer_counts_only_for_a_form_that_this_call_has_shown(daemon: Daemon) -> None:
    run_id, approval_id = waiting_run(daemon, "shown")
    _, other = waiting_run(daemon, "hidden")
    call = {"name": "wait", "arguments": {"id": run_id, "seconds": 1}}
    first = modern(daemon, "tools/call", call)["result"]
    assert first["resultType"] == "input_required" and list(first["inputRequests"]) == [approval_id]
    yes = {"action": "accept", "content": {"decision": "allow"}}
    state = first["requestState"]
    assert approval_id not in state, "it is sealed"
    stranger = token(daemon, "stranger", "operator")
    given = {"inputResponses": {approval_id: yes, other: yes}}
    for params, caller in (
        ({**call, **given, "requestState": state[:-4] + "AAAA"}, ""),
        ({**call, **given, "requestState": state}, stranger),
        ({"name": "wait", "arguments": {"id": run_id, "seconds": 2}, **given, "requestState": state}, ""),
    ):
        assert modern(daemon, "tools/call", params, token=caller)["error"]["code"] == -32602
    modern(daemon, "tools/call", {**call, **given})  # without state, nothing was shown
    assert daemon.client.approvals.get(approval_id)["status"] == "pending"
    done = modern(daemon, "tools/call", {**call, **given, "requestState": state})["result"]
    assert done["structuredContent"]["status"] == "completed"
    assert daemon.client.approvals.get(other)["status"] == "pending", "its form was not shown by this call"


def test_an_answer_by_mcp_is_of_no_person(daemon: Daemon) -> None:
    _, approval_id = waiting_run(daemon, "persons")
    ada = token(daemon, "ada", "operator", person="ada")
    answer = daemon.http(
        "POST", f"/v1/approvals/{approval_id}/resolve", {"decision": "allow", "via": "mcp"},
        headers={"authorization": f"Bearer {ada}"},
    ).json()  # fmt: skip
    assert answer["decisions"][0]["person"] is None and answer["decisions"][0]["via"] == "mcp"


def test_two_persons_are_never_asked_by_a_form(fresh: Any) -> None:
    rule = {"tool": "bash", "match": "id *", "decision": "ask", "reason": "two of us"}
    permissions = {"mode": "default", "rules": [rule], "approvals": {"required": 2}}
    daemon = fresh(permissions=permissions, routes={"asks": ROUTES["asks"]})
    run_id, approval_id = waiting_run(daemon, "s")
    user = User()

    async def drive() -> dict[str, Any]:
        async with over_http(daemon, "legacy", user) as client:
            return await tool(client, "wait", id=run_id)

    waited = asyncio.run(drive())
    assert not user.forms and "needs 2 persons" in " ".join(waited["notes"])
    with pytest.raises(PersonRequired):
        daemon.client.approvals.resolve(approval_id, "allow", via="mcp")
    assert daemon.client.approvals.resolve(approval_id, "deny", via="mcp")["status"] == "denied"


def test_a_tool_answers_only_if_the_operator_says_so(fresh: Any) -> None:
    daemon = fresh(routes={"asks": ROUTES["asks"]})
    run_id, approval_id = waiting_run(daemon, "s")
    call = {"name": "resolve_approval", "arguments": {"approval_id": approval_id, "decision": "allow"}}
    assert modern(daemon, "tools/call", call)["error"]["message"] == "Unknown tool: resolve_approval"
    with pytest.raises(Forbidden, match="approvals: tool"):
        daemon.client.approvals.resolve(approval_id, "allow", via="mcp_tool")
    daemon.write("kheish.yaml", {"sandbox": {"mode": "off"}, "shutdown_grace": "1s", "mcp": {"approvals": "tool"}})
    until(lambda: daemon.client.config()["mcp"]["approvals"] == "tool")
    names = [one["name"] for one in modern(daemon, "tools/list", {})["result"]["tools"]]
    assert {"resolve_approval", "answer_question"} <= set(names)
    resolved = modern(daemon, "tools/call", call)["result"]["structuredContent"]
    assert resolved["status"] == "allowed" and resolved["decisions"][0]["via"] == "mcp_tool"
    assert daemon.run(run_id)["status"] == "completed"
    reader = token(daemon, "reader", "reader")
    names = [one["name"] for one in modern(daemon, "tools/list", {}, token=reader)["result"]["tools"]]
    assert "resolve_approval" not in names
    assert "error" in modern(daemon, "tools/call", call, token=reader)


# --- changes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("over", [over_http, over_stdio])
def test_a_modern_client_is_told_what_changes(fresh: Any, over: Any) -> None:
    daemon = fresh(routes={"hello": ROUTES["hello"]})
    daemon.client.sessions.create("watched", route="hello")
    uri = "kheish://sessions/watched"

    async def drive() -> None:
        async with over(daemon, "auto") as client:
            wanted = {"tools_list_changed": True, "resources_list_changed": True, "prompts_list_changed": True}
            watched = [uri, "kheish://flows/%2e%2e%2f", "file:///etc/passwd", "kheish://sessions/"]
            async with client.listen(**wanted, resource_subscriptions=watched) as events:
                honored = events.honored
                assert (honored.tools_list_changed, honored.resources_list_changed) == (True, True)
                assert (honored.prompts_list_changed, honored.resource_subscriptions) == (None, [uri])
                run = await asyncio.to_thread(daemon.client.runs.start, "watched", "x")
                assert await anext(events) == ResourceUpdated(uri)
                await asyncio.to_thread(daemon.run, run.run_id)
                await asyncio.to_thread(daemon.client.sessions.create, "another", route="hello")
                while await anext(events) != ResourcesListChanged():
                    pass
                file = {"sandbox": {"mode": "off"}, "shutdown_grace": "1s", "mcp": {"approvals": "tool"}}
                daemon.write("kheish.yaml", file)
                while await anext(events) != ToolsListChanged():
                    pass
                assert "resolve_approval" in {one.name for one in (await client.list_tools()).tools}

    asyncio.run(asyncio.wait_for(drive(), 60))


@pytest.mark.filterwarnings("ignore:resources/:mcp.shared.exceptions.MCPDeprecationWarning")  # 2026-07-28 has none
@pytest.mark.parametrize("over", [over_http, over_stdio])
def test_a_client_of_the_handshake_is_told_what_changes(fresh: Any, over: Any) -> None:
    daemon = fresh(routes={"hello": ROUTES["hello"]})
    daemon.client.sessions.create("watched", route="hello")
    uri, heard = "kheish://sessions/watched", asyncio.Queue[Any]()

    async def note(message: Any) -> None:
        await heard.put((message.method.removeprefix("notifications/"), getattr(message.params, "uri", None)))

    async def until_heard(method: str, uri: str | None = None) -> None:
        while await heard.get() != (method, uri):
            pass

    async def drive() -> None:
        async with over(daemon, "legacy", heard=note) as client:
            can = client.server_capabilities
            assert can.tools.list_changed and can.resources.list_changed and can.resources.subscribe
            for wrong in ("file:///etc/passwd", "kheish://flows/%2e%2e%2f"):
                with pytest.raises(MCPError, match="to subscribe to"):
                    await client.subscribe_resource(wrong)
            await client.subscribe_resource(uri)
            run = await asyncio.to_thread(daemon.client.runs.start, "watched", "x")
            await until_heard("resources/updated", uri)
            await asyncio.to_thread(daemon.run, run.run_id)
            await asyncio.to_thread(daemon.client.sessions.create, "another", route="hello")
            await until_heard("resources/list_changed")
            await client.unsubscribe_resource(uri)
            while not heard.empty():
                heard.get_nowait()
            await asyncio.to_thread(daemon.client.runs.start, "watched", "y", wait="20s")
            file = {"sandbox": {"mode": "off"}, "shutdown_grace": "1s", "mcp": {"approvals": "tool"}}
            daemon.write("kheish.yaml", file)
            while (found := await heard.get()) != ("tools/list_changed", None):
                assert found != ("resources/updated", uri), "it is not subscribed to any more"

    asyncio.run(asyncio.wait_for(drive(), 60))


async def subscribe_with_limits(daemon: Daemon) -> None:
    """Subscribe as a client of the handshake with a token for the session `own`."""
    limited = token(daemon, "limited-subscriber", "operator", sessions=["own"])
    heard = asyncio.Queue[str]()

    async def note(message: Any) -> None:
        await heard.put(f"{message.method} {getattr(message.params, 'uri', '')}")

    async with over_http(daemon, "legacy", token=limited, heard=note) as client:
        for refused in ("kheish://sessions/others", "kheish://playbooks/incident-triage"):
            with pytest.raises(MCPError):
                await client.subscribe_resource(refused)
        await client.subscribe_resource("kheish://sessions/own")
        for id in ("others", "own"):
            await asyncio.to_thread(daemon.client.runs.start, id, "x", wait="20s")
        assert await heard.get() == "notifications/resources/updated kheish://sessions/own"
        await client.unsubscribe_resource("kheish://sessions/own")
        assert (await client.list_tools()).tools


@pytest.mark.filterwarnings("ignore:resources/:mcp.shared.exceptions.MCPDeprecationWarning")
def test_a_limited_token_is_told_of_its_sessions_only(daemon: Daemon) -> None:
    for id in ("own", "others"):
        daemon.client.sessions.create(id, route="hello")
    limited = token(daemon, "limited-listener", "operator", sessions=["own"])

    async def drive() -> None:
        async with over_http(daemon, "auto", token=limited) as client:
            own = {"resources_list_changed": True, "resource_subscriptions": ["kheish://sessions/own"]}
            async with client.listen(**own) as events:
                assert events.honored.resources_list_changed is None
                for id in ("others", "own"):
                    await asyncio.to_thread(daemon.client.runs.start, id, "x")
                assert await anext(events) == ResourceUpdated("kheish://sessions/own")
                await asyncio.to_thread(daemon.client.tokens.revoke, "limited-listener")
                with pytest.raises((StopAsyncIteration, SubscriptionLost)):
                    while True:
                        await anext(events)

    asyncio.run(asyncio.wait_for(drive(), 60))
    asyncio.run(asyncio.wait_for(subscribe_with_limits(daemon), 60))
    stranger = token(daemon, "limited-stranger", "operator", sessions=["own"])
    others = {"notifications": {"resourceSubscriptions": ["kheish://sessions/others"]}}
    refused = modern(daemon, "subscriptions/listen", others, token=stranger)["error"]
    assert "no access" in refused["message"] and refused["data"]["code"] == "forbidden"


# --- tasks ------------------------------------------------------------------------------------------------------------


def test_a_run_is_a_task_whose_id_is_its_own(daemon: Daemon) -> None:
    start = {"name": "start_run", "arguments": {"content": "go", "session": "tasks", "route": "asks"}}
    assert modern(daemon, "tools/call", start)["result"]["structuredContent"]["run_id"], "without tasks: a result"
    start["arguments"] = {**start["arguments"], "session": "tasks-2"}
    made = modern(daemon, "tools/call", start, tasks=True)["result"]
    task_id = made["taskId"]
    assert made["resultType"] == "task" and made["status"] == "working" and task_id.startswith("run_")
    daemon.run(task_id, "waiting_for_approval")
    found = modern(daemon, "tasks/get", {"taskId": task_id}, tasks=True)["result"]
    [(key, request)] = found["inputRequests"].items()
    assert found["status"] == "input_required" and request["method"] == "elicitation/create"
    assert "id -u" in request["params"]["message"]
    bad = {"taskId": task_id, "inputResponses": {key: {"action": "accept", "content": {"decision": "maybe"}}}}
    assert modern(daemon, "tasks/update", bad, tasks=True)["error"]["code"] == -32602
    good = {"taskId": task_id, "inputResponses": {key: {"action": "accept", "content": {"decision": "allow"}}, "x": {}}}
    assert modern(daemon, "tasks/update", good, tasks=True)["result"]["resultType"] == "complete"
    daemon.run(task_id)
    found = modern(daemon, "tasks/get", {"taskId": task_id}, tasks=True)["result"]
    assert found["status"] == "completed" and found["result"]["structuredContent"]["output"].startswith("it said ")
    start["arguments"] = {"content": "go", "session": "tasks-3", "route": "asks"}
    other = modern(daemon, "tools/call", start, tasks=True)["result"]["taskId"]
    assert "error" not in modern(daemon, "tasks/cancel", {"taskId": other}, tasks=True)
    until(
        lambda: modern(daemon, "tasks/get", {"taskId": other}, tasks=True)["result"]["status"] == "cancelled",
        what="the task has stopped",
    )


def test_requests_about_tasks_need_the_extension_and_a_task(daemon: Daemon) -> None:
    assert modern(daemon, "tasks/get", {"taskId": "run_x"})["error"]["code"] == -32021
    assert modern(daemon, "tasks/get", {"taskId": "run_x"}, tasks=True)["error"]["code"] == -32602
    assert modern(daemon, "tasks/cancel", {"taskId": "other"}, tasks=True)["error"]["code"] == -32602


def test_an_agent_of_kheish_uses_kheish_as_a_server_with_tasks(daemon: Daemon) -> None:
    """The daemon's own client follows the task of its own server, and what that asks becomes a question."""
    daemon.client.secrets.put("self.token", daemon.token)
    daemon.write("permissions.yaml", {"mode": "default", "rules": [{"tool": "mcp__*", "decision": "allow"}]})
    until(lambda: "mcp__*" in daemon.http("GET", "/v1/permissions").text, what="in force")
    file = {"url": f"{daemon.url}/mcp", "auth": {"bearer": "self.token"}, "start_timeout": "40s"}
    assert daemon.http("PUT", "/v1/mcp/self", file).status_code == 201
    call = {"name": "mcp__self__start_run", "arguments": {"content": "go", "session": "inner", "route": "asks"}}
    turns = [{"tool_calls": [call]}, {"text": "{{last_result}}"}]
    daemon.http("PUT", "/v1/routes/outer", {"driver": "scripted", "script": {"turns": turns}})
    daemon.client.sessions.create("outer", route="outer")
    run = daemon.client.runs.start("outer", "go")
    found = daemon.run(run.run_id, "waiting_for_question", "failed", "completed")
    assert found["status"] == "waiting_for_question", found
    question = daemon.client.questions.get(found["pending_questions"][0])
    assert question["purpose"] == "elicitation" and "id -u" in question["questions"][0]["text"]
    answers = {one["id"]: {"selected": [one["options"][0]["id"]], "text": None} for one in question["questions"][:1]}
    answers |= {one["id"]: {"selected": ["-"], "text": None} for one in question["questions"][1:]}
    daemon.client.questions.answer(question["question_id"], answers)
    assert "it said" in daemon.run(run.run_id)["output"]


# --- who may ----------------------------------------------------------------------------------------------------------


def test_each_tool_needs_what_its_operation_needs(daemon: Daemon) -> None:
    run_id, approval_id = waiting_run(daemon, "roles")
    reader, approver = token(daemon, "a-reader", "reader"), token(daemon, "an-approver", "approver")
    start = {"name": "start_run", "arguments": {"content": "go", "session": "roles"}}
    cancel = {"name": "cancel", "arguments": {"id": run_id}}
    for caller in (reader, approver):
        for call in (start, cancel):
            refused = modern(daemon, "tools/call", call, token=caller)["result"]
            assert refused["isError"] and "(forbidden)" in refused["content"][0]["text"]
    got = modern(daemon, "tools/call", {"name": "get_run", "arguments": {"run_id": run_id}}, token=reader)["result"]
    assert got["structuredContent"]["status"] == "waiting_for_approval"
    wait = {"name": "wait", "arguments": {"id": run_id}}
    waited = modern(daemon, "tools/call", wait, token=reader)["result"]
    assert "this token may not answer" in waited["structuredContent"]["notes"][0], "a reader sees no form"
    listed = modern(daemon, "tools/call", {"name": "list_waiting", "arguments": {}}, token=approver)["result"]
    assert approval_id in {one["approval_id"] for one in listed["structuredContent"]["approvals"]}
    task = {"taskId": run_id, "inputResponses": {approval_id: {"action": "accept", "content": {"decision": "allow"}}}}
    modern(daemon, "tasks/update", task, token=reader, tasks=True)
    assert daemon.client.approvals.get(approval_id)["status"] == "pending"
    hook = token(daemon, "hook", "ingress:hook")
    assert clients.post(daemon, {}, {}, hook).status_code == 403


def test_a_limited_token_sees_its_sessions_only(daemon: Daemon) -> None:
    run_id, _ = waiting_run(daemon, "mine")
    other, _ = waiting_run(daemon, "theirs")
    limited = token(daemon, "limited", "operator", sessions=["mine"])

    def call(name: str, **arguments: Any) -> Any:
        return modern(daemon, "tools/call", {"name": name, "arguments": arguments}, token=limited)["result"]

    assert call("get_run", run_id=run_id)["structuredContent"]["session_id"] == "mine"
    assert call("list_waiting", session="mine")["structuredContent"]["approvals"]
    listed = call("list_sessions")["structuredContent"]
    assert "theirs" not in str(listed) and "mine" in str(listed)
    for name, arguments in (
        ("get_run", {"run_id": other}),
        ("wait", {"id": other}),
        ("cancel", {"id": other}),
        ("read_session", {"session": "theirs"}),
        ("list_runs", {"session": "theirs"}),
        ("list_runs", {}),
        ("list_waiting", {}),
        ("start_run", {"session": "theirs", "content": "x"}),
        ("start_run", {"content": "x"}),
    ):
        assert call(name, **arguments)["isError"], name
    assert modern(daemon, "resources/read", {"uri": "kheish://sessions/theirs"}, token=limited)["error"]
    pages = [
        modern(daemon, "resources/list", {"cursor": one}, token=limited)["result"] for one in ("sessions", "flows")
    ]
    assert [[one["name"] for one in page["resources"]] for page in pages] == [["mine"], []]
    assert modern(daemon, "tasks/get", {"taskId": other}, token=limited, tasks=True)["error"]["code"] == -32602


def test_a_token_of_a_project_sees_its_sessions_only(daemon: Daemon) -> None:
    daemon.client.sessions.create("of-p", route="hello")
    daemon.client.sessions.create("of-none", route="hello")
    member = {"member": "of-p", "kind": "session", "session": "of-p"}
    daemon.client.definitions("projects").put("p", {"title": "P", "members": [member]})
    limited = token(daemon, "project", "operator", projects=["p"])

    def call(name: str, **arguments: Any) -> Any:
        return modern(daemon, "tools/call", {"name": name, "arguments": arguments}, token=limited)["result"]

    run = call("start_run", session="of-p", content="x")["structuredContent"]
    assert call("wait", id=run["run_id"])["structuredContent"]["output"] == "hello x"
    assert call("start_run", session="of-none", content="x")["isError"]
    assert call("read_session", session="of-none")["isError"]
