"""The OpenAI-compatible endpoint with the official SDK: chats, streams, responses, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.support.daemon import Daemon, bash, until

ROUTES: dict[str, Any] = {
    "hello": {"driver": "scripted", "script": {"echo": True}},
    "asks": [{"text": "First I look.", **bash("id -u")}, {"text": "it said {{last_result}}"}],
    "two": [{"text": "I look first.", **bash("echo seen")}, {"text": "and saw {{last_result}}", "chunks": 6}],
    "slow": [{"text": "one two three four", "chunks": 4, "delay": "150ms"}],
    "stuck": [{"text": "never", "delay": "60s"}],
    "broken": [{"error": {"status": 400, "message": "no such luck"}}],
}
RULES = {"mode": "default", "rules": [{"tool": "bash", "match": "echo *", "decision": "allow"}]}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    config = {"default_route": "hello", "sandbox": {"mode": "off"}, "shutdown_grace": "1s"}
    folder = tmp_path_factory.mktemp("openai")
    with Daemon.fresh(folder, permissions=RULES, routes=ROUTES, config=config) as daemon:
        daemon.write("personas/pirate.md", "---\ndisplay_name: Pirate\n---\nTalk like a pirate.\n")
        until(lambda: daemon.client.definitions("personas").list()["items"])
        yield daemon


@pytest.fixture(scope="module")
def sdk(daemon: Daemon) -> Iterator[openai.OpenAI]:
    http = httpx.Client(trust_env=False, timeout=60)
    with openai.OpenAI(base_url=f"{daemon.url}/openai/v1", api_key=daemon.token, http_client=http) as client:
        yield client


def say(*texts: str) -> list[Any]:
    roles = ("user", "assistant")
    return [{"role": roles[place % 2], "content": text} for place, text in enumerate(texts)]


def session_of(daemon: Daemon, completion: Any) -> str:
    run = daemon.client.runs.get("run_" + completion.id.partition("-")[2])
    return str(run.data["session_id"])


def test_models_are_personas_on_routes(sdk: openai.OpenAI) -> None:
    names = {one.id for one in sdk.models.list()}
    assert {"kheish@hello", "kheish/pirate@hello", "kheish/pirate@slow"} <= names
    assert sdk.models.retrieve("kheish/pirate@hello").owned_by == "kheish"
    with pytest.raises(openai.NotFoundError) as refused:
        sdk.chat.completions.create(model="gpt-5", messages=say("hi"))
    assert "kheish/PERSONA@ROUTE" in refused.value.message and refused.value.code == "not_found"


def test_a_chat_continues_its_session_and_a_branch_forks_it(daemon: Daemon, sdk: openai.OpenAI) -> None:
    def chat(*texts: str) -> Any:
        system = {"role": "system", "content": f"Be brief. It is the minute {len(texts)}."}
        return sdk.chat.completions.create(model="kheish@hello", messages=[system, *say(*texts)])

    first = chat("ahoy one")
    answer = first.choices[0].message.content
    assert "ahoy one" in answer and first.choices[0].finish_reason == "stop" and first.usage.total_tokens > 0
    second = chat("ahoy one", answer, "two")
    session = session_of(daemon, first)
    assert session_of(daemon, second) == session and session.startswith("chat-")
    again = chat("ahoy one", answer, "two")
    assert again.id == second.id, "the same conversation is the same run"
    third = chat("ahoy one", answer, "two", second.choices[0].message.content, "three")
    assert session_of(daemon, third) == session
    branch = chat("ahoy one", answer, "another two")
    forked = daemon.client.sessions.get(session_of(daemon, branch))
    assert forked["forked_from"]["session_id"] == session
    assert len(daemon.client.runs.list(session=session)["items"]) == 3
    edited = chat("ahoy one", "what nobody said", "two")
    assert session_of(daemon, edited) not in (session, forked["session_id"])
    texts = daemon.client.runs.get("run_" + edited.id.partition("-")[2]).data["request"]["items"]
    assert any("what nobody said" in one["text"] for one in texts), "an unknown conversation comes along as text"


def test_a_retry_of_the_sdk_starts_no_second_run(daemon: Daemon, sdk: openai.OpenAI) -> None:
    body = {"model": "kheish@slow", "messages": say("retried")}
    one = sdk.chat.completions.create(**body, stream=True)
    next(iter(one))
    one.close()
    two = sdk.chat.completions.create(**body, extra_headers={"x-stainless-retry-count": "1"})
    assert two.choices[0].message.content == "one two three four"
    other = sdk.chat.completions.create(model="kheish@hello", messages=say("retried"))
    assert "one two" not in (other.choices[0].message.content or ""), "another model is another request"
    assert len(daemon.client.runs.list(session=session_of(daemon, two))["items"]) == 1
    keys = [sdk.responses.create(model="kheish", input="k", extra_headers={"Idempotency-Key": "k1"}).id for _ in "ab"]
    assert keys[0] == keys[1]


def test_a_chat_streams_all_turns_and_its_usage(sdk: openai.OpenAI) -> None:
    options: Any = {"include_usage": True}
    chunks = list(sdk.chat.completions.create(model="kheish@two", messages=say("go"), stream=True,
                                              stream_options=options))  # fmt: skip
    text = "".join(one.choices[0].delta.content or "" for one in chunks if one.choices)
    assert text.startswith("I look first.\n\nand saw") and "seen" in text
    assert [one.choices[0].finish_reason for one in chunks if one.choices][-1] == "stop"
    assert chunks[-1].usage.completion_tokens > 0 and not chunks[-1].choices


@pytest.mark.parametrize("streams", [False, True])
def test_a_waiting_chat_stops_and_says_how_to_answer(daemon: Daemon, sdk: openai.OpenAI, streams: bool) -> None:
    messages = say(f"who are you, {streams}")
    text = _text(sdk, messages, streams)
    assert "First I look." in text and "kheish approvals allow appr_" in text and "id -u" in text
    messages = [*messages, {"role": "assistant", "content": text}, {"role": "user", "content": "and?"}]
    assert "decided first" in _text(sdk, messages, streams)
    approval = "appr_" + text.partition("allow appr_")[2].partition("`")[0]
    daemon.client.approvals.resolve(approval, "allow")
    until(lambda: daemon.client.approvals.get(approval)["status"] == "allowed")
    session = daemon.client.approvals.get(approval)["session_id"]
    until(lambda: len(daemon.client.runs.list(session=session, status="waiting_for_approval")["items"]) == 1)
    assert len(daemon.client.runs.list(session=session)["items"]) == 2


def _text(sdk: openai.OpenAI, messages: list[Any], streams: bool) -> str:
    if not streams:
        answer = sdk.chat.completions.create(model="kheish@asks", messages=messages)
        assert answer.choices[0].finish_reason == "stop"
        return answer.choices[0].message.content or ""
    chunks = sdk.chat.completions.create(model="kheish@asks", messages=messages, stream=True)
    return "".join(one.choices[0].delta.content or "" for one in chunks if one.choices)


def test_what_is_not_supported_is_named(sdk: openai.OpenAI) -> None:
    tool: Any = {"type": "function", "function": {"name": "f", "parameters": {}}}
    more: list[tuple[str, Any]] = [("tools", [tool]), ("n", 2), ("response_format", {"type": "json_object"}),
                                   ("logprobs", True), ("made_up", 1)]  # fmt: skip
    for name, value in more:
        with pytest.raises(openai.BadRequestError) as refused:
            sdk.chat.completions.create(model="kheish", messages=say("x"), extra_body={name: value})
        assert (refused.value.code, refused.value.param) == ("unsupported_parameter", name)
        assert refused.value.type == "invalid_request_error"
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.responses.create(model="kheish", input="x", tools=[{"type": "web_search"}])
    assert refused.value.code == "unsupported_parameter"
    with pytest.raises(openai.BadRequestError):
        sdk.chat.completions.create(model="kheish", messages=[{"role": "assistant", "content": "x"}])


def test_a_failed_run_is_an_error_that_the_sdk_does_not_repeat(daemon: Daemon, sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as failed:
        sdk.chat.completions.create(model="kheish@broken", messages=say("break"))
    assert failed.value.code == "run_failed" and "no such luck" in failed.value.message
    run_id = failed.value.message.split("run_")[1].partition(":")[0]
    session = daemon.client.runs.get("run_" + run_id).data["session_id"]
    assert len(daemon.client.runs.list(session=session)["items"]) == 1
    streamed = sdk.chat.completions.create(model="kheish@broken", messages=say("break in a stream"), stream=True)
    with pytest.raises(openai.APIError):
        list(streamed)


def test_a_response_continues_a_session(daemon: Daemon, sdk: openai.OpenAI) -> None:
    first = sdk.responses.create(model="kheish@hello", input="one", metadata={"ticket": "7"})
    assert first.status == "completed" and "one" in first.output_text and first.metadata == {"ticket": "7"}
    second = sdk.responses.create(model="kheish@hello", input="two", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    runs = [daemon.client.runs.get("run_" + one.id.removeprefix("resp_")).data for one in (first, second)]
    assert runs[0]["session_id"] == runs[1]["session_id"] and runs[0]["request"]["metadata"]["ticket"] == "7"
    assert sdk.responses.retrieve(second.id).output_text == second.output_text
    with pytest.raises(openai.NotFoundError):
        sdk.responses.retrieve("resp_made_up")


def test_a_response_in_background_is_cancelled(sdk: openai.OpenAI) -> None:
    begun = sdk.responses.create(model="kheish@stuck", input="go", background=True)
    assert begun.status in ("queued", "in_progress") and begun.background
    until(lambda: sdk.responses.retrieve(begun.id).status == "in_progress")
    assert sdk.responses.cancel(begun.id).status == "cancelled"
    assert sdk.responses.retrieve(begun.id).status == "cancelled"
    waiting = sdk.responses.create(model="kheish@asks", input="go", background=True)
    until(lambda: sdk.responses.retrieve(waiting.id).status == "incomplete")
    assert "kheish approvals allow" in sdk.responses.retrieve(waiting.id).output_text


def test_a_stream_of_a_response_is_resumed_at_each_event(sdk: openai.OpenAI) -> None:
    with sdk.responses.stream(model="kheish@slow", input="go", background=True) as streamed:
        live = list(streamed)
        whole = streamed.get_final_response()
    assert whole.output_text == "one two three four"
    id, numbers = whole.id, [one.sequence_number for one in live]
    assert numbers == sorted(set(numbers)) and live[-1].type == "response.completed"
    seen = {one.sequence_number: one for one in live}
    for after in numbers:
        had = "".join(
            one.delta for one in live if one.type == "response.output_text.delta" and one.sequence_number <= after
        )
        rest = list(sdk.responses.retrieve(id, stream=True, starting_after=after))
        deltas = "".join(one.delta for one in rest if one.type == "response.output_text.delta")
        assert had + deltas == whole.output_text
        others = [one.sequence_number for one in rest if one.type != "response.output_text.delta"]
        assert others == [n for n in numbers if n > after and seen[n].type != "response.output_text.delta"]


def test_a_route_is_tried_from_the_command_line(daemon: Daemon) -> None:
    done = daemon.cli("routes", "test", "hello", "--output", "json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert {one["ability"]: one["works"] for one in shown["tried"]} == {
        "text": True, "streaming": False, "tools": False, "vision": False,
    }  # fmt: skip
    assert shown["capabilities"] == {"streaming": False, "tools": False}
    done = daemon.cli("routes", "test", "broken")
    assert done.returncode == 1 and "no such luck" in done.stdout
    done = daemon.cli("routes", "test", "hello")
    assert "capabilities:" in done.stdout and "tools: false" in done.stdout


def test_a_token_may_do_what_its_role_may(daemon: Daemon) -> None:
    reader = daemon.client.tokens.create("reader", "reader")["token"]
    url = f"{daemon.url}/openai/v1"

    def status(method: str, path: str, token: str, **more: Any) -> tuple[int, Any]:
        answer = httpx.request(
            method, url + path, headers={"authorization": f"Bearer {token}"}, trust_env=False, **more
        )
        return answer.status_code, answer.json()["error"]["type"] if answer.status_code >= 400 else None

    body = {"model": "kheish", "messages": say("x")}
    assert status("GET", "/models", reader) == (200, None)
    assert status("POST", "/chat/completions", reader, json=body) == (403, "permission_error")
    assert status("GET", "/models", "made-up") == (401, "authentication_error")
    assert status("GET", "/nothing", reader) == (404, "not_found_error")
    assert status("POST", "/chat/completions", reader, content=b"{") == (400, "invalid_request_error")


def test_a_token_for_chats_only_chats(daemon: Daemon) -> None:
    token = daemon.client.tokens.create("chats", "operator", sessions=["chat-*"])["token"]
    with openai.OpenAI(
        base_url=f"{daemon.url}/openai/v1", api_key=token, http_client=httpx.Client(trust_env=False, timeout=60)
    ) as sdk:
        assert [one.id for one in sdk.models.list()] == ["kheish"]
        first = sdk.chat.completions.create(model="kheish", messages=say("my own chat"))
        answer = first.choices[0].message.content or ""
        second = sdk.chat.completions.create(model="kheish", messages=say("my own chat", answer, "more"))
        assert session_of(daemon, second) == session_of(daemon, first)
        with pytest.raises(openai.PermissionDeniedError):
            sdk.responses.create(model="kheish", input="x")
