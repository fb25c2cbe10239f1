"""A model server that lies, floods and cuts, over real sockets: a typed error within bounds, and never more."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, strategies as st

from kheish.runtime.drivers import bounds
from kheish.runtime.drivers.answer import Assembly
from kheish.runtime.drivers.base import Message, ModelError, Reply, Request, ToolSpec
from kheish.runtime.drivers.lines import DONE, Documents
from kheish.runtime.drivers.openai import OpenAIDriver
from tests.runtime.drivers.asking import ask, fail, request

SSE = "content-type: text/event-stream"
REQUEST = Request(route_id="r", model="m", messages=(Message(role="user", text="hi"),), answers=4)


@pytest.fixture
async def driver() -> AsyncIterator[OpenAIDriver]:
    made = OpenAIDriver()
    yield made
    await made.aclose()


class Raw:
    """A server that answers each POST with the next of its bytes, or with what a function makes of the request."""

    def __init__(self, *answers: bytes | Callable[[dict[str, Any]], bytes] | AsyncIterator[bytes]) -> None:
        self.answers = list(answers)
        self.heads: list[str] = []
        self.bodies: list[Any] = []
        self.sent = 0
        self.paths: dict[str, bytes] = {}

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next(
                    (int(line[15:]) for line in head.lower().split("\r\n") if line.startswith("content-length")), 0
                )
                body = await reader.readexactly(length)
                self.heads.append(head)
                if head.startswith("GET"):
                    writer.write(self.paths.get(head.split()[1], whole({"detail": "Not Found"}, "404 Not Found")))
                    continue
                self.bodies.append(orjson.loads(body))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if isinstance(answer, bytes):
                    writer.write(answer)
                elif callable(answer):
                    writer.write(answer(self.bodies[-1]))
                else:
                    async for piece in answer:
                        writer.write(piece)
                        await writer.drain()
                        self.sent += len(piece)
                if not answer or b"connection: close" in (
                    answer[:500] if isinstance(answer, bytes) else b"connection: close"
                ):
                    break
        writer.close()


@contextlib.asynccontextmanager
async def serving(raw: Raw) -> AsyncIterator[str]:
    server = await asyncio.start_server(raw, "127.0.0.1", 0, limit=2**24)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


def head(*lines: str, status: str = "200 OK") -> bytes:
    return "\r\n".join((f"HTTP/1.1 {status}", *lines, "connection: close", "", "")).encode()


def whole(document: Any, status: str = "200 OK", *lines: str) -> bytes:
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    return head("content-type: application/json", f"content-length: {len(body)}", *lines, status=status) + body


def stream(*documents: Any, done: bool = True) -> bytes:
    events = [b"data: " + (one if isinstance(one, bytes) else orjson.dumps(one)) + b"\n\n" for one in documents]
    return head(SSE) + b"".join(events) + (b"data: [DONE]\n\n" if done else b"")


def delta(reason: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": reason}]}


async def answered(driver: OpenAIDriver, *answers: bytes, **fields: Any) -> tuple[Reply, Raw]:
    raw = Raw(*answers)
    async with serving(raw) as url:
        reply, deltas = await ask(driver, request(url, **fields))
    assert "".join(deltas) == reply.text
    return reply, raw


# --- as it is meant ---------------------------------------------------------------------------------------------------

HI = (delta(content="h"), delta(content="i"), delta("stop"))


@pytest.mark.found("A10")
@pytest.mark.parametrize(
    "answer",
    [
        stream(*HI),
        stream(*HI, done=False),
        stream(*HI[:2]),  # [DONE] without a finish reason
        head("content-type: text/plain") + stream(*HI).partition(b"\r\n\r\n")[2],
        head() + b"\xef\xbb\xbf" + stream(*HI).partition(b"\r\n\r\n")[2],
        head(SSE) + stream(*HI).partition(b"\r\n\r\n")[2].replace(b"\n", b"\r\n"),
        head(SSE) + stream(*HI).partition(b"\r\n\r\n")[2].replace(b"\n", b"\r"),
        head(SSE) + stream(*HI).partition(b"\r\n\r\n")[2].replace(b"\n\ndata", b"\ndata"),  # no empty lines
        head(SSE) + b": ping\n\nretry: 3\nid: 1\n" + stream(*HI).partition(b"\r\n\r\n")[2].rstrip(),
        head("content-type: application/x-ndjson") + b"\n".join(orjson.dumps(one) for one in HI) + b"\n",
        whole({"choices": [{"message": {"role": "assistant", "content": "hi"}, "finish_reason": None}], "usage": None}),
        whole({"choices": [{"message": {"content": [{"type": "text", "text": "hi"}]}, "finish_reason": "stop"}]}),
        stream(b'{"choices":[{"delta":{"content":"hi","x":NaN,"y":1e999}}]}', delta("stop")),
    ],
)
async def test_an_answer_is_read_whatever_its_form(driver: OpenAIDriver, answer: bytes) -> None:
    reply, _ = await answered(driver, answer)
    assert (reply.text, reply.finish_reason, reply.usage.estimated) == ("hi", "stop", True)


@pytest.mark.parametrize(
    "pieces",
    [(rb'"\ud83d"', rb'"\ude00"'), (b'"\xf0\x9f"', b'"\x98\x80"'), (b'"\xf0"', b'"\x9f"', b'"\x98"', b'"\x80"')],
)
async def test_a_character_may_be_split_over_chunks(driver: OpenAIDriver, pieces: tuple[bytes, ...]) -> None:
    chunks = [b'{"choices":[{"delta":{"content":' + piece + b"}}]}" for piece in pieces]
    assert (await answered(driver, stream(*chunks, delta("stop"))))[0].text == "\U0001f600"


@pytest.mark.found("A7")
async def test_an_empty_stream_is_asked_once_more_without_streaming(driver: OpenAIDriver) -> None:
    too_long = {
        "error": {"message": "This model's maximum context length is 2048 tokens", "code": "context_length_exceeded"}
    }
    raw = Raw(head(SSE), whole(too_long, "400 Bad Request"))
    async with serving(raw) as url:
        error = await fail(driver, request(url))
    assert (error.kind, error.window) == ("context_length", 2048)
    assert [one["stream"] for one in raw.bodies] == [True, False]
    raw = Raw(stream(delta(role="assistant", content="")))
    async with serving(raw) as url:
        assert ((await fail(driver, request(url))).kind, len(raw.bodies)) == ("empty", 2)


@pytest.mark.found("A7")
async def test_a_connection_that_ends_after_an_empty_stream_is_replaced(driver: OpenAIDriver) -> None:
    """As llama-cpp-python tells that a prompt is too long: an empty stream, and soon a closed connection."""
    empty = head(SSE, "content-length: 0").replace(b"connection: close", b"connection: keep-alive")
    too_long = whole({"error": {"message": "Requested tokens (5136) exceed context window of 4096"}}, "500 Error")
    raw = Raw(empty, b"", too_long)
    async with serving(raw) as url:
        error = await fail(driver, request(url))
    assert (error.kind, error.window) == ("context_length", 4096)
    assert [one["stream"] for one in raw.bodies] == [True, False, False]
    raw = Raw(empty, b"")
    async with serving(raw) as url:
        error = await fail(driver, request(url))
    assert (error.kind, error.reply, len(raw.bodies)) == ("transport", None, 3), "nothing came, so nothing is counted"


@pytest.mark.found("C10")
async def test_what_a_server_refuses_by_name_is_left_out_from_then_on(driver: OpenAIDriver) -> None:
    def answer(body: dict[str, Any]) -> bytes:
        if "stream_options" in body:
            return whole({"message": 'json: unknown field "stream_options"'}, "400 Bad Request")
        return stream(*HI)

    raw = Raw(answer)
    async with serving(raw) as url:
        for _ in range(2):
            reply, _ = await ask(
                driver, request(url, tools=(ToolSpec(name="t", description="d" * 400, parameters={}),))
            )
    assert ["stream_options" in one for one in raw.bodies] == [True, False, False]
    assert reply.usage.estimated and reply.usage.input_tokens > 100  # tools count too


# --- any cut of the bytes ---------------------------------------------------------------------------------------------

ANSWER = stream(
    {"choices": []},
    delta(role="assistant", content=None),
    delta(content="é\U0001f600 "),
    b'{"choices":[{"delta":{"content":"\\ud83d"}}]}',
    b'{"choices":[{"delta":{"content":"\\ude00\xf0"}}]}',
    b'{"choices":[{"delta":{"content":"\x9f\x98\x80"}}]}',
    delta(reasoning_content="because"),
    delta(tool_calls=[{"index": 0, "id": 7, "function": {"name": "read_", "arguments": ""}}]),
    delta(tool_calls=[{"index": 0, "function": {"name": "file", "arguments": '{"pa'}}]),
    delta(tool_calls=[{"index": 0, "function": {"arguments": 'th": "a"}'}}]),
    delta("tool_calls"),
    {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
).partition(b"\r\n\r\n")[2]


def read(pieces: list[bytes]) -> tuple[Reply, str]:
    assembly, documents = Assembly(REQUEST), Documents()
    shown = ""
    for piece in pieces:
        for document in documents.feed(piece):
            if document is DONE:
                assembly.end()
            else:
                shown += assembly.feed(document)
    for document in documents.end():
        shown += assembly.feed(document)
    return assembly.reply(), shown


@given(st.sets(st.integers(0, len(ANSWER)), max_size=30), st.sampled_from([b"\n", b"\r\n", b"\r"]), st.booleans())
def test_any_cut_of_the_bytes_gives_the_same_reply(borders: set[int], newline: bytes, has_bom: bool) -> None:
    expected, _ = read([ANSWER])
    assert expected.calls[0].arguments == {"path": "a"} and expected.calls[0].name == "read_file"
    raw = (b"\xef\xbb\xbf" if has_bom else b"") + ANSWER.replace(b"\n", newline)
    cuts = [0, *sorted(borders), len(raw)]
    reply, shown = read([raw[start:end] for start, end in pairwise(cuts)])
    assert reply == expected
    assert shown == expected.text == "é\U0001f600 \U0001f600\U0001f600"


@given(st.binary(max_size=200), st.integers(0, 200))
def test_no_bytes_lead_to_anything_but_a_reply_or_a_model_error(data: bytes, cut: int) -> None:
    for raw in (data, b"data: " + data + b"\n\n", b"{" + data):
        with contextlib.suppress(ModelError):
            read([raw[:cut], raw[cut:]])


# --- bounds -----------------------------------------------------------------------------------------------------------


async def flood(first: bytes, piece: bytes) -> AsyncIterator[bytes]:
    yield first
    while True:
        yield piece


LINE = b"data: " + orjson.dumps(delta(content="x" * 60_000)) + b"\n\n"


CALL = delta(tool_calls=[{"index": 0, "function": {"arguments": "x" * 60_000}}])


@pytest.mark.found("S17")
@pytest.mark.parametrize(
    "answer",
    [
        flood(head(SSE), LINE),  # text without end
        flood(head(SSE), b": " + b"x" * 65_000 + b"\n\n"),  # nothing without end
        flood(head(SSE) + b"data: ", b"x" * 65_536),  # a line without end
        flood(head(SSE) + b"data: x\n", b"data: " + b"x" * 65_000 + b"\n"),  # an event without end
        flood(head("content-type: application/json") + b'{"a":"', b"x" * 65_536),  # a document without end
        flood(head(SSE), b"\n" * 65_536),  # blanks without end
flood(head(SSE), b"data: " + orjson.dumps(CALL) + b"\n\n"),
        flood(head(SSE), b"data: " + orjson.dumps(delta(reasoning_content="x" * 60_000)) + b"\n\n"),
    ],
)  # fmt: skip
async def test_an_answer_without_end_is_cut_off(
    driver: OpenAIDriver, answer: AsyncIterator[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, size in {"BYTES": 4_000_000, "LINE": 500_000, "WHOLE": 600_000, "KEPT": 700_000}.items():
        monkeypatch.setattr(bounds, name, size)
    raw = Raw(answer)
    async with serving(raw) as url:
        error = await fail(driver, request(url))
    assert (error.kind, error.retryable) == ("oversized", False)
    assert raw.sent < 12_000_000  # what was on its way in the sockets, too


@pytest.mark.found("S17")
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("status", ["200 OK", "500 Internal Server Error"])
async def test_a_bomb_is_not_unpacked(
    driver: OpenAIDriver, encoding: str, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "BYTES", 8_000_000)
    packer = zlib.compressobj(6, zlib.DEFLATED, 31 if encoding == "gzip" else 15)
    line = b": " + b"x" * 1_048_573 + b"\n"
    bomb = b"".join([packer.compress(line) for _ in range(64)] + [packer.flush()])
    assert len(bomb) < 100_000
    raw = Raw(head(SSE, f"content-encoding: {encoding}", status=status) + bomb)
    async with serving(raw) as url:
        await fail(driver, request(url))  # the SDK is loaded
        tracemalloc.start()
        error = await fail(driver, request(url))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert error.kind == ("oversized" if status.startswith("200") else "server")
    assert peak < 16_000_000
    assert "accept-encoding: identity" in raw.heads[0].lower()


async def test_a_packed_answer_is_read_though_none_was_asked_for(driver: OpenAIDriver) -> None:
    body = stream(*HI).partition(b"\r\n\r\n")[2]
    raw_deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    for encoding, packed in {
        "gzip": gzip.compress(body),
        "deflate": zlib.compress(body),
        "Deflate": raw_deflate.compress(body) + raw_deflate.flush(),
    }.items():
        reply, _ = await answered(driver, head(SSE, f"content-encoding: {encoding}") + packed)
        assert reply.text == "hi"
    raw = Raw(head(SSE, "content-encoding: br") + b"\x0b")
    async with serving(raw) as url:
        assert "br" in (await fail(driver, request(url))).message


@pytest.mark.found("S17")
@pytest.mark.parametrize("status", ["301 x", "302 x", "303 x", "307 x", "308 x"])
async def test_a_redirect_is_not_followed(driver: OpenAIDriver, status: str) -> None:
    raw = Raw(head("location: /elsewhere?key=1", "content-length: 0", status=status))
    async with serving(raw) as url:
        error = await fail(driver, request(url, credential="sk-key"))
    assert len(raw.bodies) == 1
    assert not any("/elsewhere" in one.split("\r\n")[0] for one in raw.heads)
    assert (error.kind, error.status) == ("bad_request", int(status[:3]))
    assert "/elsewhere" in error.message and "key=1" not in error.message


@pytest.mark.parametrize(
    "answer",
    [
        head(SSE) + b"data: {not json\n\n",
        head(SSE) + b'data: "x"\n\n',
        whole(b""),
        whole(b"null"),
        whole(b"[" * 100_000),
        head(SSE) + b"data: " + b'{"a":' * 3000 + b"1" + b"}" * 3000 + b"\n\n",
        head("content-type: text/plain") + b"upstream is gone",
        head("transfer-encoding: chunked", SSE) + b"zz\r\nnot a chunk",
        b"garbage without a status line\r\n\r\n",
        b"",
        head("content-length: 99", SSE) + b"data: {}\n\n",
        stream(HI[0], done=False),
        stream(delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": "t", "arguments": '{"a'}}])),
        stream(b'{"choices":[{"delta":{"content":"a"}}],"error":"boom"}'),
        head(SSE) + b'event: error\ndata: {"message": "boom", "code": 503}\n\n',
    ],
)  # fmt: skip
async def test_nonsense_is_a_failure_that_may_pass(driver: OpenAIDriver, answer: bytes) -> None:
    raw = Raw(answer or head(status="200 OK"))
    async with serving(raw) as url:
        error = await fail(driver, request(url))
    assert error.kind in ("transport", "server", "empty")
    assert error.retryable


# --- what a user needs to mend it -------------------------------------------------------------------------------------

MODELS = whole({"data": [{"id": "qwen3-coder"}, {"id": "llama-3"}]})
NOT_FOUND = whole({"detail": "Not Found"}, "404 Not Found")


@pytest.mark.found("C5")
async def test_a_wrong_address_is_named_with_the_one_that_answers(driver: OpenAIDriver) -> None:
    raw = Raw(NOT_FOUND)
    raw.paths["/v1/models"] = MODELS
    async with serving(raw) as url:
        root = url.removesuffix("/v1")
        error = await fail(driver, request(root))
        page = Raw(head("content-type: text/html") + b"<!doctype html><p>hello")
        page.paths = raw.paths
        async with serving(page) as other:
            told = (await fail(driver, request(other.removesuffix("/v1") + "/chat"))).message
    assert f"Not Found (404 from {root}/chat/completions) {url}/models answers: set api_base to {url}" in error.message
    assert "web page" in told and f"set api_base to {other}" in told


async def test_without_any_answer_the_usual_end_is_named(driver: OpenAIDriver) -> None:
    async with serving(Raw(NOT_FOUND)) as url:
        root = url.removesuffix("/v1")
        assert f"Most servers need {root}/v1" in (await fail(driver, request(root))).message


async def test_a_missing_model_is_named_with_those_that_there_are(driver: OpenAIDriver) -> None:
    raw = Raw(whole({"error": {"message": "model not found", "code": "model_not_found"}}, "404 Not Found"))
    raw.paths["/v1/models"] = MODELS
    async with serving(raw) as url:
        near = await fail(driver, request(url, model="qwen3-codr"))
        far = await fail(driver, request(url, model="zzz"))
    assert "did you mean 'qwen3-coder'?" in near.message
    assert "it has qwen3-coder, llama-3." in far.message


@pytest.mark.found("C5")
@pytest.mark.parametrize(
    ("ref", "told"),
    [
        ("env:MY_KEY", "The credential of the variable MY_KEY was sent."),
        ("work-key", "The credential of the slot work-key was sent."),
        (None, "No credential was sent"),
    ],
)
async def test_a_refused_credential_is_named(driver: OpenAIDriver, ref: str | None, told: str) -> None:
    said = "Unauthorized. sk-secret" if ref else "Unauthorized."
    raw = Raw(whole({"error": {"message": said}}, "401 Unauthorized"))
    async with serving(raw) as url:
        error = await fail(driver, request(url, credential="sk-secret" if ref else None, settings={"auth_ref": ref}))
    assert (error.kind, error.status) == ("auth", 401)
    assert told in error.message and f"401 from {url}/chat/completions" in error.message
    assert "sk-secret" not in error.message
