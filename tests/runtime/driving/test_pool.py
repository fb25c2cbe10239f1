"""Driver processes, which are real: their calls, and what becomes of them when a process ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from kheish.auth import redaction
from kheish.runtime.debug import wire
from kheish.runtime.drivers import registry
from kheish.runtime.drivers.base import ModelError, Reply
from kheish.runtime.driving import process as driver_process
from kheish.runtime.driving.pool import Pool
from kheish.runtime.executor import Local
from tests.runtime.drivers.asking import request
from tests.support.openai_standin import UNAUTHORIZED, Answer, standin

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY, HIDDEN = "sk-only-in-the-pipe", "hidden-by-its-value"
PATIENT = {"timeout": 120.0, "inactivity_timeout": 120.0}
SLOW = Answer(text="one two three", chunks=3, delay=0.05, hang_after=3)


class Sized:
    """A pool whose number of processes can change."""

    def __init__(self) -> None:
        self.size = 1
        environ = {**os.environ, "MY_API_KEY": "by its name", "PLAIN": HIDDEN, "REGION": "eu-1"}
        self.pool = Pool(lambda: self.size, environ, lambda: redaction.scrubber({"hidden": HIDDEN}))
        self.executor = Local(self.pool)

    async def ask(self, url: str, on_delta: Callable[[str], None] = lambda text: None) -> Reply:
        return await self.executor.complete("openai", request(url, credential=KEY, settings=PATIENT), on_delta)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sized() -> AsyncIterator[Sized]:
    """One pool for all tests: a process takes a second to start."""
    made = Sized()
    yield made
    await made.executor.aclose()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - processes set no events
            await asyncio.sleep(0.01)


async def ask_until(sized: Sized, url: str, text: str) -> asyncio.Task[Reply]:
    """Return a call under way, from which this text has come."""
    deltas: list[str] = []
    task = asyncio.create_task(sized.ask(url, deltas.append))
    await until(lambda: task.done() or text in "".join(deltas))
    assert not task.done(), task
    return task


async def test_calls_and_failures_are_those_of_the_driver(sized: Sized) -> None:
    deltas: list[str] = []
    async with standin(Answer(text="Grüße, 世界", usage=(9, 4, 2)), UNAUTHORIZED) as server:
        reply = await sized.ask(server.url, deltas.append)
        with pytest.raises(ModelError, match="Incorrect API key") as failed:
            await sized.ask(server.url)
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert reply.text == "".join(deltas) == "Grüße, 世界" and reply.usage.input_tokens == 9
    assert (failed.value.kind, failed.value.status, failed.value.retryable) == ("auth", 401, False)
    assert "openai" in registry.loaded() and len(sized.pool.pids()) == 1


async def test_no_secret_is_in_a_process_command_line_or_environment(sized: Sized) -> None:
    async with standin() as server:
        await sized.ask(server.url)
    proc = Path(f"/proc/{sized.pool.pids()[0]}")
    seen = (proc / "environ").read_bytes() + (proc / "cmdline").read_bytes()
    assert b"REGION=eu-1" in seen
    assert not any(secret in seen for secret in (KEY.encode(), b"by its name", HIDDEN.encode()))


async def test_an_exchange_is_captured_as_in_the_daemon(sized: Sized) -> None:
    async with standin(Answer(text="hello", chunks=1)) as server:
        with wire.captured() as exchange:
            await sized.ask(server.url)
    assert b'"content":"hello"' in bytes(exchange.answers[0]) and b'"m-1"' in exchange.requests[0]
    assert exchange.sizes == [len(exchange.answers[0])]


async def test_a_killed_process_fails_its_calls_like_a_cut_connection_and_is_started_again(sized: Sized) -> None:
    async with standin(SLOW, SLOW) as server:
        calls = [await ask_until(sized, server.url, "one") for _ in range(2)]
        (killed,) = sized.pool.pids()
        os.kill(killed, signal.SIGKILL)
        for failure in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(failure, ModelError) and (failure.kind, failure.retryable) == ("transport", True)
            assert failure.reply is not None and failure.reply.text.startswith("one")
        assert (await sized.ask(server.url)).text == Answer().text
    assert sized.pool.pids() != [killed]


async def test_a_process_that_stops_answering_is_killed(sized: Sized, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_process, "_PING_EVERY", 0.05)
    monkeypatch.setattr(driver_process, "_PING_WITHIN", 3.0)
    async with standin(SLOW) as server:
        call = await ask_until(sized, server.url, "one")
        os.kill(sized.pool.pids()[0], signal.SIGSTOP)
        with pytest.raises(ModelError, match="ended before the answer"):
            await asyncio.wait_for(call, 20)


async def test_a_cancelled_call_closes_its_connection_and_no_other(sized: Sized) -> None:
    async with standin(SLOW, SLOW) as server:
        gone, kept = [await ask_until(sized, server.url, "one") for _ in range(2)]
        assert server.open_connections == 2
        gone.cancel()
        await until(lambda: server.open_connections == 1)
        assert gone.cancelled() and not kept.done()
        kept.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await kept


async def test_the_number_of_processes_follows_its_setting(sized: Sized) -> None:
    sized.size = 2
    async with standin(SLOW, SLOW) as server:
        calls = [await ask_until(sized, server.url, "one")]
        calls.append(await ask_until(sized, server.url, "one"))  # in the first process, while the second starts
        await until(lambda: len(sized.pool.pids()) == 2)
        first, second = sized.pool.pids()
        sized.size = 0
        assert (await sized.ask(server.url)).text == Answer().text  # in this process
        assert Path(f"/proc/{first}").exists(), "its calls go on"
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await until(lambda: not Path(f"/proc/{first}").exists() and not Path(f"/proc/{second}").exists())
    assert sized.pool.pids() == []
    sized.size = 1


async def test_a_smaller_number_ends_idle_processes_without_another_call(sized: Sized) -> None:
    async with standin() as server:
        await sized.ask(server.url)
    (idle,) = sized.pool.pids()
    sized.size = 0
    await until(lambda: not Path(f"/proc/{idle}").exists())
    sized.size = 1


async def test_other_drivers_and_lookups_of_credentials_stay_in_the_daemon(sized: Sized) -> None:
    assert not sized.pool.accepts("scripted", request("http://127.0.0.1:1/v1"))
    assert not sized.pool.accepts("litellm", request("", settings={"api_base": None}))
    assert sized.pool.accepts("litellm", request("", settings={"api_base": None}, credential=KEY))
