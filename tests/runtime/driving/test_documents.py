"""Requests, answers and failures come out of a frame as they went in."""

from __future__ import annotations

import orjson

from kheish.runtime.drivers.base import Call, Image, Message, ModelError, Reply, Request, ToolSpec, Usage
from kheish.runtime.driving import documents

CALL = Call(id="c1", name="bash", arguments={"command": "ls"})
REPLY = Reply(
    text="Grüße",
    calls=(CALL, Call(id="c2", name="read", malformed="{oops")),
    left_out=3,
    finish_reason="tool_calls",
    usage=Usage(input_tokens=9, output_tokens=4, cached_tokens=2, estimated=True),
    model="m-2",
    opaque={"fields": {"reasoning": "…"}, "route": "local"},
    cost_usd=0.25,
)


def test_a_request_comes_back_whole() -> None:
    picture = Image(media_type="image/png", data="aGk=")
    request = Request(
        route_id="local",
        model="m-1",
        messages=(
            Message(role="system", text="be brief"),
            Message(role="user", text="what is this?", _images=(picture,)),
            Message(role="assistant", calls=(CALL,), opaque={"signature": "s"}),
            Message(role="tool", text="no", call_id="c1", is_error=True),
        ),
        tools=(ToolSpec(name="bash", description="runs", parameters={"type": "object"}),),
        generation={"temperature": 0.1},
        answers=7,
        settings={"api_base": "http://127.0.0.1/v1", "timeout": 3.0},
        credential="sk-1",
        stream=False,
        omit=frozenset({"messages.name"}),
    )
    frame = orjson.loads(orjson.dumps(documents.of_request(request)))
    assert documents.to_request(frame) == request
    assert documents.to_request(frame).messages[1].images == (picture,)


def test_an_answer_and_a_failure_come_back_whole() -> None:
    assert documents.to_reply(orjson.loads(orjson.dumps(documents.of_reply(REPLY)))) == REPLY
    error = ModelError("context_length", "too long", status=400, window=8192, prompt_tokens=9000, reply=REPLY)
    back = documents.to_error(orjson.loads(orjson.dumps(documents.of_error(error))))
    assert vars(back) == vars(error) and not back.retryable
