"""Answers are assembled from what servers really send, which is not always what the format says."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, strategies as st

from kheish.runtime.drivers import bounds, chat
from kheish.runtime.drivers.answer import Assembly, usage_of
from kheish.runtime.drivers.base import Message, ModelError, Reply, Request, Usage

REQUEST = Request(route_id="r", model="m", messages=(Message(role="user", text="hi"),), answers=4)


def assembled(*deltas: dict[str, Any], finish: str | None = "stop") -> Reply:
    assembly = Assembly(REQUEST)
    for delta in deltas:
        assembly.feed({"choices": [{"delta": delta}]})
    assembly.feed({"choices": [{"delta": {}, "finish_reason": finish}]})
    assembly.end()
    return assembly.reply()


def call(arguments: Any = None, name: Any = "t", **fields: Any) -> dict[str, Any]:
    return {"tool_calls": [{"function": {"name": name, "arguments": arguments}, **fields}]}


def called(*deltas: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(one.name, one.malformed or one.arguments) for one in assembled(*deltas).calls]


# --- calls ------------------------------------------------------------------------------------------------------------


def test_calls_that_are_all_numbered_zero_stay_apart_by_their_ids() -> None:
    reply = assembled(call('{"a"', index=0, id="x"), call(":1}", "", index=0), call("{}", index=0, id="y"))
    assert [(c.id, c.arguments) for c in reply.calls] == [("x", {"a": 1}), ("y", {})]
    assert reply.finish_reason == "tool_calls"


def test_calls_without_or_with_equal_ids_get_their_own() -> None:
    reply = assembled(call("{}", index=0), call("{}", index=1, id=""), call("{}", index=2, id="x"), call({}, index=3))
    assert [c.id for c in reply.calls] == ["call_4_0", "call_4_1", "x", "call_4_3"]


@pytest.mark.found("A10")
@pytest.mark.parametrize(
    ("deltas", "calls"),
    [
        ([call('{"a":1}', index=0, id=""), call('{"b":2}', index=0, id="")], [("t", {"a": 1}), ("t", {"b": 2})]),
        ([call('{"a":1}', index=0, id="x"), call('{"b":2}', index=0, id="x")], [("t", {"a": 1}), ("t", {"b": 2})]),
        ([call("{}", "a", index=0), call("{}", "b", index=0)], [("a", {}), ("b", {})]),
        ([call("", "a", index=0, id=""), call("", "b", index=0, id="")], [("a", {}), ("b", {})]),
        ([{"tool_calls": [{"index": 0, "function": {"name": "a", "arguments": "{}"}}] * 2}], [("a", {}), ("a", {})]),
        ([call('{"a":1}', index=0, id="x"), call('{"a":1}', index=0, id="x")], [("t", {"a": 1})]),  # told once more
        ([call(None, "read_", index=0, id="x"), call("{}", "file", index=0)], [("read_file", {})]),
        ([call(None, "read", index=0, id="x"), call("{}", "read_file", index=0)], [("read_file", {})]),
        ([call('{"a"', "t", index=0), call(":1}", "t", index=0)], [("t", {"a": 1})]),  # the name with each piece
        ([call("{}", index=0, id="x"), call('{"a":1}', None, index=0)], [("t", {"a": 1})]),  # begins with an empty one
        ([call('{"a":1}', index="1", id="x"), call('{"b":2}', index=2.0, id="y")], [("t", {"a": 1}), ("t", {"b": 2})]),
        ([call('{"a"', id="x"), call(":1}", None)], [("t", {"a": 1})]),  # without an index
        ([call({"a": 1}, index=None, id="x")], [("t", {"a": 1})]),
        ([call('"{\\"a\\": 1}"', index=0)], [("t", {"a": 1})]),  # encoded twice
        ([call("null", index=0)], [("t", {})]),
        ([call(None, index=0)], [("t", {})]),
        ([call("[1]", index=0)], [("t", "[1]")]),
        ([call('{"a": NaN}', index=0)], [("t", '{"a": NaN}')]),
        ([call('{"a": -1e999}', index=0)], [("t", '{"a": -1e999}')]),
        ([call('{"a": 12345678901234567890123}', index=0)], [("t", {"a": 12345678901234567890123.0})]),
        ([call('{"a": "\\ud83d\\ude00 \\ud83d"}', index=0)], [("t", {"a": "\U0001f600 \ufffd"})]),
        ([call('{"a": "x\ny"}', index=0)], [("t", {"a": "x\ny"})]),
        ([{"function_call": {"name": "a", "arguments": '{"b"'}}, {"function_call": {"arguments": ":1}"}}],
         [("a", {"b": 1})]),
        ([call('{"b": 1}', "a", index=0, id="x") | {"function_call": {"name": "a", "arguments": '{"b": 1}'}}],
         [("a", {"b": 1})]),  # both formats at once, as llama-cpp-python has them
        ([call('{"b"', "a", index=0, id="x") | {"function_call": {"name": "a", "arguments": '{"b"'}},
          call(":1}", "a", index=0, id="x") | {"function_call": {"name": "a", "arguments": ":1}"}}], [("a", {"b": 1})]),
        ([{"tool_calls": {"index": 0, "function": {"name": "a"}}}], [("a", {})]),
        ([{"tool_calls": [{"index": 0, "name": "a", "arguments": {"b": 1}}]}], [("a", {"b": 1})]),
        ([{"tool_calls": [None, 3, "x", {"function": "y", "index": -1}]}], [("", {})]),
        ([call("{}", 17, index=0, id=12345)], [("17", {})]),
        ([call("{}", None, index=0, id=True)], [("", {})]),
    ],
)  # fmt: skip
def test_calls_are_read_as_they_are_meant(deltas: list[dict[str, Any]], calls: list[tuple[str, Any]]) -> None:
    assert called(*deltas) == calls


@pytest.mark.found("A10")
def test_a_numbered_call_keeps_its_number_as_its_id() -> None:
    assert [one.id for one in assembled(call("{}", index=0, id=12345), call("{}", index=1, id=12345)).calls] == [
        "12345",
        "call_4_1",
    ]


def test_arguments_that_no_journal_could_hold_are_malformed() -> None:
    deep = '{"a":' * 100 + "1" + "}" * 100
    (one,) = assembled(call(deep, index=0)).calls
    assert (one.arguments, one.malformed) == ({}, deep)


def test_calls_over_the_bound_are_counted_and_left_out() -> None:
    reply = assembled({"tool_calls": [{"index": n, "id": f"c{n}", "function": {"name": "t"}} for n in range(1000)]})
    assert (len(reply.calls), reply.left_out) == (bounds.CALLS, 1000 - bounds.CALLS)


# --- text and reasoning -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("deltas", "text"),
    [
        ([{"content": [{"type": "text", "text": "a"}, {"type": "thinking", "thinking": [{"text": "no"}]}, "b"]}], "ab"),
        ([{"content": {"type": "text", "text": "a"}}], "a"),
        ([{"content": 3}, {"content": None}, {"content": [None, 4]}, {"content": "a"}], "a"),
        ([{"role": "assistant"}, {"role": "assistant", "content": ""}, {"content": "a"}], "a"),
        ([{"content": "ok \ud83d"}, {"content": "\ude00!"}], "ok \U0001f600!"),
        ([{"content": "\udcf0\udc9f"}, {"content": "\udc98"}, {"content": "\udc80!"}], "\U0001f600!"),
        ([{"content": "\ud83d"}, {"content": "\U0001f30d"}], "\ufffd\U0001f30d"),
        ([{"content": "end \ud83d"}], "end \ufffd"),
    ],
)
def test_text_is_read_as_it_is_meant(deltas: list[dict[str, Any]], text: str) -> None:
    assert assembled(*deltas).text == text


@pytest.mark.found("A10")
@given(st.text(min_size=1), st.data())
def test_text_cut_anywhere_is_the_same(text: str, data: st.DataObject) -> None:
    as_bytes = data.draw(st.booleans())
    raw = text.encode("utf-8" if as_bytes else "utf-16-le")
    units = [raw[n : n + 1 + (not as_bytes)] for n in range(0, len(raw), 1 + (not as_bytes))]
    pieces = [unit.decode("utf-8", "surrogateescape") if as_bytes else unit.decode("utf-16-le", "surrogatepass")
              for unit in units]  # fmt: skip
    borders = sorted(data.draw(st.sets(st.integers(0, len(pieces)), max_size=6)) | {0, len(pieces)})
    assembly = Assembly(REQUEST)
    shown = "".join(
        assembly.feed({"choices": [{"delta": {"content": "".join(pieces[start:end])}}]})
        for start, end in pairwise(borders)
    )
    assembly.feed({"choices": [{"finish_reason": "stop"}]})
    assert assembly.reply().text == shown == text


def test_blocks_of_reasoning_grow_until_they_are_signed() -> None:
    def thinking(text: str, signature: str | None = None) -> dict[str, Any]:
        return {"thinking_blocks": [{"type": "thinking", "thinking": text, "signature": signature}]}

    reply = assembled(thinking("one "), thinking("two"), thinking("", "sig"), thinking("three"))
    blocks = reply.opaque["fields"]["thinking_blocks"]
    assert [(b["thinking"], b["signature"]) for b in blocks] == [("one two", "sig"), ("three", None)]


def test_reasoning_grows_in_linear_time() -> None:
    started = time.process_time()
    reply = assembled(*({"reasoning_content": "x" * 40} for _ in range(100_000)))
    assert len(reply.opaque["fields"]["reasoning_content"]) == 4_000_000
    assert time.process_time() - started < 4


def test_a_refusal_is_the_text() -> None:
    reply = assembled({"refusal": "I will "}, {"refusal": "not."})
    assert (reply.text, reply.finish_reason) == ("I will not.", "refusal")


# --- the end ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("stop", "stop"), ("end_turn", "stop"), ("STOP", "stop"), ("eos", "stop"), ("max_tokens", "length"),
        ("MAX_TOKENS", "length"), ("model_length", "length"), ("SAFETY", "content_filter"),
        ("sensitive", "content_filter"),
        ("insufficient_system_resource", "error"), ("abort", "error"), ("something new", "something new"),
    ],
)  # fmt: skip
def test_finish_reasons_in_all_spellings(said: str, meant: str) -> None:
    assert assembled({"content": "a"}, finish=said).finish_reason == meant


def test_a_cut_answer_keeps_its_reason() -> None:
    reply = assembled(call('{"path": "a', index=0, id="x"), finish="length")
    assert (reply.finish_reason, reply.calls[0].malformed) == ("length", '{"path": "a')


@pytest.mark.found("A10")
def test_an_end_without_a_reason_is_one_where_nothing_is_missing() -> None:
    assert assembled({"content": "a"}, finish=None).finish_reason == "stop"
    assert assembled(call("{}", index=0), finish=None).finish_reason == "tool_calls"
    with pytest.raises(ModelError, match="ended before"):
        assembled(call('{"a', index=0), finish=None)


def test_an_answer_without_its_end_is_broken_and_what_came_is_kept() -> None:
    assembly = Assembly(REQUEST)
    assembly.feed({"choices": [{"delta": {"content": "half"}}]})
    with pytest.raises(ModelError, match="ended before") as caught:
        assembly.reply()
    assert caught.value.kind == "transport"
    assert caught.value.reply is not None
    assert caught.value.reply.text == "half"


@pytest.mark.found("C10")
def test_an_attempt_of_which_nothing_came_has_no_tokens() -> None:
    with pytest.raises(ModelError) as blank:
        Assembly(REQUEST).reply()
    with pytest.raises(ModelError) as refused:
        Assembly(REQUEST).feed({"error": {"message": "overloaded"}})
    assembly = Assembly(REQUEST)
    assembly.feed({"choices": [{"delta": {"content": "half"}}]})
    with pytest.raises(ModelError) as broken:
        assembly.feed({"error": {"message": "overloaded"}})
    assert (blank.value.reply, refused.value.reply) == (None, None)
    assert broken.value.reply is not None and broken.value.reply.usage.estimated


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ({"error": {"message": "overloaded", "code": 503}}, "server"),
        ({"error": "text"}, "server"),
        ([{"error": {"code": 429, "message": "x"}}], "rate_limited"),
        ({"object": "error", "message": "prompt is too long: 9 tokens > 8 maximum"}, "context_length"),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "server"),
        ({"code": 429, "message": "slow down"}, "rate_limited"),
        ({"detail": "Not authenticated", "status": 401}, "auth"),
        ({"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}, "quota"),
        ({"choices": [{"delta": {}, "finish_reason": "error", "error": {"code": 502, "message": "x"}}]}, "server"),
        ({"error": {"message": "x", "code": 429}, "choices": [{"delta": {"content": ""}}]}, "rate_limited"),
        ([], "transport"),
        ("text", "transport"),
        (None, "transport"),
    ],
)
def test_an_error_within_an_answer_has_its_kind(document: Any, kind: str) -> None:
    with pytest.raises(ModelError) as caught:
        Assembly(REQUEST).feed(document)
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    "odd",
    [
        {}, {"choices": None}, {"choices": []}, {"choices": {}}, {"choices": "x"}, {"choices": [3, None]},
        {"choices": [{}]}, {"choices": [{"delta": None}]}, {"choices": [{"delta": 7, "finish_reason": 9}]},
        {"choices": [{"delta": {"tool_calls": "x"}}]}, {"usage": None}, {"usage": []}, {"usage": "x"}, {"model": 5},
        {"error": None}, {"usage": {"prompt_tokens": "NaN", "completion_tokens": [1], "prompt_tokens_details": 3}},
        {"choices": [{"delta": {"reasoning_content": None, "thinking_blocks": [1, None, []], "reasoning": {"a": 1}}}]},
    ],
)  # fmt: skip
def test_odd_documents_change_nothing(odd: Any) -> None:
    assembly = Assembly(REQUEST)
    for document in (
        odd,
        {"choices": [{"delta": {"content": "a"}}]},
        odd,
        {"choices": [{"finish_reason": "stop"}]},
        odd,
    ):
        assembly.feed(document)
    reply = assembly.reply()
    assert (reply.text, reply.calls, reply.usage.estimated) == ("a", (), True)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["choices", "delta", "message", "content", "tool_calls", "function", "name", "arguments",
                         "index", "id", "type", "text", "usage", "prompt_tokens", "finish_reason", "error", "code",
                         "detail",
                         "reasoning_content", "thinking_blocks", "refusal", "function_call", "model", "base_resp"]),
        inner, max_size=4),
    max_leaves=25,
)  # fmt: skip


@given(
    st.lists(JSON | st.fixed_dictionaries({"choices": st.lists(st.fixed_dictionaries({"delta": JSON}))}), max_size=4)
)
def test_no_document_leads_to_anything_but_a_reply_or_a_model_error(documents: list[Any]) -> None:
    assembly = Assembly(REQUEST)
    try:
        for document in documents:
            assembly.feed(document)
        assembly.end()
        reply = assembly.reply()
    except ModelError:
        reply = assembly.partial()
    assert all(one.id and isinstance(one.name, str) for one in reply.calls)
    orjson.dumps([reply.text, reply.opaque, [one.arguments for one in reply.calls], reply.model, reply.finish_reason])


@pytest.mark.parametrize("number", [-(1 << 63) - 1, 1 << 64, 10**400])
def test_a_number_of_more_than_64_bits_is_kept_as_far_as_json_can_hold_it(number: int) -> None:
    assembly = Assembly(REQUEST)
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": {"size": number}}}
    assembly.feed({"choices": [{"delta": {"reasoning_details": [{"index": number}], "tool_calls": [call]}}]})
    assembly.feed({"choices": [{"finish_reason": "tool_calls"}]})
    reply = assembly.reply()
    kept = None if number == 10**400 else float(number)
    assert reply.opaque is not None and reply.opaque["fields"]["reasoning_details"] == [{"index": kept}]
    assert [one.arguments for one in reply.calls] == [{"size": kept}]


# --- usage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}, (10, 2, 4)),
        ({"prompt_tokens": 10, "completion_tokens": 2, "prompt_cache_hit_tokens": 3}, (10, 2, 3)),
        ({"input_tokens": 10.0, "output_tokens": "2", "cache_read_input_tokens": -5}, (10, 2, 0)),
        ({"prompt_tokens": 1e30, "completion_tokens": True}, (bounds.TOKENS, 1, 0)),
    ],
)
def test_usage_in_all_its_names(usage: dict[str, Any], counted: tuple[int, int, int]) -> None:
    read, written, cached = counted
    assert usage_of(usage) == Usage(input_tokens=read, output_tokens=written, cached_tokens=cached)


@pytest.mark.parametrize(
    "place", [{"x_groq": {"usage": {"prompt_tokens": 5}}}, {"choices": [{"usage": {"prompt_tokens": 5}}]}]
)
def test_usage_is_found_where_servers_put_it(place: dict[str, Any]) -> None:
    assembly = Assembly(REQUEST)
    assembly.feed(place)
    assembly.feed({"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]})
    assert assembly.reply().usage == Usage(input_tokens=5)


def test_a_null_setting_leaves_the_key_out() -> None:
    request = Request(route_id="r", model="m", messages=(), generation={"stream_options": None, "seed": 1})
    assert chat.body(request) == {"model": "m", "messages": [], "stream": True, "seed": 1}
