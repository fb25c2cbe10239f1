"""How much a caller may ask for, and how long a connection may be without a whole request."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import uvicorn
from uvicorn.server import ServerState

from kheish.api import media
from kheish.api.rates import Rates, Streams
from kheish.daemon.connections import Connection
from kheish.errors import Invalid, TooMany


def test_a_caller_has_a_rate_of_its_own_and_gets_on_after_a_moment() -> None:
    now = [100.0]
    rates = Rates(lambda: now[0])
    for _ in range(10):
        rates.count("token:a", 10)
    with pytest.raises(TooMany, match="token:a asks more than 10 times"):
        rates.count("token:a", 10)
    rates.count("token:b", 10)
    rates.count("token:a", None)
    now[0] += 0.15
    rates.count("token:a", 10)
    with pytest.raises(TooMany):
        rates.count("token:a", 10)


def test_streams_are_counted_by_caller() -> None:
    streams = Streams()
    streams.opened("token:a")
    streams.opened("token:a")
    with pytest.raises(TooMany, match="2 open event streams"):
        streams.check("token:a", 2)
    streams.check("token:b", 2)
    streams.check("token:a", None)
    streams.closed("token:a")
    streams.check("token:a", 2)


class Hasty(Connection):
    HEAD_SECONDS = 0.2
    BODY_SECONDS = 0.2


async def app(scope: dict, receive, send) -> None:  # type: ignore[no-untyped-def,type-arg]
    while (await receive()).get("more_body"):
        pass
    await asyncio.sleep(0.5)  # answers may take longer than requests
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[int]:
    config = uvicorn.Config(app, ws="none", lifespan="off", log_config=None, access_log=False)
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Hasty(config, state, {}), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


ENDS = {
    "nothing at all": (b"", b"408"),
    "half a header": (b"GET / HTTP/1.1\r\nHost: x\r\nA: b", b"408"),
    "half a body": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf", b"408"),
    "endless headers": (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 100_000, b"431"),
}


@pytest.mark.parametrize("what", ENDS)
async def test_a_client_that_never_finishes_is_let_go(what: str) -> None:
    sent, status = ENDS[what]
    async with serving() as port, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 " + status)


async def test_a_whole_request_may_be_answered_late_and_another_may_follow() -> None:
    async with serving() as port, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        writer.close()


@pytest.mark.parametrize("number", ["1" + "0" * 19, "18446744073709551616", "-9223372036854775809", "9" * 5000])
def test_an_integer_that_no_journal_can_hold_is_refused(number: str) -> None:
    with pytest.raises(Invalid, match="64 bits"):
        media.plain_json(b'{"inputs": {"n": [%s0]}}' % number.encode())
    assert media.plain_json(b'{"a": 18446744073709551615, "b": -9223372036854775808, "c": "%s"}' % number.encode())
