"""Conversations on small windows, with servers that enforce window and form, through restarts of both: none dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon
from tests.support.openai_standin import StandIn, standin
from tests.support.strict import Strict

#: `make windows` has 300
TURNS = int(os.environ.get("WINDOW_TURNS", "12"))
SERVERS = {
    "w4k": ("ministral-3b", Strict("mistral", 4096)),
    "w8k": ("local", Strict("gemma", 8192, says_window=False)),
    "w32k": ("gemini-3-flash", Strict("gemini", 32_768)),
}


class Server:
    """A stand-in in a thread of its own, that can be ended and started anew at the same address."""

    def __init__(self, strict: Strict) -> None:
        self.strict = strict
        self.port = 0
        self.start()

    def start(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    async def _serve(self) -> None:
        async with standin(port=self.port) as made:
            made.default = self.strict
            self.port = int(made.url.rsplit(":", 1)[1].partition("/")[0])
            self.standin: StandIn = made
            self._ready.set()
            await self._stop.wait()

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture
def servers() -> Iterator[dict[str, Server]]:
    with contextlib.ExitStack() as stack:
        made = {}
        for name, (_, strict) in SERVERS.items():
            made[name] = Server(strict)
            stack.callback(made[name].end)
        yield made


def route(name: str, server: Server) -> dict[str, Any]:
    return {"driver": "openai", "model": SERVERS[name][0], "api_base": f"http://127.0.0.1:{server.port}/v1"}


def task(number: int) -> str:
    """A task: mostly short, at times as large as a window or larger, in several scripts."""
    giant = "\N{CYRILLIC SMALL LETTER ZHE} x = {'y': [1, 2]};\n" * 2500 if number % 50 == 7 else ""
    return f"Task {number}. " + "and some more words, " * (number * 17 % 90) + giant


@pytest.mark.found("A6")
def test_no_conversation_dies_on_a_small_window(tmp_path: Path, servers: dict[str, Server]) -> None:
    routes = {name: route(name, server) for name, server in servers.items()}
    with Daemon.fresh(tmp_path, routes=routes) as daemon:
        for name in servers:
            daemon.client.sessions.create(name, route=name)
        for number in range(TURNS):
            if number % 10 == 6:
                daemon.restart()
            if number % 10 == 8:
                for server in servers.values():
                    server.end()
                    server.start()
            started = [daemon.client.runs.start(name, task(number)) for name in servers]
            for run in started:
                done = daemon.run(run.run_id, timeout=60)
                assert done["status"] == "completed", f"turn {number}: {done['error']}"
        for name, server in servers.items():
            assert len(server.strict.refused) <= 3 * (1 + TURNS // 10), server.strict.refused
            said = [entry["data"] for entry in daemon.journal(name)]
            if name != "w32k":
                assert any(data.get("covers") for data in said), f"{name} was compacted"
                assert any(data.get("omitted") for data in said), f"{name} says what it left out"
