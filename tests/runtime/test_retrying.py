"""What follows a failed model call: retries, fallbacks, patience, and an answer that is none."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kheish.domain import runs
from kheish.domain.runs import Status
from kheish.domain.turns import Turn
from kheish.runtime import model, retrying
from kheish.runtime.drivers import bounds
from kheish.runtime.drivers.base import Call, ModelError, Reply, Request, Usage
from kheish.runtime.executor import Local
from tests.runtime.harness import Live

DONE = {"text": "done"}
AWAY = {"error": {"status": 503, "message": "Loading model"}}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "BACKOFF", (0.002, 0.01))


def test_backoff_doubles_with_jitter_and_obeys_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "BACKOFF", (0.5, 30.0))
    assert retrying.backoff(1, 7.0) == 7.0
    assert retrying.backoff(9, 1e9) == 3600.0
    for failures in (*range(1, 12), 5000):
        assert 0.25 <= retrying.backoff(failures, None) <= min(30.0, 0.5 * 2 ** min(failures - 1, 30))


@pytest.mark.found("A9")
async def test_a_server_that_is_away_is_waited_for_beyond_all_retries(it: Live) -> None:
    it.script(*[AWAY] * 12, DONE, max_retries=2)
    run = await it.ask()
    assert (run.status, run.waits_for) == (Status.COMPLETED, None)
    assert [one["patient"] for one in it.data("model.failed")] == [False] * 2 + [True] * 10
    assert all(0 < one["retry_in"] <= 0.01 for one in it.data("model.failed"))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"status": 500, "message": "x"}, "model_server"),  # of the request as often as of the server
        ({"status": 401, "message": "x"}, "model_auth"),
        ({"status": 402, "message": "x"}, "model_quota"),
        ({"status": 400, "message": "x"}, "model_error"),
        ({"status": 400, "message": "x", "code": "content_filter"}, "output_declined"),
    ],
)
async def test_what_does_not_pass_by_itself_is_not_waited_for(it: Live, error: dict[str, Any], code: str) -> None:
    it.script(*[{"error": error}] * 9, DONE, max_retries=1)
    run = await it.ask()
    assert run.error is not None and run.error.code == code
    assert not any(one["patient"] for one in it.data("model.failed"))


async def test_patience_ends(it: Live) -> None:
    it.script(*[AWAY] * 99, DONE, max_retries=0, patience="50ms")
    run = await it.ask()
    assert run.error is not None and (run.error.code, run.error.retryable) == ("model_server", True)
    assert "Loading model" in run.error.message
    last = it.data("model.failed")[-1]
    assert (last["retry_in"], last["patient"]) == (None, False)


async def test_fallbacks_come_before_patience_and_then_all_are_tried_again(it: Live) -> None:
    it.script(AWAY, AWAY, AWAY, AWAY, {"text": "the first is back"}, max_retries=1, fallbacks=["b", "c"])
    it.script(*[{"error": {"status": 401, "message": "no key"}}] * 9, route="b")
    it.script(*[AWAY] * 9, route="c", max_retries=0)
    run = await it.ask(route="local")
    assert run.output == "the first is back"
    asked = [one["route"] for one in it.data("model.requested")]
    assert asked == ["local", "local", "b", "c", "local"]  # b has failed for good
    assert [one["patient"] for one in it.data("model.failed")] == [False, False, False, True]


async def test_a_long_wait_gives_way_to_a_fallback_at_once(it: Live) -> None:
    it.script({"error": {"status": 429, "retry_after": 600}}, fallbacks=["b"])
    it.script(DONE, DONE, DONE, route="b")
    assert (await it.ask(route="local")).output == "done"


@pytest.mark.found("A9")
@pytest.mark.parametrize("stop", ["cancel", "interrupt"])
async def test_what_is_waited_for_is_shown_and_a_stop_ends_it(it: Live, stop: str) -> None:
    it.script({"error": {"status": 503, "message": "Loading model", "retry_after": 900}}, DONE)
    run = it.submit_run()
    it.settle()
    await it.until(lambda: it.run_of(run.run_id).waits_for)
    found = it.run_of(run.run_id).waits_for
    assert found is not None
    assert (found.route, found.message, found.attempts) == ("local", "Loading model", 1)
    assert found.until is not None and found.until > found.since
    assert runs.view(it.run_of(run.run_id)).waits_for == found
    await it.until(lambda: run.run_id in it.agent.interruptible)
    getattr(runs, stop)(it.state, run.run_id, by="ann")
    ended = await it.rest(run.run_id)
    assert (ended.status in (Status.CANCELLED, Status.INTERRUPTED), ended.waits_for) == (True, None)


async def test_a_restart_goes_on_waiting_and_counting(it: Live) -> None:
    it.script(AWAY, {"error": {"status": 503, "retry_after": 900}}, DONE)
    run = it.submit_run()
    it.settle()
    await it.until(lambda: len(it.data("model.failed")) == 2 and it.state.get(Turn, run.run_id).retry_at)
    before = it.state.get(Turn, run.run_id)
    await it.worker.drain(5.0)
    again = it.reborn()
    try:
        after = again.state.get(Turn, run.run_id)
        assert (after.failing_since, after.retry_at) == (before.failing_since, before.retry_at)
        again.settle()
        await again.until(lambda: run.run_id in again.agent.interruptible)
        assert len(again.data("model.requested")) == 2, "it is not asked before it is due"
        again.state.clock = lambda: (before.retry_at or 0) + 1
        await again.worker.drain(5.0)
        third = again.reborn()
        third.state.clock = again.state.clock
        assert (await third.rest(run.run_id)).status is Status.COMPLETED
        await third.close()
    finally:
        await again.close()


# --- answers that are none --------------------------------------------------------------------------------------------


class Answering(Local):
    """A driver that gives what it is told, one after the other."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.requests: list[Request] = []

    async def complete(self, driver: str, request: Request, on_delta: Any) -> Reply:
        self.requests.append(request)
        await asyncio.sleep(0)
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@pytest.mark.found("A8")
@pytest.mark.parametrize(
    ("reply", "code", "attempts"),
    [
        (Reply(text="", finish_reason="stop"), "output_empty", 3),
        (Reply(text=" \n", finish_reason="stop"), "output_empty", 3),
        (Reply(text="", finish_reason="length"), "output_truncated", 2),
        (Reply(text="half a sen", finish_reason="length"), "output_truncated", 2),
        (Reply(calls=(Call(id="a", name="bash"),), finish_reason="length"), "output_truncated", 2),
        (Reply(text="half", finish_reason="content_filter"), "output_declined", 1),
        (Reply(text="I will not.", finish_reason="refusal"), "output_declined", 1),
        (Reply(text="half", finish_reason="error"), "model_server", 5),
    ],
)
async def test_no_answer_does_not_count_as_completed(it: Live, reply: Reply, code: str, attempts: int) -> None:
    it.script(DONE, patience="0s")
    it.agent.executor = Answering(reply)
    run = await it.ask()
    assert run.status is Status.FAILED and run.error is not None
    assert (run.error.code, reply.finish_reason in run.error.message) == (code, True)
    failed = it.data("model.failed")
    assert len(failed) == attempts
    assert {(one["finish_reason"], one["text"]) for one in failed} == {(reply.finish_reason, reply.text)}


async def test_the_model_is_told_and_its_next_answer_counts(it: Live) -> None:
    it.script(DONE)
    answering = Answering(
        Reply(text="", finish_reason="stop"), Reply(text="half", finish_reason="length"), Reply(text="ok")
    )
    it.agent.executor = answering
    run = await it.ask()
    assert run.output == "ok"
    told = [request.messages[-1].text for request in answering.requests]
    assert ["empty" in told[1], "cut off" in told[2]] == [True, True]
    later = await it.ask("more")
    assert later.output == "ok"
    assert not any("cut off" in message.text for message in answering.requests[-1].messages)


def test_calls_over_the_bound_are_left_out_for_every_driver() -> None:
    calls = tuple(Call(id=f"c{n}", name="bash") for n in range(bounds.CALLS + 40))
    reply = model.answer(Reply(calls=calls, finish_reason="tool_calls", left_out=2))
    assert (len(reply.calls), reply.left_out) == (bounds.CALLS, 42)
    with pytest.raises(ModelError):
        model.answer(Reply(calls=calls, finish_reason="content_filter"))


async def test_the_model_is_told_of_the_calls_that_were_left_out(it: Live) -> None:
    calls = tuple(Call(id=f"c{n}", name="list_files") for n in range(bounds.CALLS + 40))
    it.script(DONE)
    it.agent.executor = Answering(Reply(calls=calls, finish_reason="tool_calls"), Reply(text="ok"))
    run = await it.ask()
    assert run.output == "ok"
    results = it.results()
    assert len(results) == bounds.CALLS
    assert [code for _, code, _ in results if code] == ["too_many_calls"]
    told = next(content for _, code, content in results if code)
    assert f"{bounds.CALLS + 40} calls" in told and "the 40 behind it" in told
    assert run.usage.tool_calls == bounds.CALLS - 1


@pytest.mark.found("C10")
async def test_tokens_of_failed_attempts_count(it: Live) -> None:
    half = Reply(text="half", finish_reason="length", usage=Usage(input_tokens=100, output_tokens=50))
    it.script(DONE)
    it.agent.executor = Answering(half, Reply(text="ok", usage=Usage(input_tokens=7, output_tokens=1, estimated=True)))
    run = await it.ask()
    assert (run.usage.input_tokens, run.usage.output_tokens, run.usage.estimated) == (107, 51, True)
    assert run.usage.model_calls == 1
