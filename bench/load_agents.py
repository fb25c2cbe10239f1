"""Loads of agents and mailboxes: one request at a time, until an event stream shows what it led to."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson

from bench import http

Spec = dict[str, Any]


class Seen:
    """The times at which an event stream showed events of one kind, by a field of their data."""

    def __init__(self, kind: str, field: str) -> None:
        self._kind, self._field = kind, field
        self._waits: dict[str, asyncio.Future[float]] = {}

    async def listen(self, spec: Spec) -> None:
        """Open the stream."""
        stream = await http.connect(spec["url"], self._frame)
        path = f"/v1/events?kind={self._kind}"
        status, _ = await stream.send(http.request(spec["url"], "GET", path, spec["token"]))
        assert status == 200, status

    def _frame(self, frame: bytes) -> None:
        now = time.perf_counter()
        for line in frame.splitlines():
            if line.startswith(b"data: "):
                entry = orjson.loads(line[6:])
                key = entry["data"].get(self._field) or entry["session"]
                self.when(key).set_result(now)

    def when(self, key: str) -> asyncio.Future[float]:
        """Return the future time at which an event with this key was shown."""
        if key not in self._waits:
            self._waits[key] = asyncio.get_running_loop().create_future()
        return self._waits[key]


async def messages(spec: Spec) -> dict[str, Any]:
    """`count` messages to idle sessions, each until it is delivered: in a prompt, with the start of its run."""
    seen = Seen("message.delivered", "message_id")
    await seen.listen(spec)
    connection = await http.connect(spec["url"])
    times = []
    for number in range(spec["warm"] + spec["count"]):
        name = spec["names"][number % len(spec["names"])]
        body = orjson.dumps({"payload": "The tests are red.", "message_id": f"m-{number}"})
        began = time.perf_counter()
        path = f"/v1/agents/{name}/mailbox"
        status, answer = await connection.send(http.request(spec["url"], "POST", path, spec["token"], body))
        assert status == 202, answer
        delivered = await seen.when(f"m-{number}")
        if number >= spec["warm"]:
            times.append({"completed": (delivered - began) * 1000})
        await asyncio.sleep(spec["pause"])
    return {"times": times}


async def spawns(spec: Spec) -> dict[str, Any]:
    """`count` children of idle agents, each until it has settled."""
    settled = Seen("agent.settled", "none")
    await settled.listen(spec)
    connection = await http.connect(spec["url"])
    times = []
    for number in range(spec["warm"] + spec["count"]):
        agent = spec["agents"][number % len(spec["agents"])]
        body = orjson.dumps({"name": f"kid{number}", "prompt": "Make the tests pass, and say what was wrong."})
        began = time.perf_counter()
        path = f"/v1/agents/{agent}/sidechains"
        status, answer = await connection.send(http.request(spec["url"], "POST", path, spec["token"], body))
        assert status == 202, answer
        ended = await settled.when(orjson.loads(answer)["session_id"])
        if number >= spec["warm"]:
            times.append({"completed": (ended - began) * 1000})
        await asyncio.sleep(spec["pause"])
    return {"times": times}
