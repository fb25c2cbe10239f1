"""The litellm driver, the real library over loopback. Its import takes seconds, so all of it is in this one file."""

from __future__ import annotations

import gzip
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kheish.runtime.drivers import bounds
from kheish.runtime.drivers.base import Message
from kheish.runtime.drivers.litellm import LiteLLMDriver
from tests.runtime.drivers.asking import HELLO, ask, fail, request
from tests.runtime.drivers.test_hostile_server import SSE, Raw, delta, head, serving, stream
from tests.support.openai_standin import TOO_LONG, UNAUTHORIZED, Answer, Behaviour, Failure, Hang, ToolCall, standin

# litellm itself uses what its dependencies have deprecated, and has types that pydantic warns about
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:pydantic.*"),
]


@pytest.fixture(scope="module")
def loaded() -> LiteLLMDriver:
    from kheish.runtime.drivers import litellm

    driver = LiteLLMDriver()
    driver._litellm = litellm._load()
    return driver


@pytest.fixture
async def driver(loaded: LiteLLMDriver) -> AsyncIterator[LiteLLMDriver]:
    yield loaded
    await loaded.aclose()
    loaded._litellm.in_memory_llm_clients_cache.flush_cache()  # its clients belong to this test's event loop


def asking(url: str, **fields: Any) -> Any:
    return request(url, **{"model": "openai/m-1", **fields})


@pytest.mark.parametrize("stream", [True, False])
async def test_text_calls_and_usage_come_back(driver: LiteLLMDriver, stream: bool) -> None:
    calls = (ToolCall(id="a", name="bash", arguments='{"command": "ls"}'), ToolCall(id="b", name="x", arguments="{"))
    async with standin(Answer(text="hello there", chunks=3, calls=calls, usage=(900, 40, 600))) as server:
        reply, deltas = await ask(driver, asking(server.url, stream=stream))
    assert reply.text == "".join(deltas) == "hello there"
    assert [(call.id, call.arguments, call.malformed) for call in reply.calls] == [
        ("a", {"command": "ls"}, None),
        ("b", {}, "{"),
    ]
    assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.cached_tokens) == (900, 40, 600)
    assert reply.finish_reason == "tool_calls"


async def test_a_known_model_has_a_price_and_an_unknown_one_none(driver: LiteLLMDriver) -> None:
    async with standin(Answer(usage=(1000, 1000, 0)), Answer(usage=(1000, 1000, 0))) as server:
        known, _ = await ask(driver, asking(server.url, model="openai/gpt-4o-mini"))
        unknown, _ = await ask(driver, asking(server.url))
    assert known.cost_usd == pytest.approx(0.00075)
    assert unknown.cost_usd is None


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        (Failure(status=429, retry_after="2"), "rate_limited"),
        (Failure(status=500), "server"),
        (Failure(status=503), "server"),
        (UNAUTHORIZED, "auth"),
        (TOO_LONG, "context_length"),
        (Failure(status=404), "bad_request"),
        (Answer(break_after=3), "transport"),
        (Answer(hang_after=3), "timeout"),
        (Hang(), "timeout"),
    ],
)
async def test_a_failure_has_its_kind(driver: LiteLLMDriver, behaviour: Behaviour, kind: str) -> None:
    async with standin(Answer(), behaviour) as server:
        await ask(driver, asking(server.url))  # litellm's first call imports more of it
        error = await fail(driver, asking(server.url, settings={"inactivity_timeout": 0.3}))
        assert len(server.requests) == 2
    assert error.kind == kind
    assert error.retry_after == (2.0 if kind == "rate_limited" else None)
    assert (error.reply is not None) == isinstance(behaviour, Answer), "tokens count only if something came"


async def test_reasoning_is_kept_and_goes_back(driver: LiteLLMDriver) -> None:
    async with standin(Answer(reasoning="think", text="so")) as server:
        reply, _ = await ask(driver, asking(server.url))
        back = Message(role="assistant", text=reply.text, opaque=reply.opaque)
        await ask(driver, asking(server.url, messages=(*HELLO, back)))
    assert reply.opaque["fields"]["reasoning_content"] == "think"


async def test_nothing_of_the_environment_goes_to_a_named_server(
    driver: LiteLLMDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "from-environment")
    async with standin() as server:
        await ask(driver, asking(server.url))
        assert "from-environment" not in str(server.requests[0])
    assert os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] == "True"


@pytest.mark.found("A8")
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (stream(delta(content="half"), done=False), "transport"),
        (stream(delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": "t", "arguments": ""}}])), "transport"),
        (head("location: /elsewhere", "content-length: 0", status="307 x"), "bad_request"),
        (head(SSE, "content-encoding: gzip") + gzip.compress(b": " + b"x" * 9_000_000 + b"\n"), "oversized"),
    ],
)
async def test_what_a_hostile_server_sends_is_bounded_and_never_completed(
    driver: LiteLLMDriver, answer: bytes, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "BYTES", 2_000_000)
    raw = Raw(answer)
    async with serving(raw) as url:
        error = await fail(driver, asking(url, credential="sk-secret"))
    assert error.kind == kind, error.message
    assert len(raw.bodies) == 1
    assert not any("/elsewhere" in one.split("\r\n")[0] for one in raw.heads)
    if kind == "transport":
        assert error.reply is not None and error.reply.usage.estimated


async def test_other_providers_of_litellm_are_guarded_too(driver: LiteLLMDriver) -> None:
    raw = Raw(head("location: /elsewhere", "content-length: 0", status="307 x"))
    async with serving(raw) as url:
        error = await fail(driver, asking(url, model="anthropic/claude-sonnet-4-5", credential="sk-secret"))
    assert (error.kind, len(raw.heads)) == ("bad_request", 1)
