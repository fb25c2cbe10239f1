"""The stream of events: cut, resumed, over a kill of the daemon; every event once."""

from __future__ import annotations

import json
import threading
from typing import Any

import httpx
import pytest

from tests.support.daemon import Daemon, bash, until
from tests.system.conftest import Fresh


class Reader:
    """`curl -N …/v1/events` with `Last-Event-ID`: reads frames until it is cut."""

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []
        self.last: str | None = "0"

    def follow(self, daemon: Daemon, count: int | None = None) -> None:
        """Read until `count` frames more are there, or the connection ends."""
        headers = {"authorization": f"Bearer {daemon.token}", "accept": "text/event-stream"}
        if self.last is not None:
            headers["last-event-id"] = self.last
        before = len(self.frames)
        with httpx.stream(
            "GET", f"{daemon.url}/v1/events", headers=headers, timeout=30, trust_env=False, verify=False
        ) as answer:
            try:
                self._read(answer, None if count is None else before + count)
            except httpx.TransportError:
                return

    def _read(self, answer: httpx.Response, target: int | None) -> None:
        id_ = ""
        for line in answer.iter_lines():
            if line.startswith("id: "):
                id_ = line[4:]
            elif line.startswith("data: ") and id_:
                self.frames.append(json.loads(line[6:]))
                self.last, id_ = id_, ""
                if target is not None and len(self.frames) >= target:
                    return


@pytest.mark.demand(7)
def test_a_stream_resumes_over_a_kill_with_every_event_once(fresh: Fresh) -> None:
    daemon = fresh(routes={"shell": [bash("echo {{input}} >> ledger.txt"), {"text": "done"}]})
    names = [f"s{number}" for number in range(4)]
    for name in names:
        daemon.client.sessions.create(name)
    reader = Reader()
    reader.follow(daemon, 3)  # cut by the client
    running = threading.Thread(target=reader.follow, args=(daemon,))
    running.start()
    submitted = [daemon.client.runs.start(name, f"{name}.{number}") for number in range(5) for name in names]
    until(lambda: len(reader.frames) > 40, what="the stream is in the middle of it")

    daemon.kill9()
    running.join(20)
    daemon.start()
    for run in submitted:
        daemon.run(run.run_id, "completed")
    newest = daemon.client.status()["events"]["newest"]
    reader.follow(daemon, newest - int(reader.last or 0))

    daemon.stop()
    written = [line for path in daemon.root.rglob("*.jsonl") for line in path.read_text().splitlines()]
    expected = sorted((json.loads(line) for line in written), key=lambda line: line["n"])
    numbers = [frame["n"] for frame in reader.frames]
    assert numbers == sorted(set(numbers))
    assert reader.frames == [line for line in expected if line["n"] <= newest]


def test_an_event_that_never_was_is_refused(shared: Daemon) -> None:
    answer = shared.http("GET", "/v1/events?after=99999999")

    assert (answer.status_code, answer.json()["code"]) == (400, "unknown_event")
