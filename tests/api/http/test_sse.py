"""Event streams: complete, in order, nothing twice, whatever comes when."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator

import pytest

from kheish.api.http import feed as feeding
from kheish.api.http.feed import PING, Feed, Filter, Reader
from kheish.api.http.sse import Stream
from kheish.domain import events
from kheish.store.bus import Frame
from tests.api.harness import HEADERS, World, eventually, world


def numbers(data: bytes) -> list[int]:
    return [int(line[4:]) for line in data.split(b"\n") if line.startswith(b"id: ")]


def stream(w: World, feed: Feed, after: int | None = 0, **wanted: str) -> Stream:
    reader = Reader(Filter(**wanted), w.state.durable_n if after is None else after)
    if after is None:
        assert feed.join(reader, w.state.durable_n)
    return Stream(w.parts, feed, reader, lambda: True)


async def until(source: AsyncIterator[bytes], n: int) -> list[int]:
    """The numbers that a stream gives, up to `n`."""
    found: list[int] = []
    async with asyncio.timeout(10):
        async for data in source:
            found += numbers(data)
            if found and found[-1] >= n:
                break
    return found


def pause(w: World) -> None:
    w.state.append(events.DaemonPaused().on())


async def test_a_frame_is_the_journal_line_verbatim(w: World) -> None:
    await w.session()
    run = await w.run()

    data = await anext(stream(w, Feed(w.bus), run=run["run_id"]))

    (n, kind, line), *_ = w.state.index.events(0, limit=9, run=run["run_id"])
    assert data == f"id: {n}\nevent: {kind}\ndata: {line}\n\n".encode()
    assert kind == "run.submitted"


@pytest.mark.parametrize("seed", range(6))
async def test_any_interleaving_gives_each_event_once(w: World, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(seed)
    w.bus.recent = deque(maxlen=8)
    monkeypatch.setattr(feeding, "BUFFER_BYTES", 900)  # a few frames: readers overflow
    await w.session()
    feed = Feed(w.bus)
    everything = [asyncio.create_task(until(stream(w, feed, after), 122)) for after in (0, 1, None)]
    mine = asyncio.create_task(until(stream(w, feed, session="s"), 122))

    for number in range(120):
        w.log.lag = dice.random() < 0.6
        if number % 3:
            pause(w)
        else:
            w.state.append(events.SessionUpdated(changes={"title": str(number)}).on("s"))
        await asyncio.sleep(dice.choice((0, 0, 0, 0.001)))  # threads that read the index get a turn, or not
    w.log.lag = False
    w.state.append(events.SessionUpdated(changes={"title": "last"}).on("s"))

    assert await everything[0] == list(range(1, 123))
    assert await everything[1] == list(range(2, 123))
    assert await everything[2] == list(range(2, 123))
    assert await mine == [n for n, _, _ in w.state.index.events(0, limit=500, session="s")]


async def test_joining_needs_all_that_came_since(w: World) -> None:
    feed = Feed(w.bus)
    w.bus.recent = deque(maxlen=3)
    for _ in range(5):
        pause(w)
    await w.state.durable()

    late, close = Reader(Filter(), 1), Reader(Filter(), 2)

    assert not feed.join(late, 5)  # the bus remembers 3, 4, 5
    assert feed.join(close, 5)
    assert numbers(close.take()) == [3, 4, 5]
    w.bus.publish([Frame(5, "daemon.paused", None, None, b"{}"), Frame(6, "daemon.paused", None, None, b"{}")])
    assert numbers(close.take()) == [6]


async def test_a_filter_that_passes_over_much_gets_to_live(w: World) -> None:
    w.bus.recent = deque(maxlen=3)
    await w.session()
    for _ in range(20):
        pause(w)
    feed = Feed(w.bus)
    mine = stream(w, feed, session="s")
    assert await until(mine, 1) == [1]

    pending = asyncio.ensure_future(until(mine, 22))
    await eventually(lambda: feed.readers)
    w.state.append(events.SessionUpdated(changes={"title": "x"}).on("s"))

    assert await pending == [22]


async def test_live_frames_have_no_id_and_are_not_replayed(w: World) -> None:
    await w.session()
    feed = Feed(w.bus)
    live = stream(w, feed, None, session="s")
    delta = Frame(0, "model.delta", "s", "r", b'{"live": true}')

    w.bus.publish([delta, Frame(0, "model.delta", "other", "r", b"{}")])

    assert await anext(live) == b'event: model.delta\ndata: {"live": true}\n\n'
    again = stream(w, feed, 0, session="s")
    assert b"model.delta" not in await anext(again)


async def test_a_slow_reader_loses_only_deltas(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "BUFFER_BYTES", 1000)
    feed = Feed(w.bus)
    slow = stream(w, feed, None)

    for _ in range(20):
        w.bus.publish([Frame(0, "model.delta", "s", "r", b"x" * 50)])
        pause(w)
    await w.state.durable()

    assert feed.readers == 0  # it was put out, and reads from the index
    assert await until(slow, 20) == list(range(1, 21))
    assert feed.readers == 1  # and is live again
    pause(w)
    assert await until(slow, 21) == [21]


async def test_a_crowd_is_woken_in_batches(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "_PER_READER", 0.02)
    monkeypatch.setattr(feeding, "_LONGEST", 1.0)  # the five come within it on a busy machine, too
    feed = Feed(w.bus)
    readers = [stream(w, feed, None) for _ in range(feeding.CROWD + 1)]
    waiting = [asyncio.ensure_future(anext(one)) for one in readers]
    await asyncio.sleep(0)

    for _ in range(5):
        pause(w)
        await asyncio.sleep(0)

    assert [numbers(data) for data in await asyncio.gather(*waiting)] == [[1, 2, 3, 4, 5]] * len(readers)


async def test_a_silent_stream_pings_and_ends_at_shutdown(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "HEARTBEAT", 0.01)
    feed = Feed(w.bus)
    live = stream(w, feed, None)

    assert await anext(live) == PING
    w.parts.closing.begin()
    rest = [data async for data in live]

    assert set(rest) <= {PING}
    await live.close()
    await live.close()
    assert (feed.readers, feed.streams) == (0, 0)


async def test_bad_places_and_kinds_are_refused(w: World) -> None:
    await w.session()
    for query, headers, code in (
        ("after=2", {}, "unknown_event"),
        ("after=-1", {}, "invalid_request"),
        ("after=0", {"last-event-id": "9"}, "unknown_event"),
        ("", {"last-event-id": "x"}, "unknown_event"),
        ("kind=tool.finishd", {}, "invalid_request"),
    ):
        answer = await w.http.get(f"/v1/events?{query}", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, code), query
    assert "tool.finished" in answer.json()["detail"]


async def test_over_http_a_cut_stream_goes_on_and_a_gone_client_is_noticed(tmp_path: object) -> None:
    import httpx
    import uvicorn

    async with world(tmp_path) as w:  # type: ignore[arg-type]
        config = uvicorn.Config(w.app, host="127.0.0.1", port=0, log_level="warning", lifespan="off", ws="none")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        await eventually(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", headers=HEADERS, trust_env=False, verify=False
        ) as http:
            pause(w)
            await w.state.durable()
            async with http.stream("GET", "/v1/events?after=0") as first:
                assert first.headers["content-type"].startswith("text/event-stream")
                assert first.headers["x-kheish-event"] == "1"
                assert await until(first.aiter_bytes(), 1) == [1]
            pause(w)
            await w.state.durable()
            async with http.stream("GET", "/v1/events", headers={"last-event-id": "1"}) as second:
                assert await until(second.aiter_bytes(), 2) == [2]
            await eventually(lambda: len(w.bus._listeners) == 0)
        w.parts.closing.begin()
        server.should_exit = True
        await serving
