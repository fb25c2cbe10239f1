"""Windows: estimates of tokens, and what is believed of a server."""

from __future__ import annotations

from typing import Any

import pytest

from kheish.domain.routes import Route
from kheish.runtime import windows
from kheish.runtime.drivers import described, omitting
from kheish.runtime.windows import Facts


@pytest.mark.parametrize(
    ("text", "least", "most"),  # characters a token, as tokenizers of today have them
    [
        ("The quick brown fox jumps over the lazy dog. ", 3.5, 5.0),
        ("def check(value): return {'value': value[0]}\n", 2.0, 4.0),
        ('{"a": [1, 2], "b-c": {"d": null}}', 1.5, 3.0),
        ("今天天气很好我们去公园散步", 0.6, 1.5),
        ("Сегодня хорошая погода. ", 1.2, 3.0),
        ("QWxhZGRpbjpvcGVuIHNlc2FtZQ0KdGhpcyBp", 1.5, 3.5),
        ("\N{GRINNING FACE}", 0.2, 1.0),
    ],
)
def test_an_estimate_is_near(text: str, least: float, most: float) -> None:
    whole = text * 50
    assert least <= len(whole) / windows.tokens(whole) <= most


def route(window: int | None) -> Route:
    return Route.model_validate({"driver": "openai", "model": "m", "capabilities": {"context_window": window}})


def test_the_smaller_of_two_windows_holds() -> None:
    facts = Facts()
    assert windows.room(route(None), {}, facts).prompt is None
    facts.describe(8192)
    assert windows.room(route(4096), {}, facts).window == 4096
    assert windows.room(route(100_000), {}, facts).window == 8192


@pytest.mark.parametrize("said", [0, 1, 100, 1 << 40])
def test_a_window_that_cannot_be_is_not_believed(said: int) -> None:
    facts = Facts()
    facts.describe(said)
    facts.refuse(500, said, None)
    assert facts.window is None


def test_a_window_smaller_than_what_was_answered_is_not_believed_but_a_refusal_is() -> None:
    facts = Facts()
    facts.calibrate(5000, 6000)
    facts.describe(4096)
    assert facts.window is None
    facts.refuse(5000, 4096, 6100)  # the server was started anew with less
    assert facts.window == 4096


def test_each_refusal_leaves_less_room() -> None:
    facts, sizes = Facts(), [10_000]
    for _ in range(8):
        facts.refuse(sizes[-1], None, None)
        room = windows.room(route(None), {}, facts).prompt
        assert room is not None and room < sizes[-1]
        sizes.append(room)


def test_the_servers_own_count_corrects_ours() -> None:
    facts = Facts()
    before = windows.room(route(8192), {}, facts).prompt
    facts.calibrate(1000, 2000)
    after = windows.room(route(8192), {}, facts).prompt
    assert before is not None and after is not None and after == pytest.approx(before / 2, rel=0.01)
    facts.calibrate(1000, 12)  # a server that counts nothing
    assert facts.ratio >= windows.RATIO[0]


@pytest.mark.parametrize(
    ("answer", "window"),
    [
        ({"data": [{"id": "m", "max_model_len": 4096}]}, 4096),  # vLLM
        ({"data": [{"id": "x", "max_model_len": 9}, {"id": "m", "context_length": 5000}]}, 5000),
        ({"data": [{"id": "other", "meta": {"n_ctx": 2048, "n_ctx_train": 1 << 17}}]}, 2048),  # the only one
        ({"data": [{"id": "x", "n_ctx": 1}, {"id": "y", "n_ctx": 2}]}, None),
        ({"data": [{"id": "m", "meta": {"n_ctx_train": 1 << 17}}]}, None),  # the model's own limit
        ({"data": [{"id": "m", "loaded_context_length": 4096, "max_context_length": 1 << 17}]}, 4096),  # LM Studio
        ({"data": [{"id": "m", "context_length": "many"}]}, None),
        ({"data": "m"}, None),
        ([], None),
        (None, None),
    ],
)
def test_what_servers_say_of_their_models(answer: Any, window: int | None) -> None:
    assert described.of_models(answer, "m") == window


def test_what_ollama_says() -> None:
    running = {"models": [{"name": "m:latest", "context_length": 4096}]}
    assert described.of_ollama(running, "m") == 4096
    assert described.of_ollama(running, "n") is None
    assert described.of_parameters({"parameters": 'stop "<|x|>"\nnum_ctx 8192'}) == 8192
    assert described.of_parameters({"parameters": "num_ctx many"}) is None


BODY: dict[str, Any] = {
    "model": "m",
    "temperature": 1,
    "messages": [{"role": "assistant", "content": "x", "reasoning_content": "y", "name": "z"}],
    "tools": [{"type": "function", "function": {"name": "f", "strict": True, "parameters": {
        "type": "object", "properties": {"strict": {"type": "string"}}, "additionalProperties": False}}}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("field", "place"),
    [
        ("temperature", ("temperature",)),
        ("messages[0].reasoning_content", ("messages", 0, "reasoning_content")),
        ("reasoning_content", ("messages", 0, "reasoning_content")),
        ("body.messages.0.name", ("messages", 0, "name")),
        ("tools[0].function.strict", ("tools", 0, "function", "strict")),
        ("additionalProperties", ("tools", 0, "function", "parameters", "additionalProperties")),
    ],
)
def test_a_field_is_left_out_and_nothing_else(field: str, place: tuple[Any, ...]) -> None:
    found = omitting.without(BODY, [omitting.path(field)])
    inner = found
    for step in place[:-1]:
        inner = inner[step]
    assert place[-1] not in inner
    assert found["tools"][0]["function"]["parameters"]["properties"] == {"strict": {"type": "string"}}
    assert found["messages"][0]["content"] == "x"


@pytest.mark.parametrize("field", ["model", "messages", "messages[0].content", "messages[0].role", "tools[0].function"])
def test_what_no_request_can_do_without_stays(field: str) -> None:
    assert omitting.without(BODY, [omitting.path(field)]) == BODY
