"""The part of the load generator that reads: lists, and event streams."""

from __future__ import annotations

import asyncio
import re
import time
from itertools import pairwise
from typing import Any

import orjson

from bench import http

Spec = dict[str, Any]
_WRITERS = 64
_ID = re.compile(rb"^id: (\d+)$", re.MULTILINE)


class Numbers(http.Connection):
    """A stream of which only the numbers of its events are kept, with the moment when each came."""

    def __init__(self) -> None:
        super().__init__(lambda frame: None)
        self.numbers: list[int] = []
        self.times: list[float] = []
        self.bytes = 0
        self.done = asyncio.Event()
        self.wanted = 0

    def on_body(self, data: bytes) -> None:
        now = time.perf_counter()
        self.bytes += len(data)
        data = self._buffer + data
        end = data.rfind(b"\n\n") + 2
        self._buffer = data[end:] if end > 1 else data
        found = [int(number) for number in _ID.findall(data, 0, end)] if end > 1 else []
        self.numbers += found
        self.times += [now] * len(found)
        if len(self.numbers) >= self.wanted > 0:
            self.done.set()

    def on_message_complete(self) -> None:
        self.done.set()


async def _listen(spec: Spec, path: str) -> Numbers:
    place = spec["url"].removeprefix("http://").split(":")
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(Numbers, place[0], int(place[1]))
    status, _ = await connection.send(http.request(spec["url"], "GET", path, spec["token"]))
    _check(status, path)
    return connection


async def look(spec: Spec) -> dict[str, Any]:
    """For each session that is named one of its runs, and a cursor to the middle of the list of runs."""
    connection = await http.connect(spec["url"])

    async def get(path: str) -> Any:
        status, body = await connection.send(http.request(spec["url"], "GET", path, spec["token"]))
        _check(status, path)
        return orjson.loads(body)

    found = []
    for name in spec["names"]:
        runs = (await get(f"/v1/runs?session={name}"))["items"]
        found.append({"name": name, "run": runs[0]["run_id"]})
    cursor = ""
    for _ in range(5):
        cursor = (await get(f"/v1/runs?limit=200&cursor={cursor}" if cursor else "/v1/runs?limit=200"))["next_cursor"]
    return {"sessions": found, "cursor": cursor}


async def gets(spec: Spec) -> dict[str, Any]:
    """Each path once, one after the other; the first five are not counted."""
    connection = await http.connect(spec["url"])
    took, size = [], 0
    for path in [*spec["paths"][:5], *spec["paths"]]:
        began = time.perf_counter()
        status, body = await connection.send(http.request(spec["url"], "GET", path, spec["token"]))
        took.append((time.perf_counter() - began) * 1000)
        _check(status, path)
        size += len(body)
    size, took = size // len(took), sorted(took[5:])
    return {"p50": took[len(took) // 2], "p99": took[int(len(took) * 0.99)], "bytes": size}


async def follow(spec: Spec) -> dict[str, Any]:
    """Many streams and one event at each beat; how long it took to each reader, and who did not get all in order."""
    path = "/entries" if spec["bare"] else "/v1/events?kind=session.updated"
    readers = await asyncio.gather(*(_listen(spec, path) for _ in range(spec["readers"])))
    for reader in readers:
        reader.wanted = spec["events"]
    used, began = time.process_time(), time.perf_counter()
    sent = await _beats(spec)
    took = time.perf_counter() - began
    async with asyncio.timeout(60):
        await asyncio.gather(*(reader.done.wait() for reader in readers))
    used = time.process_time() - used
    right = await _right(spec, path, min(reader.numbers[0] for reader in readers))
    late = sorted((came - gone) * 1000 for reader in readers for came, gone in zip(reader.times, sent, strict=False))
    return {
        "p50": late[len(late) // 2], "p99": late[int(len(late) * 0.99)], "took": took, "cpu": used / took,
        "received": len(late), "wrong": sum(reader.numbers != right for reader in readers),
    }  # fmt: skip


async def _beats(spec: Spec) -> list[float]:
    """One request at each beat, whether those before are answered or not; when each was sent, in their order."""
    writers: asyncio.Queue[http.Connection] = asyncio.Queue()
    for _ in range(_WRITERS):
        writers.put_nowait(await http.connect(spec["url"]))
    sent: list[float] = []

    async def send(number: int) -> None:
        writer = await writers.get()
        body = b'{"title":"%d"}' % number
        method, path = ("POST", "/entries") if spec["bare"] else ("PATCH", "/v1/sessions/heard")
        status, _ = await writer.send(http.request(spec["url"], method, path, spec["token"], body))
        _check(status, path)
        writers.put_nowait(writer)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(spec["events"]):
            await asyncio.sleep(max(0.0, began + number * spec["pause"] - time.perf_counter()))
            sent.append(time.perf_counter())
            tasks.create_task(send(number))
    return sent


async def _right(spec: Spec, path: str, first: int) -> list[int]:
    """The numbers that every reader must have got: what a replay has."""
    if spec["bare"]:
        return list(range(first, first + spec["events"]))
    again = await _listen(spec, f"{path}&after={first - 1}")
    again.wanted = spec["events"]
    await again.done.wait()
    return again.numbers


async def replay(spec: Spec) -> dict[str, Any]:
    """One stream, until so many events have come."""
    began = time.perf_counter()
    reader = await _listen(spec, spec["path"])
    reader.wanted = spec["count"]
    await reader.done.wait()
    took = time.perf_counter() - began
    numbers = reader.numbers
    return {
        "count": len(numbers), "rate": len(numbers) / took, "seconds": took, "bytes": reader.bytes,
        "ordered": all(one < other for one, other in pairwise(numbers)),
    }  # fmt: skip


def _check(status: int, path: str) -> None:
    if not 200 <= status < 300:
        raise SystemExit(f"{path} was answered with {status}")
