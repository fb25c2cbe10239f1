"""The bound on the values of a message: what is refused before the SDK parses it, and what is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from kheish.runtime.mcp import bounding, stdio
from kheish.runtime.mcp.wire import TOO_LARGE, Wire

DENSE = b'{"jsonrpc":"2.0","id":1,"result":{"x":[' + b"1," * bounding.VALUES + b"1]}}"
#: as many commas, in one text
COMMAS = b'{"jsonrpc":"2.0","id":2,"result":{"x":"' + b"a," * bounding.VALUES + b'"}}'


async def chunks(raw: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(raw), size):
        yield raw[start : start + size]


async def test_only_values_count() -> None:
    wire = Wire()
    for raw in (COMMAS, b'{"a": 1}', b"no json" + b"," * bounding.VALUES * 2):
        assert not await bounding.refuses(raw, wire)
    assert wire.fault is None
    nested = b"[" * 500 + b"]" * 500
    assert not await bounding.refuses(b"[" + b",".join([nested] * 90) + b"]", wire)
    assert await bounding.refuses(DENSE, wire)
    assert wire.code == TOO_LARGE and "50000 values" in str(wire.fault)


async def test_an_event_with_too_many_values_is_withheld() -> None:
    wire = Wire()
    good = b"event: message\r\ndata: " + COMMAS + b"\r\n\r\n"
    assert b"".join([data async for data in bounding.events(chunks(good * 3), wire)]) == good * 3
    bad = good + b"data: " + DENSE + b"\n\n" + good
    given = b"".join([data async for data in bounding.events(chunks(bad), wire)])
    assert not given.endswith(b"1]}}\n\n") and len(given) < len(good) + len(DENSE) + 8
    assert wire.code == TOO_LARGE


async def test_a_body_is_given_whole_or_not_at_all() -> None:
    wire = Wire()
    assert [data async for data in bounding.body(chunks(COMMAS), wire)] == [COMMAS]
    assert not [data async for data in bounding.body(chunks(DENSE), wire)] and wire.code == TOO_LARGE


async def test_a_process_that_sends_too_many_values_is_left() -> None:
    class Process:
        reader = asyncio.StreamReader()

    class Given:
        messages: list[Any] = []

        async def __aenter__(self) -> Given:
            return self

        async def __aexit__(self, *_: object) -> None:
            pass

        async def send(self, item: Any) -> None:
            self.messages.append(item)

    wire, given = Wire(), Given()
    Process.reader.feed_data(COMMAS + b"\n" + DENSE + b"\n" + COMMAS + b"\n")
    Process.reader.feed_eof()
    process: Any = Process()
    stream: Any = given
    await stdio._read(process, stream, wire, 10_000_000)
    assert len(given.messages) == 1 and wire.code == TOO_LARGE
