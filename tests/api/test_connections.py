"""How long a connection may be without a whole request, by a clock that the tests move."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import orjson
import pytest
import uvicorn
from uvicorn.server import ServerState

from kheish.daemon.connections import Connection

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
#: of real time, for what must come
PATIENCE = 10


class Clocked(asyncio.SelectorEventLoop):
    """A loop whose time goes on when it is told to (and by itself, as little as a test takes)."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


class Server:
    """A real one on loopback; its application waits until `answer` is set."""

    def __init__(self) -> None:
        self.answer = asyncio.Event()
        self.answer.set()
        self.asked = asyncio.Event()
        self.reads, self.length = True, True
        self.port = 0
        self.sockets = contextlib.ExitStack()

    async def app(self, scope: dict, receive, send) -> None:  # type: ignore[no-untyped-def,type-arg]
        while self.reads and (await receive()).get("more_body"):
            pass
        self.asked.set()
        await self.answer.wait()
        headers = [(b"content-length", b"2")] if self.length else []
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Server]:
        config = uvicorn.Config(
            self.app, interface="asgi3", ws="none", lifespan="off", log_config=None, access_log=False
        )
        state, loop = ServerState(), asyncio.get_running_loop()
        server = await loop.create_server(lambda: Connection(config, state, {}), "127.0.0.1", 0)
        async with server:
            with self.sockets:
                self.port = server.sockets[0].getsockname()[1]
                yield self
            # A connection that outlived the loop would be a ResourceWarning in some later test.
            while state.connections:
                for connection in list(state.connections):
                    connection.transport.abort()
                await asyncio.sleep(0)

    async def pass_by(self, seconds: float) -> None:
        """Let time go by, and whatever is due happen."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Clocked)
        loop.ahead += seconds
        for _ in range(3):
            await asyncio.sleep(0)


class Client:
    """A plain socket, in a thread: its patience is of real time."""

    def __init__(self, server: Server) -> None:
        made = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
        self.socket = server.sockets.enter_context(made)

    async def send(self, data: bytes) -> None:
        await asyncio.to_thread(self.socket.sendall, data)

    async def read(self, until: bytes = b"") -> bytes:
        """All that comes up to `until`; without, up to the end."""

        def reading() -> bytes:
            got = b""
            while not (until and got.endswith(until)) and (more := self.socket.recv(65536)):
                got += more
            return got

        return await asyncio.to_thread(reading)

    async def is_answered(self) -> bool:
        await self.send(GET)
        return (await self.read(b"ok")).startswith(b"HTTP/1.1 200")


async def gone(writer: asyncio.StreamWriter) -> None:
    """Close, and wait until the socket is closed; a reset is an end like another."""
    writer.transport.abort()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


def run(test: Callable[[Server], Awaitable[None]]) -> None:
    """Run a test in a loop with such a clock."""

    async def whole() -> None:
        async with Server().serving() as server:
            await test(server)

    with asyncio.Runner(loop_factory=Clocked) as runner:
        runner.run(whole())


ENDS = {
    "nothing at all": (b"", Connection.HEAD_SECONDS, b"408"),
    "half a header": (GET[:-3], Connection.HEAD_SECONDS, b"408"),
    "half a body": (POST % 10 + b"half", Connection.BODY_SECONDS, b"408"),
    "endless headers": (GET[:-2] + b"A: " + b"b" * 100_000, 0.0, b"431"),
}


@pytest.mark.parametrize("what", ENDS)
def test_a_client_that_never_finishes_is_let_go(what: str) -> None:
    sent, seconds, status = ENDS[what]

    async def test(server: Server) -> None:
        client, other = Client(server), Client(server)
        await client.send(sent)
        assert await other.is_answered()  # what came before it is read by now
        await server.pass_by(seconds)
        assert (await client.read()).startswith(b"HTTP/1.1 " + status)

    run(test)


DRIBBLED = {
    "headers": (b"", GET[:-3] + b"A: " + b"b" * 100, Connection.HEAD_SECONDS),
    "a body": (POST % 1000, b"b" * 1000, Connection.BODY_SECONDS),
    "a chunked body": (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nb\r\n" * 99,
                       Connection.BODY_SECONDS),
}  # fmt: skip


@pytest.mark.parametrize("what", DRIBBLED)
def test_byte_by_byte_gains_no_time_and_costs_nobody_else_any(what: str) -> None:
    begin, rest, seconds = DRIBBLED[what]

    async def test(server: Server) -> None:
        slow = [Client(server) for _ in range(20)]
        for client in slow:
            await client.send(begin)
        for at in range(12):  # a byte for each twelfth of the time: never idle, never done
            for client in slow:
                await client.send(rest[at : at + 1])
            assert await Client(server).is_answered()
            await server.pass_by(seconds / 12)
        assert [(await client.read())[:12] for client in slow] == [b"HTTP/1.1 408"] * 20
        assert await Client(server).is_answered()

    run(test)


def test_a_whole_request_may_be_answered_late_and_another_may_follow() -> None:
    async def test(server: Server) -> None:
        client = Client(server)
        for _ in range(2):
            server.answer.clear()
            server.asked.clear()
            await client.send(POST % 2 + b"hi")
            await server.asked.wait()
            await server.pass_by(10 * Connection.BODY_SECONDS)
            server.answer.set()
            assert (await client.read(b"ok")).startswith(b"HTTP/1.1 200")

    run(test)


@pytest.mark.found("S18")
async def test_heads_are_taken_up_to_the_bound_and_no_further() -> None:
    async with Server().serving() as server:
        for size, status in (
            (Connection.HEAD_BYTES - 200, b"200"),
            (Connection.HEAD_BYTES + 1, b"431"),
            (200_000, b"431"),
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * size + b"\r\n\r\n")
            assert (await asyncio.wait_for(reader.readline(), PATIENCE)).split()[1] == status
            await gone(writer)


@pytest.mark.found("B6")
@pytest.mark.parametrize(
    "head", [b"Connection: close\r\nContent-Length: 4000000", b"Connection: close\r\nTransfer-Encoding: chunked"]
)
async def test_an_answer_before_the_end_of_the_body_arrives(head: bytes) -> None:
    """The sender of a body reads nothing until it has sent all of it: a reset would take the answer away."""
    server = Server()
    server.reads = False
    async with server.serving():
        with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as sender:
            await asyncio.to_thread(sender.sendall, b"POST / HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n")
            body = b"7a1200\r\n" + b"x" * 8_000_000 + b"\r\n0\r\n\r\n" if b"chunked" in head else b"x" * 4_000_000
            await asyncio.to_thread(sender.sendall, body)
            assert (await asyncio.to_thread(sender.recv, 100)).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("more", [b"", b"Expect: 100-continue\r\n"])
async def test_a_body_over_the_limit_is_refused_before_it_comes(more: bytes) -> None:
    """Nothing asks for it, whatever reads from the request later, and slow senders need not send it."""
    server = Server()
    async with server.serving():
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\n" + more + b"Content-Length: 60000000\r\n\r\n")
        head, _, body = (await asyncio.wait_for(reader.read(), PATIENCE)).partition(b"\r\n\r\n")
        await gone(writer)

    assert head.startswith(b"HTTP/1.1 413 ") and b"connection: close" in head
    assert orjson.loads(body)["code"] == "too_large" and b"60000000" in body
    assert not server.asked.is_set()


@pytest.mark.found("B6")
async def test_an_answer_to_http_1_0_has_no_chunks() -> None:
    server = Server()
    server.length = False
    async with server.serving():
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        head, _, body = (await asyncio.wait_for(reader.read(), PATIENCE)).partition(b"\r\n\r\n")
        await gone(writer)

    assert body == b"ok" and b"transfer-encoding" not in head.lower()
