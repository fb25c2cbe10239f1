"""The openai driver when things go wrong: every failure of a provider has its kind, and nothing hangs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from email.utils import formatdate

import pytest

from kheish.runtime.drivers.openai import OpenAIDriver
from tests.runtime.drivers.asking import ask, fail, request
from tests.support.openai_standin import TOO_LONG, UNAUTHORIZED, Answer, Behaviour, Failure, Hang, standin


@pytest.fixture
async def driver() -> AsyncIterator[OpenAIDriver]:
    made = OpenAIDriver()
    yield made
    await made.aclose()


@pytest.mark.parametrize(
    ("behaviour", "kind", "status", "retryable"),
    [
        (Failure(status=429), "rate_limited", 429, True),
        (Failure(status=500), "server", 500, True),
        (Failure(status=503), "server", 503, True),
        (Failure(status=408), "server", 408, True),
        (UNAUTHORIZED, "auth", 401, False),
        (Failure(status=403), "auth", 403, False),
        (TOO_LONG, "context_length", 400, False),
        (Failure(status=400, message="the prompt is too long: 9 > 8"), "context_length", 400, False),
        (Failure(status=404, message="no such model"), "bad_request", 404, False),
        (Answer(break_after=3), "transport", None, True),
        (Answer(break_after=0), "transport", None, True),
        (Answer(error_after=3), "server", 503, True),
    ],
)
async def test_a_failure_has_its_kind(
    driver: OpenAIDriver, behaviour: Behaviour, kind: str, status: int | None, retryable: bool
) -> None:
    async with standin(behaviour) as server:
        error = await fail(driver, request(server.url))
        asked = [one for one in server.requests if one.path.endswith("/chat/completions")]
        assert len(asked) == 1  # the SDK does not try again by itself
    assert (error.kind, error.status, error.retryable) == (kind, status, retryable)


async def test_retry_after_is_read_in_both_forms(driver: OpenAIDriver) -> None:
    date = formatdate(time.time() + 30, usegmt=True)
    async with standin(
        Failure(status=429, retry_after="1.5"),
        Failure(status=503, retry_after=date),
        Failure(status=429, retry_after="soon"),
    ) as server:
        waits = [(await fail(driver, request(server.url))).retry_after for _ in range(3)]
    assert waits[0] == 1.5
    assert waits[1] is not None
    assert 25 < waits[1] <= 30
    assert waits[2] is None


async def test_what_came_before_a_break_was_streamed_and_the_next_call_works(driver: OpenAIDriver) -> None:
    deltas: list[str] = []
    async with standin(Answer(text="abcdef", chunks=3, break_after=3)) as server:
        with pytest.raises(Exception, match=r"stream ended|connection"):
            await driver.complete(request(server.url), deltas.append)
        reply, _ = await ask(driver, request(server.url))
    assert deltas == ["ab", "cd"]
    assert reply.finish_reason == "stop"


@pytest.mark.parametrize("behaviour", [Hang(), Answer(hang_after=3)])
async def test_silence_ends_after_the_inactivity_timeout(driver: OpenAIDriver, behaviour: Behaviour) -> None:
    async with standin(behaviour) as server:
        error = await fail(driver, request(server.url, settings={"inactivity_timeout": 0.1}))
        assert error.kind == "timeout"
        assert "0.1 s" in error.message


@pytest.mark.parametrize("stream", [True, False])
async def test_a_slow_answer_ends_after_the_total_timeout(driver: OpenAIDriver, stream: bool) -> None:
    async with standin(Answer(), Answer(delay=0.5, chunks=20)) as server:
        await ask(driver, request(server.url))  # the import of the SDK does not count
        started = time.monotonic()
        error = await fail(driver, request(server.url, stream=stream, settings={"timeout": 0.2}))
    assert (error.kind, time.monotonic() - started < 8) == ("timeout", True)  # whole, it would take ten


async def test_a_whole_answer_may_be_silent_for_longer_than_the_inactivity_timeout(driver: OpenAIDriver) -> None:
    async with standin(Answer(delay=0.2)) as server:
        asked = request(server.url, stream=False, settings={"inactivity_timeout": 0.05})
        assert (await ask(driver, asked))[0].text


async def test_a_cancelled_call_lets_go_of_its_connection(driver: OpenAIDriver) -> None:
    began = asyncio.Event()
    async with standin(Answer(hang_after=3)) as server:
        call = asyncio.create_task(driver.complete(request(server.url), lambda text: began.set()))
        await began.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        async with asyncio.timeout(5):
            while server.open_connections:  # noqa: ASYNC110 - the server sees the close when it sees it
                await asyncio.sleep(0.005)


async def test_no_server_is_a_transport_error(driver: OpenAIDriver) -> None:
    async with standin() as server:
        gone = server.url
    assert (await fail(driver, request(gone))).kind == "transport"


async def test_a_credential_never_shows_in_an_error(driver: OpenAIDriver) -> None:
    async with standin(Failure(status=401, message="Incorrect API key provided: sk-very-secret")) as server:
        refused = await fail(driver, request(server.url, credential="sk-very-secret"))
        illegal = await fail(driver, request(server.url, credential="sk-a\nsk-very-secret"))
    assert "[credential]" in refused.message
    assert "sk-very-secret" not in refused.message + illegal.message
    assert (illegal.kind, len(server.requests)) == ("auth", 1)
