"""The slowest answer of a server, asked from a process of its own, beside that of a server that has nothing to do.

The second says how long this machine itself lets a process wait: where other programs keep all processors busy, no
server answers sooner. A thread of the benchmark would measure the benchmark's own work, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

_PAUSE = 0.01
_SECONDS = 60
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@dataclass(frozen=True, slots=True)
class Waited:
    """Slowest answers in milliseconds: of the server, and of the idle one; and how often both were asked."""

    slowest: float
    idle: float
    asked: int


@contextlib.contextmanager
def idle() -> Iterator[str]:
    """Serve nothing of interest from a process of its own; its URL."""
    with subprocess.Popen([sys.executable, "-m", "bench.waiting"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()


@contextlib.contextmanager
def asking(url: str, idle: str, least: int) -> Iterator[list[Waited]]:
    """Ask both for as long as the block takes, at least so often; the result is in the list afterwards."""
    results: list[Waited] = []
    command = [sys.executable, "-m", "bench.waiting", url, idle, str(least)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline(), "it asks"
        try:
            yield results
            results.append(Waited(**json.loads(process.communicate(timeout=2 * _SECONDS)[0])))
        finally:
            process.kill()


def _ask(url: str, idle: str, least: int) -> Waited:
    """Ask both until stdin ends."""
    connections = [http.client.HTTPConnection(one.removeprefix("http://"), timeout=_SECONDS) for one in (url, idle)]
    slowest, asked = [0.0, 0.0], 0
    while asked < least or not select.select([sys.stdin], [], [], _PAUSE)[0]:
        for number, connection in enumerate(connections):
            began = time.perf_counter()
            connection.request("GET", "/healthz")
            with connection.getresponse() as response:
                assert response.status == 200, response.read()
                response.read()
            slowest[number] = max(slowest[number], (time.perf_counter() - began) * 1000)
        asked += 1
        if asked == 1:
            print("asked", flush=True)
    return Waited(*slowest, asked)


async def _serve() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(_ANSWER)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    print(f"http://{host}:{port}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        waited = _ask(sys.argv[1], sys.argv[2], int(sys.argv[3]))
        print(json.dumps({"slowest": waited.slowest, "idle": waited.idle, "asked": waited.asked}))
    else:
        asyncio.run(_serve())
