"""The scripted driver gives the turns of its script, by the number of answers and nothing else."""

from __future__ import annotations

import time
from typing import Any

import pytest

from kheish.runtime.drivers.base import Message, ModelError, Reply, Request
from kheish.runtime.drivers.scripted import ScriptedDriver

USER = Message(role="user", text="make it work")


def request(script: dict[str, Any], *messages: Message, answers: int = 0, stream: bool = True) -> Request:
    return Request(
        route_id="demo",
        model=None,
        messages=messages or (USER,),
        answers=answers,
        settings={"script": script},
        stream=stream,
    )


async def ask(asked: Request) -> tuple[Reply, list[str]]:
    deltas: list[str] = []
    return await ScriptedDriver().complete(asked, deltas.append), deltas


async def test_turns_follow_the_number_of_answers() -> None:
    script = {"turns": [{"text": "one"}, {"text": "two"}]}
    assert [(await ask(request(script, answers=n)))[0].text for n in (1, 0, 1)] == ["two", "one", "two"]


async def test_after_the_last_turn_its_text_comes_again_without_its_calls() -> None:
    script = {"turns": [{"text": "working", "tool_calls": [{"name": "bash"}]}, {"error": {"status": 500}}]}
    reply, _ = await ask(request(script, answers=7))
    assert (reply.text, reply.calls, reply.finish_reason) == ("working", (), "stop")


async def test_after_the_last_turn_it_can_fail() -> None:
    with pytest.raises(ModelError, match="has 1 turns") as caught:
        await ask(request({"turns": [{"text": "one"}], "after_last": "fail"}, answers=1))
    assert caught.value.kind == "refused"
    assert not caught.value.retryable


async def test_placeholders_are_filled_in_texts_and_nested_arguments_in_one_pass() -> None:
    call = {"name": "write_file", "arguments": {"a": [{"b": "<{{last_result}}>"}], "n": 3, "c": "{{ input }}"}}
    result = Message(role="tool", text="got {{input}}", call_id="c1")
    reply, _ = await ask(request({"turns": [{"text": "{{input}}!", "tool_calls": [call]}]}, USER, result))
    assert reply.text == "make it work!"
    assert reply.calls[0].arguments == {"a": [{"b": "<got {{input}}>"}], "n": 3, "c": "make it work"}


async def test_call_ids_are_the_same_each_time_and_differ_within_a_run() -> None:
    script = {"turns": [{"tool_calls": [{"name": "a"}, {"name": "b"}]}] * 2}
    ids = [call.id for n in (0, 1, 0) for call in (await ask(request(script, answers=n)))[0].calls]
    assert ids[:2] == ids[4:]
    assert len(set(ids)) == 4


async def test_expect_looks_at_the_last_result_of_this_run() -> None:
    script = {"turns": [{"expect": "Assert\\w+", "text": "seen"}]}
    tool = Message(role="tool", text="E AssertionError", call_id="c1")
    assert (await ask(request(script, USER, tool)))[0].text == "seen"
    with pytest.raises(ModelError, match="make it work") as caught:  # an older run's result does not count
        await ask(request(script, tool, USER))
    assert caught.value.kind == "refused"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"status": 429, "retry_after": 1.5}, "rate_limited"),
        ({"status": 503}, "server"),
        ({"status": 401}, "auth"),
        ({"status": 400, "code": "context_length_exceeded"}, "context_length"),
        ({"status": 400}, "bad_request"),
    ],
)
async def test_an_error_turn_fails_as_the_provider_would(error: dict[str, Any], kind: str) -> None:
    with pytest.raises(ModelError) as caught:
        await ask(request({"turns": [{"error": error}]}))
    assert (caught.value.kind, caught.value.status) == (kind, error["status"])
    assert caught.value.retry_after == error.get("retry_after")


async def test_text_is_streamed_in_chunks_with_a_delay_before_each() -> None:
    script = {"turns": [{"text": "abcdefghij", "chunks": 3, "delay": "10ms"}]}
    started = time.monotonic()
    reply, deltas = await ask(request(script))
    assert time.monotonic() - started >= 0.03
    assert "".join(deltas) == reply.text
    assert [len(delta) for delta in deltas] == [3, 3, 4]
    assert (await ask(request(script, stream=False)))[1] == ["abcdefghij"]


async def test_usage_is_the_scripts_or_counted_roughly() -> None:
    said, _ = await ask(request({"turns": [{"text": "x", "usage": {"input_tokens": 900, "output_tokens": 40}}]}))
    assert (said.usage.input_tokens, said.usage.output_tokens) == (900, 40)
    counted, _ = await ask(request({"turns": [{"text": "y" * 40}]}))
    assert (counted.usage.input_tokens, counted.usage.output_tokens) == (3, 10)


async def test_a_run_follows_the_first_part_that_fits_its_instructions() -> None:
    parts = [{"prompt": "Phase: look", "turns": [{"text": "one"}, {"text": "two"}]},
             {"prompt": "Phase: (mend|look)", "turns": [{"text": "mended"}]}]  # fmt: skip
    for phase, answers, text in (("look", 0, "one"), ("look", 1, "two"), ("look", 2, "two"), ("mend", 0, "mended")):
        told = Message(role="system", text=f"# Playbook phase\n\nPhase: {phase}")
        assert (await ask(request({"parts": parts}, told, USER, answers=answers)))[0].text == text
    with pytest.raises(ModelError, match="no part"):
        await ask(request({"parts": parts}))


async def test_echo_answers_with_the_input() -> None:
    reply, deltas = await ask(request({"echo": True}, answers=12))
    assert reply.text == "".join(deltas) == "make it work"


async def test_a_call_costs_next_to_nothing() -> None:
    asked = request({"turns": [{"text": "done {{input}}", "tool_calls": [{"name": "a", "arguments": {"b": "c"}}]}]})
    driver = ScriptedDriver()
    started = time.process_time()
    for _ in range(500):
        await driver.complete(asked, len)
    assert (time.process_time() - started) / 500 < 0.0005  # 10 µs on an idle machine
