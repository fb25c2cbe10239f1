"""`POST /agui`, read by the models of the official package: runs, interrupts and their answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from ag_ui.core import Event, RunAgentInput
from pydantic import TypeAdapter

from tests.support.daemon import Daemon, ask, bash

ROUTES: dict[str, Any] = {
    "hello": [{"text": "hello {{input}}", "chunks": 3}],
    "asks": [{"text": "I look.", **bash("id -u")}, {"text": "it said {{last_result}}"}],
    "question": [ask("Which way?", ["left", "right"]), {"text": "so {{last_result}}"}],
    "broken": [{"error": {"status": 400, "message": "no such luck"}}],
}
EVENTS: TypeAdapter[Any] = TypeAdapter(Event)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    config = {"default_route": "hello", "sandbox": {"mode": "off"}, "shutdown_grace": "1s"}
    with Daemon.fresh(tmp_path_factory.mktemp("agui"), routes=ROUTES, config=config) as daemon:
        yield daemon


def body(thread: str, run: str, text: str = "", route: str | None = None, **more: Any) -> dict[str, Any]:
    messages = [{"id": "m1", "role": "user", "content": text}] if text else []
    given = {"threadId": thread, "runId": run, "state": {}, "messages": messages, "tools": [], "context": [],
             "forwardedProps": {"kheish": {"route": route}} if route else {}, **more}  # fmt: skip
    RunAgentInput.model_validate(given)
    return given


def events(daemon: Daemon, given: dict[str, Any]) -> list[Any]:
    answer = daemon.http("POST", "/agui", given)
    assert answer.status_code == 200, answer.text
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    return [EVENTS.validate_json(line) for line in lines]


def text(found: list[Any]) -> str:
    return "".join(one.delta for one in found if one.type == "TEXT_MESSAGE_CONTENT")


def test_a_run_is_shown_and_its_id_is_its_key(daemon: Daemon) -> None:
    found = events(daemon, body("thread-1", "r1", "you"))
    assert [one.type.value for one in (found[0], found[1], *found[-2:])] == [
        "RUN_STARTED", "TEXT_MESSAGE_START", "TEXT_MESSAGE_END", "RUN_FINISHED",
    ]  # fmt: skip
    assert text(found) == "hello you" and found[-1].outcome.type == "success" and found[-1].result == "hello you"
    assert text(events(daemon, body("thread-1", "r1", "you"))) == "hello you"
    assert len(daemon.client.runs.list(session="thread-1")["items"]) == 1
    odd = "a thread/with: odd characters"
    events(daemon, body(odd, "r1", "x"))
    events(daemon, body(odd, "r2", "y"))
    (session,) = daemon.client.sessions.list(id_prefix="agui-")["items"]
    assert len(daemon.client.runs.list(session=session["session_id"])["items"]) == 2


def test_an_approval_is_an_interrupt_and_is_resumed(daemon: Daemon) -> None:
    begun = events(daemon, body("thread-2", "r1", "go", "asks"))
    outcome = begun[-1].outcome
    assert outcome.type == "interrupt" and text(begun) == "I look."
    (interrupt,) = outcome.interrupts
    assert "id -u" in interrupt.message and interrupt.response_schema["required"] == ["decision"]
    wrong = {"interruptId": interrupt.id.partition(".")[0] + ".0000", "status": "resolved", "payload": {}}
    assert daemon.http("POST", "/agui", body("thread-2", "r2", resume=[wrong])).status_code == 409
    missing = {"interruptId": interrupt.id, "status": "resolved", "payload": {"decision": "maybe"}}
    assert daemon.http("POST", "/agui", body("thread-2", "r2", resume=[missing])).status_code == 400
    assert text(events(daemon, body("thread-2", "r1", "go", "asks"))) == "I look.", "again, from the beginning"
    allowed = {"interruptId": interrupt.id, "status": "resolved", "payload": {"decision": "allow"}}
    assert daemon.http("POST", "/agui", body("thread-1", "r9", resume=[allowed])).status_code == 400
    found = events(daemon, body("thread-2", "r2", resume=[allowed]))
    assert "it said" in text(found) and found[-1].outcome.type == "success"
    assert "TOOL_CALL_RESULT" in [one.type.value for one in found]
    ids = [[one.message_id for one in part if one.type == "TEXT_MESSAGE_START"] for part in (begun, found)]
    assert len(ids[0]) == len(ids[1]) == 1 and ids[0] != ids[1], "a resumed run adds messages, and changes none"
    assert text(events(daemon, body("thread-2", "r2", resume=[allowed]))) == text(found), "a repeated answer"
    (approval,) = daemon.client.approvals.list(session="thread-2")["items"]
    decision = approval["decisions"][0]
    assert (decision["decision"], decision["via"], decision["person"]) == ("allow", "agui", None)


def test_a_question_is_an_interrupt(daemon: Daemon) -> None:
    (interrupt,) = events(daemon, body("thread-3", "r1", "go", "question"))[-1].outcome.interrupts
    assert interrupt.reason == "kheish:question" and "Which way?" in interrupt.message
    answer = {"interruptId": interrupt.id, "status": "resolved", "payload": {"q1": "b"}}
    assert "right" in text(events(daemon, body("thread-3", "r2", resume=[answer])))


def test_refusals(daemon: Daemon) -> None:
    assert {"agui", "mcp", "openai", "sessions"} <= set(daemon.client.status()["features"])
    assert events(daemon, body("thread-4", "r1", "x", "broken"))[-1].type == "RUN_ERROR"
    tools = [{"name": "f", "description": "", "parameters": {}}]
    refused = daemon.http("POST", "/agui", body("thread-5", "r1", "x", tools=tools))
    assert (refused.status_code, refused.json()["code"]) == (400, "unsupported_parameter")
    assert daemon.http("GET", "/agui").status_code == 405
    reader = daemon.client.tokens.create("agui-reader", "reader")["token"]
    headers = {"authorization": f"Bearer {reader}"}
    assert daemon.http("POST", "/agui", body("thread-6", "r1", "x"), headers=headers).status_code == 403
    assert httpx.post(f"{daemon.url}/agui", json={}, trust_env=False).status_code == 401
