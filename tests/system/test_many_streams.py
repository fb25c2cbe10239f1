"""A thousand event streams of one caller at once, each with every event; and one more than the setting allows."""

from __future__ import annotations

import asyncio
import resource

import pytest

from kheish.errors import TooMany
from tests.support.daemon import Daemon, until
from tests.system.conftest import Fresh

STREAMS = 1000


async def _open(daemon: Daemon) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = daemon.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"GET /v1/events HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {daemon.token}\r\n\r\n"
    writer.write(head.encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    return reader, writer


async def test_a_thousand_streams_get_every_event(fresh: Fresh) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < STREAMS + 200:
        pytest.skip(f"a process may open {hard} files here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, STREAMS + 200), hard))
    daemon = fresh(config={"api": {"streams": STREAMS}})
    opened = [await _open(daemon) for _ in range(STREAMS)]
    refused = await asyncio.to_thread(daemon.http, "GET", "/v1/events")
    assert (refused.status_code, refused.json()["code"]) == (429, TooMany.code)
    await asyncio.to_thread(daemon.client.sessions.create, "seen-by-all")
    async with asyncio.timeout(30):
        await asyncio.gather(*(reader.readuntil(b"seen-by-all") for reader, _ in opened))
    for _, writer in opened:
        writer.close()

    def let_go() -> bool:
        return "kheish_event_streams 0" in daemon.http("GET", "/metrics").text

    await asyncio.to_thread(until, let_go, what="closed streams are not counted any more")
