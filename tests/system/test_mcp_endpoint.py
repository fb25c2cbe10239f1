"""The entrance of `/mcp`: who comes in, old versions, floods, and kills of the daemon."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.support import mcp_clients as clients
from tests.support.daemon import Daemon, allow, bash, until
from tests.support.mcp_clients import modern, over_http, over_stdio, token, tool

ROUTES: dict[str, Any] = {
    "hello": [{"text": "hello {{input}}"}],
    "asks": [bash("id -u"), {"text": "it said {{last_result}}"}],
    "slow": [bash("sleep 2"), {"text": "slept"}],
}
ACCEPT = {"accept": "application/json, text/event-stream"}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon.fresh(tmp_path_factory.mktemp("entrance"), permissions=allow("sleep *"), routes=ROUTES) as daemon:
        yield daemon


def initialize(daemon: Daemon, version: str = "2025-11-25", caller: str = "") -> httpx.Response:
    params = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    return clients.post(daemon, {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}, ACCEPT, caller)


def test_a_daemon_imports_the_sdk_at_the_first_request(fresh: Any) -> None:
    daemon = fresh(env={"PYTHONVERBOSE": "1"})  # its own process, which writes each import to stderr
    wait = until(lambda: "import 'kheish.api.mcp.serving'" in daemon.stderr(10_000_000))
    assert wait and "import 'mcp.server" not in daemon.stderr(10_000_000)
    assert clients.answered(initialize(daemon))["result"]["serverInfo"]["name"] == "kheish"
    assert "import 'mcp.server" in daemon.stderr(10_000_000)


def test_a_request_without_a_token_is_told_how_to_log_in(daemon: Daemon) -> None:
    url = f"{daemon.url}/mcp"
    for headers in ({}, {"authorization": "Bearer made-up"}, {"authorization": "Basic eDp5"}, {"cookie": "kheish=x"}):
        answer = httpx.post(url, json={}, headers=headers, trust_env=False, verify=False)
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == 'Bearer realm="kheish"'
        assert answer.json()["code"] == "unauthorized"
    for path in ("oauth-protected-resource", "oauth-protected-resource/mcp", "oauth-authorization-server", "openid-x"):
        assert httpx.get(f"{daemon.url}/.well-known/{path}", trust_env=False, verify=False).status_code == 404
    assert daemon.http("GET", "/.well-known/oauth-protected-resource").status_code == 404
    tried = daemon.client.audit.list(limit=50, action="auth")["items"]
    assert "POST /mcp: no token" in {one["data"]["target"] for one in tried}, "failures are audited"


def test_a_page_of_another_origin_and_a_foreign_host_are_refused(daemon: Daemon) -> None:
    def status(**headers: str) -> int:
        return clients.post(daemon, {}, {**ACCEPT, **headers}).status_code

    assert status(host="rebound.example.org") == 421
    assert status(origin="http://evil.example.org") == 403
    assert status() == 400


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
def test_each_version_of_the_handshake(daemon: Daemon, version: str) -> None:
    begun = initialize(daemon, version)
    assert clients.answered(begun)["result"]["protocolVersion"] == version
    headers = {**ACCEPT, "mcp-session-id": begun.headers["mcp-session-id"], "mcp-protocol-version": version}
    done = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert clients.post(daemon, done, headers).status_code == 202
    call = {"name": "start_run", "arguments": {"content": version, "session": f"v{version}", "route": "hello"}}
    message = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call}
    result = clients.answered(clients.post(daemon, message, headers))["result"]
    assert result["structuredContent"]["status"] == "queued" if version >= "2025-06-18" else result["content"]
    other = token(daemon, f"other-{version}", "operator")
    assert clients.post(daemon, message, headers, other).status_code == 404, "sessions belong to their token"
    ended = httpx.delete(f"{daemon.url}/mcp", headers={"authorization": f"Bearer {daemon.token}", **headers},
                         trust_env=False, verify=False)  # fmt: skip
    assert ended.status_code == 200
    assert clients.post(daemon, message, headers).status_code == 404


def test_a_version_that_does_not_exist_is_refused_with_those_that_do(daemon: Daemon) -> None:
    meta = {"io.modelcontextprotocol/protocolVersion": "2031-01-01", "io.modelcontextprotocol/clientCapabilities": {}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}
    answer = clients.post(daemon, body, {**ACCEPT, "mcp-protocol-version": "2031-01-01", "mcp-method": "tools/list"})
    assert answer.status_code == 400 and "2026-07-28" in answer.text


def test_bodies_are_bounded_before_they_are_parsed(daemon: Daemon) -> None:
    headers = {"authorization": f"Bearer {daemon.token}", "content-type": "application/json", **ACCEPT}

    def status(raw: bytes) -> int:
        return httpx.post(
            f"{daemon.url}/mcp", content=raw, headers=headers, trust_env=False, verify=False, timeout=30
        ).status_code

    assert status(b'{"a": "' + b"x" * 1_100_000 + b'"}') == 413
    assert status(b"[" * 5000 + b"]" * 5000) == 400
    assert status(b'{"a": ' * 100 + b"1" + b"}" * 100) == 400
    assert status(b'{"a": 1, "a": 2}') == 400
    assert status(b"{" + b",".join(b'"%d": 1' % n for n in range(60_000)) + b"}") == 413
    assert status(b"not json") == status(b"\xff\xfe") == 400


def test_headers_for_routers_must_say_what_the_body_says(daemon: Daemon) -> None:
    run_id = daemon.client.runs.start(daemon.client.sessions.create("routed", route="hello")["session_id"], "x").run_id
    meta = {
        "io.modelcontextprotocol/protocolVersion": clients.MODERN,
        "io.modelcontextprotocol/clientCapabilities": {"extensions": {clients.TASKS: {}}},
    }

    def code(method: str, params: dict[str, Any], **headers: str) -> int | None:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = clients.post(daemon, body, {**ACCEPT, "mcp-protocol-version": clients.MODERN, **named})
        found = clients.answered(answer).get("error")
        assert answer.status_code == (400 if found else 200)
        return found["code"] if found else None

    call, task = {"name": "list_playbooks", "arguments": {}}, {"taskId": run_id}
    assert code("tools/call", call, mcp_method="tools/call", mcp_name="list_playbooks") is None
    assert code("tools/call", call, mcp_method="tools/call", mcp_name="other") == -32020
    assert code("tools/call", call, mcp_method="tools/list", mcp_name="list_playbooks") == -32020
    assert code("tasks/get", task, mcp_method="tasks/get", mcp_name=run_id) is None
    assert code("tasks/get", task, mcp_method="tasks/get", mcp_name="run_other") == -32020
    assert code("tasks/get", task, mcp_method="tasks/get") == -32020


def test_a_flood_of_sessions_hurts_its_own_token_only(daemon: Daemon) -> None:
    flooding, other = token(daemon, "flooding", "operator"), token(daemon, "other", "operator")
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: initialize(daemon, caller=flooding).status_code, range(130)))
    assert statuses.count(200) == 100 and statuses.count(503) == 30
    assert initialize(daemon, caller=other).status_code == 200
    assert modern(daemon, "tools/list", {}, token=flooding)["result"]["tools"]
    daemon.client.tokens.revoke("flooding")
    assert initialize(daemon, caller=flooding).status_code == 401


def test_requests_count_against_the_rate_of_their_token(fresh: Any) -> None:
    daemon = fresh(config={"api": {"requests_per_second": 10}})
    limited = token(daemon, "limited", "reader")
    call = {"name": "list_playbooks", "arguments": {}}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: _said(daemon, call, limited), range(40)))
    assert "429" in answers or any("too_many" in one for one in answers)
    time.sleep(1.1)  # the bucket fills
    assert "incident-triage" in _said(daemon, call, limited)


def _said(daemon: Daemon, call: dict[str, Any], caller: str) -> str:
    answer = modern(daemon, "tools/call", call, token=caller)
    return str(answer.get("status") or answer["result"]["content"][0]["text"])


def test_a_hundred_waits_leave_the_daemon_quick(daemon: Daemon) -> None:
    daemon.client.sessions.create("crowd", route="asks")
    run_id = daemon.client.runs.start("crowd", "go").run_id
    daemon.run(run_id, "waiting_for_approval")
    other = token(daemon, "crowd-reader", "reader")
    busy = daemon.client.runs.start("crowd", "later").run_id  # it waits for its session
    call = {"name": "wait", "arguments": {"id": busy, "seconds": 4}}
    with ThreadPoolExecutor(50) as pool:
        waits = [pool.submit(modern, daemon, "tools/call", call, token=other, forms=False) for _ in range(50)]
        took = []
        for _ in range(20):
            began = time.monotonic()
            assert daemon.http("GET", f"/v1/runs/{run_id}").status_code == 200
            took.append(time.monotonic() - began)
        assert sorted(took)[10] < 1.0
        assert all(wait.result()["result"]["structuredContent"]["status"] == "queued" for wait in waits)
    daemon.client.runs.cancel(run_id)


# --- kills ------------------------------------------------------------------------------------------------------------


def test_waits_and_forms_survive_a_kill_of_the_daemon(fresh: Any) -> None:
    daemon = fresh(routes=ROUTES)
    daemon.client.sessions.create("asking", route="asks")
    run_id = daemon.client.runs.start("asking", "go").run_id
    daemon.run(run_id, "waiting_for_approval")
    call = {"name": "wait", "arguments": {"id": run_id}}
    shown = modern(daemon, "tools/call", call)["result"]
    begun = initialize(daemon)

    async def drive() -> dict[str, Any]:
        async with over_stdio(daemon) as client:
            run = await tool(client, "start_run", content="go", session="s", route="slow")
            waiting = asyncio.create_task(tool(client, "wait", id=run["run_id"]))
            await asyncio.to_thread(daemon.run, run["run_id"], "running")
            await asyncio.sleep(0.3)  # the wait is on its way
            await asyncio.to_thread(daemon.kill9)
            await asyncio.to_thread(daemon.start)
            return await waiting

    ended = asyncio.run(drive())
    assert ended["status"] == "completed" and ended["output"] == "slept", "over stdio, the same call waits on"
    [key] = shown["inputRequests"]
    yes = {key: {"action": "accept", "content": {"decision": "allow"}}}
    done = modern(daemon, "tools/call", {**call, "inputResponses": yes, "requestState": shown["requestState"]})
    assert done["result"]["structuredContent"]["status"] == "completed", "a form of before is answered after it"
    headers = {**ACCEPT, "mcp-session-id": begun.headers["mcp-session-id"]}
    gone = clients.post(daemon, {"jsonrpc": "2.0", "id": 2, "method": "ping"}, headers)
    assert gone.status_code == 404, "an older client begins a new session"


def test_a_stop_ends_open_streams_and_waits(fresh: Any) -> None:
    daemon = fresh(routes=ROUTES)
    daemon.client.sessions.create("s", route="asks")
    first = daemon.client.runs.start("s", "go").run_id
    daemon.run(first, "waiting_for_approval")
    queued = daemon.client.runs.start("s", "later").run_id

    async def drive() -> None:
        async with over_http(daemon, "legacy") as client:  # with its stream
            stopped = threading.Timer(1.0, lambda: codes.append(daemon.stop(20)))
            stopped.start()
            with pytest.raises(BaseException):  # noqa: B017 - whatever the SDK makes of a cut connection
                await asyncio.wait_for(tool(client, "wait", id=queued), 15)
            await asyncio.to_thread(stopped.join)

    codes: list[int] = []
    try:
        asyncio.run(drive())
    except BaseException as error:  # noqa: BLE001 - the SDK's own end over a connection that is gone
        assert codes, error
    assert codes == [0]

    async def without() -> str:
        async with over_stdio(daemon) as client:
            assert len((await client.list_tools()).tools) > 10
            refused = await client.call_tool("list_runs", {})
            assert refused.is_error
            return str(refused.content[0].text)

    assert "kheish serve" in asyncio.run(without()), "without a daemon, a tool says how to start one"
