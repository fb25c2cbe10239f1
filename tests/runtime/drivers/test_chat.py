"""Answers are assembled from what servers really send, which is not always what the format says."""

from __future__ import annotations

from typing import Any

import pytest

from kheish.runtime.drivers import chat
from kheish.runtime.drivers.base import Message, ModelError, Reply, Request

REQUEST = Request(route_id="r", model="m", messages=(Message(role="user", text="hi"),), answers=4)


def assembled(*deltas: dict[str, Any], finish: str = "stop") -> Reply:
    assembly = chat.Assembly()
    for delta in deltas:
        assembly.feed({"choices": [{"delta": delta}]})
    assembly.feed({"choices": [{"delta": {}, "finish_reason": finish}]})
    return assembly.reply(REQUEST)


def call(arguments: Any, name: str = "t", **fields: Any) -> dict[str, Any]:
    return {"tool_calls": [{"function": {"name": name, "arguments": arguments}, **fields}]}


def test_calls_that_are_all_numbered_zero_stay_apart_by_their_ids() -> None:
    reply = assembled(call('{"a"', index=0, id="x"), call(":1}", "", index=0), call("{}", index=0, id="y"))
    assert [(c.id, c.arguments) for c in reply.calls] == [("x", {"a": 1}), ("y", {})]
    assert reply.finish_reason == "tool_calls"


def test_calls_without_or_with_equal_ids_get_their_own() -> None:
    reply = assembled(call("{}", index=0), call("{}", index=1, id=""), call("{}", index=2, id="x"), call({}, index=3))
    assert [c.id for c in reply.calls] == ["call_4_0", "call_4_1", "x", "call_4_3"]


def test_arguments_may_come_as_an_object() -> None:
    assert assembled(call({"path": "a"}, index=None, id="x")).calls[0].arguments == {"path": "a"}


def test_blocks_of_reasoning_grow_until_they_are_signed() -> None:
    def thinking(text: str, signature: str | None = None) -> dict[str, Any]:
        return {"thinking_blocks": [{"type": "thinking", "thinking": text, "signature": signature}]}

    reply = assembled(thinking("one "), thinking("two"), thinking("", "sig"), thinking("three"))
    blocks = reply.opaque["fields"]["thinking_blocks"]
    assert [(b["thinking"], b["signature"]) for b in blocks] == [("one two", "sig"), ("three", None)]


def test_a_refusal_is_the_text() -> None:
    reply = assembled({"refusal": "I will "}, {"refusal": "not."})
    assert (reply.text, reply.finish_reason) == ("I will not.", "refusal")


def test_half_a_surrogate_pair_does_not_reach_the_journal() -> None:
    reply = assembled({"content": "ok \ud83d"}, {"content": "\U0001f30d"})
    assert reply.text.encode() == "ok \ufffd\U0001f30d".encode()


def test_a_cut_answer_keeps_its_reason() -> None:
    reply = assembled(call('{"path": "a', index=0, id="x"), finish="length")
    assert (reply.finish_reason, reply.calls[0].malformed) == ("length", '{"path": "a')


def test_an_answer_without_its_end_is_broken() -> None:
    assembly = chat.Assembly()
    assembly.feed({"choices": [{"delta": {"content": "half"}}]})
    with pytest.raises(ModelError, match="ended before") as caught:
        assembly.reply(REQUEST)
    assert caught.value.kind == "transport"


@pytest.mark.parametrize("chunk", [[], "text", {"choices": [3]}, {"choices": [{"delta": {"tool_calls": [1]}}]}])
def test_what_is_not_of_the_format_is_a_model_error(chunk: Any) -> None:
    with pytest.raises(ModelError, match="not in the chat format"):
        chat.Assembly().feed(chunk)


def test_a_null_setting_leaves_the_key_out() -> None:
    request = Request(route_id="r", model="m", messages=(), generation={"stream_options": None, "seed": 1})
    assert chat.body(request) == {"model": "m", "messages": [], "stream": True, "seed": 1}
