"""Drafting: conversations with servers that enforce their windows and their forms, and say little about them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from kheish.domain.runs import Status
from kheish.runtime.drivers import registry
from tests.runtime.harness import Live
from tests.support.openai_standin import Answer, Failure, StandIn, ToolCall, standin
from tests.support.strict import Strict, count


@pytest.fixture
async def server() -> AsyncIterator[StandIn]:
    async with standin() as made:
        yield made
    await registry.close_all()


def point(it: Live, server: StandIn, model: str = "any", **more: Any) -> None:
    """Put the stand-in's route in force."""
    it.route(driver="openai", model=model, api_base=server.url, max_retries=0, script=None, **more)


async def completed(it: Live, text: str) -> None:
    run = await it.ask(text)
    assert run.status is Status.COMPLETED, run.error


@pytest.mark.found("A6")
@pytest.mark.parametrize(
    ("model", "dialect", "window", "says"),
    [
        ("gemma-3-1b", "gemma", 2048, True),
        ("any", "mistral", 8192, False),  # by its refusals alone
        ("gemini-3-flash", "gemini", 4096, True),
    ],
)
async def test_no_conversation_dies(
    it: Live, server: StandIn, model: str, dialect: str, window: int, says: bool
) -> None:
    strict = Strict(dialect, window, says_window=says)
    server.default = strict
    point(it, server, model)
    for number in range(11):
        giant = "\N{CJK UNIFIED IDEOGRAPH-6587}x-" * window if number == 9 else ""
        await completed(it, f"task {number} " + "some more words " * (number * 13 % 40) + giant)
    assert len(strict.refused) <= 2, strict.refused
    if window < 30_000:
        assert it.data("context.compacted") and strict.too_long <= 12
        assert any(one["omitted"] for one in it.data("model.requested")), "what does not fit is said"


@pytest.mark.found("A5")
async def test_a_cancelled_call_and_a_failed_run_are_no_obstacle_to_the_next(it: Live, server: StandIn) -> None:
    point(it, server, "mistral-small")
    server.queue += [Answer(text="", calls=(ToolCall(name="", id="i" * 46),)), Failure(status=403)]
    failed = await it.ask("first")
    assert failed.status is Status.FAILED
    server.default = Strict("mistral", 32_768)
    await completed(it, "second")
    assert server.default.refused == []


@pytest.mark.parametrize("size", [15_000, 17_000, 1_000_000])
async def test_long_arguments_that_are_no_json_are_told_and_kept(it: Live, server: StandIn, size: int) -> None:
    point(it, server)
    sent = '{"path": "' + "x" * size
    server.queue.append(Answer(text="", calls=(ToolCall(name="read_file", arguments=sent),)))
    await completed(it, "first")
    assert "no JSON object" in str(it.data("tool.finished"))
    assert sent[10:200] in str(server.requests[-1].body["messages"])
    it = it.reborn()
    await completed(it, "second")


@pytest.mark.found("A5")
async def test_a_refused_field_is_left_out_from_then_on(it: Live, server: StandIn) -> None:
    point(it, server, generation={"temperature": 0.5})

    def picky(body: Any) -> Answer | Failure:
        if "temperature" in body:
            return Failure(status=400, message="Unsupported parameter: 'temperature'", param="temperature")
        return Answer()

    server.default = picky
    await completed(it, "one")
    await completed(it, "two")
    assert ["temperature" in one.body for one in server.requests] == [True, False, False]


@pytest.mark.found("A5")
async def test_reasoning_goes_back_to_the_server_that_made_it_and_to_no_other(it: Live, server: StandIn) -> None:
    point(it, server, "a")
    server.queue += [Answer(reasoning="because")]
    await completed(it, "one")
    await completed(it, "two")
    assert "reasoning_content" in server.requests[-1].body["messages"][2]
    point(it, server, "b")
    await completed(it, "three")
    assert not any("reasoning_content" in one for one in server.requests[-1].body["messages"])


@pytest.mark.found("A6")
@pytest.mark.parametrize("source", ["models", "props", "error"])
async def test_the_window_is_learned(it: Live, server: StandIn, source: str) -> None:
    listed: dict[str, Any] = {"id": "any", "owned_by": "llamacpp", "meta": {"n_ctx_train": 100_000}}
    if source == "models":
        listed["meta"]["n_ctx"] = 4096
    if source == "props":
        server.described["/props"] = {"default_generation_settings": {"n_ctx": 4096}}
    if source != "error":
        server.described["/v1/models"] = {"object": "list", "data": [listed]}
    strict = Strict("openai", 4096)
    server.default = strict
    point(it, server)
    for number in range(4):
        await completed(it, f"{number} " + "many words " * 600)
    assert strict.too_long <= (2 if source == "error" else 0)
    assert count(server.requests[-1].body) < 4096
    assert "Left out" in server.requests[-1].body["messages"][0]["content"]


async def test_a_server_that_cuts_streams_is_asked_for_a_whole_answer(it: Live, server: StandIn) -> None:
    server.default = strict = Strict("openai", 4096, cuts_streams=True)
    it.route(driver="openai", model="any", api_base=server.url, max_retries=3, script=None)
    await completed(it, "hello")
    assert strict.too_long == 3, "two cut streams, and one answer that says why"
    await completed(it, "once more " * 1000)
    assert strict.too_long == 3


@pytest.mark.found("A6")
async def test_tools_that_are_left_out_are_named(it: Live, server: StandIn) -> None:
    point(it, server, capabilities={"context_window": 4096})
    await completed(it, "hello")
    body = server.requests[-1].body
    offered = {tool["function"]["name"] for tool in body["tools"]}
    assert {"bash", "read_file"} <= offered and not {"web_fetch", "todo_write"} & offered
    assert all(name in body["messages"][0]["content"] for name in ("web_fetch", "todo_write"))
    assert any("These tools are left out" in words for words in it.data("model.requested")[-1]["omitted"])


async def test_the_answer_has_its_part_of_the_window(it: Live, server: StandIn) -> None:
    point(it, server, capabilities={"context_window": 4096}, generation={"max_tokens": 4000})
    await completed(it, "hello")
    body = server.requests[-1].body
    assert body["max_tokens"] == 2048 and count(body) + body["max_tokens"] <= 4096


async def test_a_window_without_room_for_anything_fails_with_numbers(it: Live, server: StandIn) -> None:
    point(it, server, capabilities={"context_window": 256})
    run = await it.ask("hello")
    assert run.error is not None and run.error.code == "context_length"
    assert "256 tokens" in run.error.message and "needs about" in run.error.message
