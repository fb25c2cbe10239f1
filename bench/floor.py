"""The floor: a bare Falcon route that appends a line to a file with a shared fdatasync, and a bare event stream.

`python -m bench.floor FILE` prints its URL. The same server settings as the daemon, and nothing of Kheish: no check, no
state, no journal, no index, no git. What any durable HTTP service in this language pays at least.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import falcon.asgi
import orjson
import uvicorn


class Log:
    """A file to which a thread appends what has gathered: one write, one fdatasync for all."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._loop = asyncio.get_running_loop()
        self._wake = threading.Condition()
        self._pending: list[tuple[bytes, asyncio.Future[None]]] = []
        self.readers: set[asyncio.Queue[bytes]] = set()
        self._number = 1
        threading.Thread(target=self._run, daemon=True).start()

    def append(self, line: bytes) -> asyncio.Future[None]:
        done = self._loop.create_future()
        with self._wake:
            self._pending.append((line, done))
            self._wake.notify()
        return done

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._pending:
                    self._wake.wait()
                batch, self._pending = self._pending, []
            os.write(self._handle, b"".join(line for line, _ in batch))
            os.fdatasync(self._handle)
            self._loop.call_soon_threadsafe(self._done, batch)

    def _done(self, batch: list[tuple[bytes, asyncio.Future[None]]]) -> None:
        for line, done in batch:
            if not done.done():
                done.set_result(None)
            for reader in self.readers:
                reader.put_nowait(b"id: %d\ndata: " % self._number + line + b"\n")
            self._number += 1


class Entries:
    """POST appends the body and answers when it is on disk; GET streams what was appended."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._n = 0

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        body = orjson.loads(await req.stream.read())
        self._n += 1
        n = self._n
        await self._log.append(orjson.dumps({"n": n, "data": body}) + b"\n")
        resp.data = orjson.dumps({"n": n})
        resp.content_type = "application/json"

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._log.readers.add(queue)
        resp.content_type = "text/event-stream"
        resp.stream = self._frames(queue)

    async def _frames(self, queue: asyncio.Queue[bytes]) -> AsyncIterator[bytes]:
        try:
            while True:
                yield await queue.get()
        finally:
            self._log.readers.discard(queue)


class Bytes:
    """GET answers with so many bytes."""

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, size: int) -> None:
        resp.data = b"x" * size
        resp.content_type = "application/json"


class Frames:
    """GET streams so many frames of so many bytes, 500 at a time, and ends."""

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, count: int, size: int) -> None:
        resp.content_type = "text/event-stream"
        resp.stream = self._frames(count, size)

    async def _frames(self, count: int, size: int) -> AsyncIterator[bytes]:
        for first in range(1, count + 1, 500):
            numbers = range(first, min(first + 500, count + 1))
            yield b"".join([(b"id: %d\ndata: " % n).ljust(size - 2, b"x") + b"\n\n" for n in numbers])


async def serve(path: Path) -> None:
    """Serve until the process is ended."""
    app = falcon.asgi.App()
    app.add_route("/entries", Entries(Log(path)))
    app.add_route("/bytes/{size:int}", Bytes())
    app.add_route("/frames/{count:int}/{size:int}", Frames())
    listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
    config = uvicorn.Config(
        app, http="httptools", ws="none", lifespan="off", log_config=None, access_log=False, server_header=False,
        timeout_graceful_shutdown=1,
    )  # fmt: skip
    host, port = listening.getsockname()
    print(f"http://{host}:{port}", flush=True)
    await uvicorn.Server(config).serve(sockets=[listening])


def main() -> None:
    """Serve, with the loop that the daemon uses."""
    import uvloop

    sys.setswitchinterval(0.0005)  # as the daemon: the log's thread must not wait 5 ms for the interpreter
    uvloop.run(serve(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
