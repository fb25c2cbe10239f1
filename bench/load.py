"""The load generator: a process of its own. `python -m bench.load KIND` reads a spec and answers, both in JSON."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import orjson

from bench import http, load_agents, load_reading

SKIP = 1.0  # seconds at the start that are not counted

Spec = dict[str, Any]


async def prepare(spec: Spec) -> dict[str, Any]:
    """Make `sessions` sessions, several at a time; or, with `patch`, change each that is named."""
    names = iter(spec["names"])

    async def client() -> None:
        connection = await http.connect(spec["url"])
        for name in names:
            method, path, body = "POST", "/v1/sessions", orjson.dumps({"session_id": name})
            if spec.get("patch"):
                method, path, body = "PATCH", f"/v1/sessions/{name}", b'{"title":"touched"}'
            status, answer = await connection.send(http.request(spec["url"], method, path, spec["token"], body))
            _check(status, answer)
        connection.close()

    await asyncio.gather(*(client() for _ in range(16)))
    return {}


class Ended:
    """Hears by one event stream which runs have ended."""

    def __init__(self) -> None:
        self._waits: dict[str, asyncio.Future[float]] = {}
        self._early: dict[str, float] = {}
        self.failed = 0

    async def listen(self, spec: Spec) -> None:
        """Open the stream."""
        stream = await http.connect(spec["url"], self._frame)
        kinds = "kind=run.completed&kind=run.failed"
        status, _ = await stream.send(http.request(spec["url"], "GET", f"/v1/events?{kinds}", spec["token"]))
        _check(status, b"event stream")

    def _frame(self, frame: bytes) -> None:
        if frame.startswith(b":"):
            return
        now = time.perf_counter()
        self.failed += b"event: run.failed" in frame
        run_id = frame[(start := frame.index(b'"run":"') + 7) : frame.index(b'"', start)].decode()
        if future := self._waits.pop(run_id, None):
            future.set_result(now)
        else:
            self._early[run_id] = now

    async def when(self, run_id: str) -> float:
        """When the end of a run was seen."""
        if (seen := self._early.pop(run_id, None)) is not None:
            return seen
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waits[run_id] = future
        return await future


def _submission(spec: Spec, session: str) -> bytes:
    text = spec["texts"].pop() if spec.get("texts") else "Make the tests pass, and say what was wrong."
    body = orjson.dumps({"content": text})
    return http.request(spec["url"], "POST", f"/v1/sessions/{session}/runs", spec["token"], body)


async def _run_once(spec: Spec, connection: http.Connection, ended: Ended, session: str) -> tuple[float, float, float]:
    """Submit and wait for the end; the times of asking, of being answered, of the end."""
    began = time.perf_counter()
    status, body = await connection.send(_submission(spec, session))
    answered = time.perf_counter()
    _check(status, body)
    return began, answered, await ended.when(orjson.loads(body)["run_id"])


async def latency(spec: Spec) -> dict[str, Any]:
    """`count` runs one after the other, with a pause between: the daemon is idle at each."""
    ended = Ended()
    await ended.listen(spec)
    connection = await http.connect(spec["url"])
    times = []
    warm = spec["warm"]  # runs at the start that are not counted
    for number in range(warm + spec["count"]):
        began, answered, seen = await _run_once(spec, connection, ended, spec["names"][number % len(spec["names"])])
        if number >= warm:
            ended_at = time.time() - (time.perf_counter() - seen)
            times.append({"accepted": (answered - began) * 1000, "completed": (seen - began) * 1000, "at": ended_at})
        await asyncio.sleep(spec["pause"])
    return {"times": times, "failed": ended.failed}


async def runs(spec: Spec) -> dict[str, Any]:
    """`clients` clients, each with one run at a time, over all sessions in turn."""
    ended = Ended()
    await ended.listen(spec)
    sessions = itertools.cycle(spec["names"])

    async def once(connection: http.Connection) -> float:
        began, _, seen = await _run_once(spec, connection, ended, next(sessions))
        return seen - began

    return {**await _closed_loop(spec, once), "failed": ended.failed}


async def patches(spec: Spec) -> dict[str, Any]:
    """`clients` writers, each changing the title of a session of its own: one journal entry a request."""
    names = iter(spec["names"])
    mine: dict[http.Connection, tuple[str, Iterator[int]]] = {}

    async def once(connection: http.Connection) -> float:
        name, numbers = mine.setdefault(connection, (next(names, ""), itertools.count()))
        body = b'{"title":"%d"}' % next(numbers)
        return await _timed(connection, http.request(spec["url"], "PATCH", f"/v1/sessions/{name}", spec["token"], body))

    return await _closed_loop(spec, once)


async def flow_starts(spec: Spec) -> dict[str, Any]:
    """`count` Flows of one Playbook, with a pause after each, in which most of it is driven to its end."""
    connection = await http.connect(spec["url"])
    body = orjson.dumps({"playbook": spec["playbook"], "inputs": {"service": "api"}})
    took = []
    for _ in range(spec["count"]):
        took.append(await _timed(connection, http.request(spec["url"], "POST", "/v1/flows", spec["token"], body)))
        await asyncio.sleep(spec["pause"])
    took = sorted(took[5:])
    return {"p50": took[len(took) // 2] * 1000, "p99": took[int(len(took) * 0.99)] * 1000}


async def appends(spec: Spec) -> dict[str, Any]:
    """The same against the floor server; the line has the size of a journal entry."""
    body = orjson.dumps({"title": "12345", "filler": "x" * 180})

    async def once(connection: http.Connection) -> float:
        return await _timed(connection, http.request(spec["url"], "POST", "/entries", "", body))

    return await _closed_loop(spec, once)


async def echoes(spec: Spec) -> dict[str, Any]:
    """One entry at a time against the floor server, until its event stream shows it."""
    seen: asyncio.Queue[float] = asyncio.Queue()
    stream = await http.connect(spec["url"], lambda frame: seen.put_nowait(time.perf_counter()))
    await stream.send(http.request(spec["url"], "GET", "/entries"))
    connection = await http.connect(spec["url"])
    times = []
    for _ in range(spec["count"]):
        began = time.perf_counter()
        await connection.send(http.request(spec["url"], "POST", "/entries", "", b'{"title":"x"}'))
        times.append({"completed": (await seen.get() - began) * 1000})
        await asyncio.sleep(spec["pause"])
    return {"times": times}


async def completions(spec: Spec) -> dict[str, Any]:
    """The model stand-in asked directly, streaming."""
    message = {"role": "user", "content": "Make the tests pass, and say what was wrong."}
    body = orjson.dumps(
        {"model": "standin", "stream": True, "stream_options": {"include_usage": True}, "messages": [message]}
    )

    async def once(connection: http.Connection) -> float:
        return await _timed(connection, http.request(spec["url"], "POST", "/v1/chat/completions", "", body))

    return await _closed_loop(spec, once)


async def _timed(connection: http.Connection, request: bytes) -> float:
    began = time.perf_counter()
    status, body = await connection.send(request)
    _check(status, body)
    return time.perf_counter() - began


async def _closed_loop(spec: Spec, once: Callable[[http.Connection], Awaitable[float]]) -> dict[str, Any]:
    """Each client asks again when it was answered; counted is what ended after the first second."""
    begin = time.perf_counter() + SKIP
    end = begin + spec["seconds"]
    took: list[float] = []

    async def client() -> None:
        connection = await http.connect(spec["url"])
        while time.perf_counter() < end:
            time_taken = await once(connection)
            if begin <= time.perf_counter() < end:
                took.append(time_taken)
        connection.close()

    used = time.process_time()
    await asyncio.gather(*(client() for _ in range(spec["clients"])))
    took.sort()
    return {
        "count": len(took),
        "rate": len(took) / spec["seconds"],
        "p50": took[len(took) // 2] * 1000,
        "p99": took[int(len(took) * 0.99)] * 1000,
        "cpu": (time.process_time() - used) / (spec["seconds"] + SKIP),
    }


def _check(status: int, body: bytes) -> None:
    if not 200 <= status < 300:
        raise SystemExit(f"answered with {status}: {body.decode(errors='replace')[:500]}")


KINDS: dict[str, Callable[[Spec], Awaitable[dict[str, Any]]]] = {
    one.__name__: one
    for one in (
        prepare, latency, runs, patches, flow_starts, appends, echoes, completions,
        load_reading.look, load_reading.gets, load_reading.follow, load_reading.replay,
        load_agents.messages, load_agents.spawns,
    )
}  # fmt: skip


def main() -> None:
    """Put the load on, and print what was seen."""
    import uvloop

    kind, spec = sys.argv[1], json.load(sys.stdin)

    async def measure() -> dict[str, Any]:
        return await KINDS[kind](spec)

    print(json.dumps(uvloop.run(measure())))


if __name__ == "__main__":
    main()
