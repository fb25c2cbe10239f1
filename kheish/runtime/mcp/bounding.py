"""A bound on the values of a message: the SDK parses on the event loop, and takes seconds for a message of millions of
numbers that is within the limit of its size."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import orjson

from kheish.runtime.mcp.wire import TOO_LARGE, Wire

#: values of a message; each costs the SDK some microseconds
VALUES = 50_000
#: every value but the first of its container comes after one of these; texts may have them, too
_MARKS = (b",", b"[", b"{")
_BLANK = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_DATA = re.compile(rb"^data: ?(.*)$", re.MULTILINE)


async def refuses(raw: bytes, wire: Wire) -> bool:
    """Return whether a message has too many values, and note that as the end of the connection."""
    if sum(map(raw.count, _MARKS)) <= VALUES or not await asyncio.to_thread(is_dense, raw):
        return False
    wire.fail(f"it sent a message of more than {VALUES} values", TOO_LARGE)
    return True


def is_dense(raw: bytes) -> bool:
    """Return whether a message has more than VALUES values. One that is no JSON has none."""
    try:
        level = [orjson.loads(raw)]
    except ValueError:
        return False
    count = 0
    while level:
        count += len(level)
        if count > VALUES:
            return True
        level = [
            item
            for one in level
            if isinstance(one, dict | list)
            for item in (one.values() if isinstance(one, dict) else one)
        ]
    return False


async def events(chunks: AsyncIterator[bytes], wire: Wire) -> AsyncIterator[bytes]:
    """Yield the chunks of an event stream up to an event with too many values: its last chunk is withheld."""
    rest = bytearray()
    async for data in chunks:
        start = max(0, len(rest) - 3)  # a blank line may have begun
        rest += data
        while (found := _BLANK.search(rest, start)) is not None:
            event, start = bytes(rest[: found.start()]), 0
            del rest[: found.end()]
            if await refuses(b"\n".join(_DATA.findall(event)), wire):
                return
        yield data


async def body(chunks: AsyncIterator[bytes], wire: Wire) -> AsyncIterator[bytes]:
    """Yield the body of a response as a whole; nothing, if it has too many values."""
    parts: list[Any] = [data async for data in chunks]
    raw = b"".join(parts)
    if not await refuses(raw, wire):
        yield raw
