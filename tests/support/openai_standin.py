"""An OpenAI-compatible server for tests and benchmarks: it answers, streams, fails and hangs as it is told.

In a test: `async with standin(Answer(text="hi"), Failure(status=429, retry_after="1")) as server:` answers the first
request with the first behaviour, and so on, then with `server.default`. `server.requests` keeps what it received.

As a process: `python -m tests.support.openai_standin --port 0 [--text T] [--chunks N] [--delay S] [--script FILE]`
prints its base URL (`http://127.0.0.1:PORT/v1`). FILE is a JSON list of turns, each the fields of an Answer, or
`{"status": …}` of a Failure. The turn is the number of answers since the last user message in the request, so that
any number of conversations go through the script at once; a Failure before a turn is given once a process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import httptools
import orjson


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A tool call; `arguments` is sent as it is, so that it can be malformed. `extra` are provider's own keys."""

    name: str
    arguments: str = "{}"
    id: str = "call_1"
    extra: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer in `chunks` pieces of text, each after `delay` seconds, and calls in `fragments` pieces each.

    After so many frames: `break_after` cuts the connection, `hang_after` goes silent, `error_after` sends an error
    as an event. `usage` is (input, output, cached), in the last frame where the request asks for it.
    """

    text: str = "Hello from the stand-in."
    chunks: int = 5
    calls: tuple[ToolCall, ...] = ()
    fragments: int = 3
    usage: tuple[int, int, int] | None = (12, 7, 0)
    delay: float = 0.0
    reasoning: str | None = None
    finish_reason: str | None = None
    break_after: int | None = None
    hang_after: int | None = None
    error_after: int | None = None
    ignore_stream: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An HTTP error in OpenAI's form; `retry_after` is the header as it is sent (seconds or an HTTP date)."""

    status: int
    message: str = "the stand-in was told to fail"
    code: str | None = None
    retry_after: str | None = None
    param: str | None = None


@dataclass(frozen=True, slots=True)
class Hang:
    """Take the request and never answer."""


Behaviour = Answer | Failure | Hang

TOO_LONG = Failure(
    status=400,
    code="context_length_exceeded",
    message="This model's maximum context length is 8192 tokens. Your messages resulted in 9000 tokens.",
)
UNAUTHORIZED = Failure(status=401, code="invalid_api_key", message="Incorrect API key provided.")


@dataclass(frozen=True, slots=True)
class Received:
    path: str
    headers: dict[str, str]
    body: Any
    at: float


@dataclass(slots=True)
class StandIn:
    """What the server does and what it has seen; `queue` comes before `default`."""

    queue: deque[Behaviour] = field(default_factory=deque)
    default: Callable[[Any], Behaviour] = lambda body: Answer()
    requests: deque[Received] = field(default_factory=lambda: deque(maxlen=10_000))
    open_connections: int = 0
    url: str = ""
    described: dict[str, Any] = field(default_factory=dict)  # what other paths answer (`/v1/models`); 404 without

    def next(self, body: Any) -> Behaviour:
        return self.queue.popleft() if self.queue else self.default(body)


@contextlib.asynccontextmanager
async def standin(*behaviours: Behaviour, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[StandIn]:
    """Serve on loopback until the end of the block."""
    state = StandIn(queue=deque(behaviours))
    connections: set[Connection] = set()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(state, connections), host, port)
    state.url = f"http://{host}:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield state
    finally:
        server.close()
        for connection in list(connections):
            connection.abort()
        await server.wait_closed()


class Connection(asyncio.Protocol):
    """One keep-alive connection, one request at a time."""

    def __init__(self, state: StandIn, connections: set[Connection]) -> None:
        self._state = state
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport
        self._reset()

    def _reset(self) -> None:
        self._path, self._headers, self._body = b"", {}, []  # type: tuple[bytes, dict[str, str], list[bytes]]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]
        self._connections.add(self)
        self._state.open_connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._state.open_connections -= 1
        if self._task is not None:
            self._task.cancel()

    def abort(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        raw = b"".join(self._body)
        body = orjson.loads(raw) if raw else None
        received = Received(self._path.decode(), self._headers, body, time.monotonic())
        if received.path.endswith("/chat/completions"):
            self._state.requests.append(received)
        self._reset()
        self._task = asyncio.get_running_loop().create_task(self._respond(received))

    async def _respond(self, received: Received) -> None:
        if not received.path.endswith("/chat/completions"):
            answer = self._state.described.get(received.path)
            self._transport.write(whole(200, answer) if answer else whole(404, {"error": {"message": "no such path"}}))
            return
        match self._state.next(received.body):
            case Hang():
                await asyncio.Event().wait()
            case Failure() as failure:
                self._transport.write(failed(failure))
            case Answer() as answer if received.body.get("stream") and not answer.ignore_stream:
                await self._stream(answer, received.body)
            case Answer() as answer:
                if answer.delay:
                    await asyncio.sleep(answer.delay)
                self._transport.write(whole(200, completion(answer)))

    async def _stream(self, answer: Answer, body: Any) -> None:
        self._transport.write(STREAM_HEAD)
        wants_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        for number, frame in enumerate(frames(answer, wants_usage)):
            if number == answer.break_after:
                self._transport.close()
                return
            if number == answer.hang_after:
                await asyncio.Event().wait()
            if number == answer.error_after:
                self._transport.write(event({"error": {"message": "overloaded", "code": 503}}) + END)
                return
            if answer.delay:
                await asyncio.sleep(answer.delay)
            self._transport.write(frame)
        self._transport.write(END)


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)
END = b"0\r\n\r\n"
_COMMON = {"id": "chatcmpl-standin", "created": 1_700_000_000, "model": "standin-1"}


def event(data: Any) -> bytes:
    """A server-sent event as one HTTP chunk."""
    payload = b"data: " + (data if isinstance(data, bytes) else orjson.dumps(data)) + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(payload), payload)


def whole(status: int, body: Any, extra: Sequence[tuple[str, str]] = ()) -> bytes:
    """A response with a JSON body."""
    payload = orjson.dumps(body)
    headers = "".join(f"{name}: {value}\r\n" for name, value in extra)
    head = f"HTTP/1.1 {status} Standin\r\ncontent-type: application/json\r\ncontent-length: {len(payload)}\r\n"
    return (head + headers + "\r\n").encode() + payload


def failed(failure: Failure) -> bytes:
    error = {"message": failure.message, "type": "standin", "code": failure.code, "param": failure.param}
    extra = [("Retry-After", failure.retry_after)] if failure.retry_after else []
    return whole(failure.status, {"error": error}, extra)


def split(text: str, pieces: int) -> list[str]:
    """`text` in at most `pieces` parts of nearly equal length."""
    if not text:
        return []
    size = -(-len(text) // max(1, pieces))
    return [text[start : start + size] for start in range(0, len(text), size)]


@lru_cache(maxsize=1024)
def frames(answer: Answer, wants_usage: bool) -> tuple[bytes, ...]:
    """The events of a streamed answer; cached, so that a benchmark measures the daemon and not this file."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"reasoning_content": piece} for piece in split(answer.reasoning or "", 2)]
    deltas += [{"content": piece} for piece in split(answer.text, answer.chunks)]
    for index, call in enumerate(answer.calls):
        head = {"index": index, "id": call.id, "type": "function", **dict(call.extra)}
        deltas.append({"tool_calls": [{**head, "function": {"name": call.name, "arguments": ""}}]})
        for piece in split(call.arguments, answer.fragments):
            deltas.append({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    out = [event(_chunk([{"index": 0, "delta": delta, "finish_reason": None}])) for delta in deltas]
    out.append(event(_chunk([{"index": 0, "delta": {}, "finish_reason": _finish(answer)}])))
    if wants_usage and answer.usage is not None:
        out.append(event(_chunk([]) | {"usage": _usage(answer.usage)}))
    out.append(event(b"[DONE]"))
    return tuple(out)


def completion(answer: Answer) -> dict[str, Any]:
    """The answer in one piece, as `stream: false` gets it."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
    if answer.reasoning is not None:
        message["reasoning_content"] = answer.reasoning
    if answer.calls:
        message["tool_calls"] = [
            {"id": c.id, "type": "function", **dict(c.extra), "function": {"name": c.name, "arguments": c.arguments}}
            for c in answer.calls
        ]
    choice = {"index": 0, "message": message, "finish_reason": _finish(answer)}
    usage = {"usage": _usage(answer.usage)} if answer.usage is not None else {}
    return {**_COMMON, "object": "chat.completion", "choices": [choice], **usage}


def _chunk(choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {**_COMMON, "object": "chat.completion.chunk", "choices": choices}


def _finish(answer: Answer) -> str:
    return answer.finish_reason or ("tool_calls" if answer.calls else "stop")


def _usage(usage: tuple[int, int, int]) -> dict[str, Any]:
    read, written, cached = usage
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


def scripted(turns: Sequence[dict[str, Any]]) -> Callable[[Any], Behaviour]:
    """A default that goes through `turns` by what the request shows, and gives each failure once."""
    steps = [_behaviour(turn, number) for number, turn in enumerate(turns)]
    answers = [step for step in steps if isinstance(step, Answer)]
    before: dict[int, deque[Failure]] = {}
    counter = itertools.count()
    position = 0
    for step in steps:
        if isinstance(step, Failure):
            before.setdefault(position, deque()).append(step)
        else:
            position = next(counter) + 1

    def choose(body: Any) -> Behaviour:
        given = 0
        for message in reversed(body["messages"]):
            if message["role"] == "user":
                break
            given += message["role"] == "assistant"
        if before.get(given):
            return before[given].popleft()
        return answers[min(given, len(answers) - 1)]

    return choose


def _behaviour(turn: dict[str, Any], number: int) -> Answer | Failure:
    if "status" in turn:
        return Failure(**turn)
    calls = tuple(
        ToolCall(
            name=call["name"],
            arguments=json.dumps(call.get("arguments", {})),
            id=call.get("id", f"call_{number}_{index}"),
        )
        for index, call in enumerate(turn.get("calls", ()))
    )
    usage = tuple(turn["usage"]) if turn.get("usage") else Answer().usage
    return Answer(**{"text": "", **turn, "calls": calls, "usage": usage})


async def _serve(args: argparse.Namespace) -> None:
    async with standin(port=args.port) as server:
        if args.script:
            server.default = scripted(json.loads(Path(args.script).read_text()))
        else:
            answer = Answer(text=args.text, chunks=args.chunks, delay=args.delay)
            server.default = lambda body: answer
        server.requests = deque(maxlen=0)  # a benchmark's requests would fill the memory
        print(server.url, flush=True)
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="openai_standin", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--text", default="Hello from the stand-in, in several chunks.")
    parser.add_argument("--chunks", type=int, default=5)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each chunk")
    parser.add_argument("--script", help="a JSON file with a list of turns")
    args = parser.parse_args()
    try:
        import uvloop

        run: Callable[[Any], None] = uvloop.run
    except ImportError:
        run = asyncio.run
    with contextlib.suppress(KeyboardInterrupt):
        run(_serve(args))


if __name__ == "__main__":
    main()
