"""A far side that is not ours: garbage, oversized frames, foreign ids, endless data. The daemon's side stays whole."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings, strategies as st

from kheish.errors import WorkerLost, WorkerProtocolError
from kheish.jobs.following import Kept
from kheish.runtime.workers import frames
from kheish.runtime.workers.carrier import Stream
from kheish.runtime.workers.connection import Connection
from kheish.runtime.workers.frames import Call, Cancel, Data, End, Hello, Ping
from kheish.runtime.workers.jobs import FarJobs
from kheish.runtime.workers.ssh import Ssh
from tests.runtime.workers.harness import PAUSES, until

HELLO = frames.MAGIC + frames.encode(Hello(boot_id="b", capabilities={}))
Play = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Streams:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def explain(self) -> str:
        return ""

    async def close(self) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()


class Played:
    """A machine whose side of each connection is a function of the test."""

    kind = "test"

    def __init__(self, play: Play, folder: object) -> None:
        self.play, self.path, self.opened = play, f"{folder}/far", 0
        self.server: asyncio.Server | None = None

    async def open(self) -> Stream:
        if self.server is None:
            self.server = await asyncio.start_unix_server(self._serve, self.path)
        self.opened += 1
        return Streams(*await asyncio.open_unix_connection(self.path))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, EOFError):
            await self.play(reader, writer)
        writer.close()


@asynccontextmanager
async def linked(play: Play, folder: object) -> AsyncIterator[tuple[Connection, Played]]:
    machine = Played(play, folder)
    link = Connection("big", machine, "home-1", pauses=PAUSES)
    try:
        yield link, machine
    finally:
        await link.close()
        if machine.server is not None:
            machine.server.close()


async def ask(play: Play, folder: object) -> object:
    async with linked(play, folder) as (link, _):
        return await asyncio.wait_for(link.call("state", {"job": "job_1"}), 20)


@pytest.mark.parametrize(
    "sent",
    [
        struct.pack(">I", frames.LONGEST + 1),
        struct.pack(">I", 2**32 - 1) + b"x" * 100,
        struct.pack(">I", 9) + b'{"type":1',
        struct.pack(">I", 2) + b"[]",
        struct.pack(">I", 20_000) + b"[" * 20_000,
        frames.encode(Hello(boot_id="again")),
        frames.encode(Call(id=1, op="stop", args={})),
        frames.encode(Cancel(id=1)),
    ],
    ids=["long", "longest", "cut json", "no object", "deep", "hello", "a call", "a cancel"],
)
async def test_what_is_no_answer_ends_the_connection_and_loses_the_call(sent: bytes, tmp_path: object) -> None:
    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HELLO)
        await frames.read(reader)  # its hello
        while not isinstance(await frames.read(reader), Call):
            pass
        writer.write(sent)
        await writer.drain()
        await reader.read()

    with pytest.raises(WorkerLost):
        await ask(play, tmp_path)


async def test_answers_to_foreign_ids_and_late_data_are_dropped(tmp_path: object) -> None:
    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HELLO)
        while not isinstance(call := await frames.read(reader), Call):
            pass
        for id in (call.id + 1, 0, 2**53 - 1):
            writer.write(frames.encode(End(id=id, result={"state": "gone"})))
            writer.write(frames.encode(Data(id=id, offset=5, bytes=b"x")))
        writer.write(frames.encode(Ping(n=7, answer=True)))
        writer.write(frames.encode(End(id=call.id, result={"state": "ended"})) * 2)
        await writer.drain()
        await reader.read()

    assert await ask(play, tmp_path) == {"state": "ended"}


@pytest.mark.parametrize(
    "greeting",
    [b"Welcome to big!\r\nLast login: today\r\n" + HELLO, b"\xff\x00" * 100 + HELLO],
)
async def test_words_of_a_login_shell_are_skipped(greeting: bytes, tmp_path: object) -> None:
    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        while not isinstance(call := await frames.read(reader), Call):
            pass
        writer.write(frames.encode(End(id=call.id, result={"state": "ended"})))
        await reader.read()

    assert await ask(play, tmp_path) == {"state": "ended"}


@pytest.mark.parametrize(
    ("greeting", "words"),
    [
        (b"bash: kheish: command not found\n", "command not found"),
        (b"y\n" * 100_000, "no `kheish worker`"),
        (frames.MAGIC + frames.encode(Hello(boot_id="b", version=9)), "version 9"),
    ],
)
async def test_what_is_no_worker_is_reported_and_tried_again(greeting: bytes, words: str, tmp_path: object) -> None:
    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await frames.read(reader)
        writer.write(greeting)
        await writer.drain()

    async with linked(play, tmp_path) as (link, machine):
        waiting = asyncio.create_task(link.call("state", {}))
        await until(lambda: words in link.health.reason and machine.opened > 2)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_endless_output_is_bounded_and_the_end_is_checked(tmp_path: object) -> None:
    part = b"x" * frames.PART

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HELLO)
        while not isinstance(call := await frames.read(reader), Call):
            pass
        for at in range(400):  # 25 MiB
            writer.write(frames.encode(Data(id=call.id, offset=at * len(part), bytes=part)))
            await writer.drain()
        end = {"exit_status": "zero", "stopped": 1, "duration": "long", "exceeded": "everything", "left": True}
        writer.write(frames.encode(End(id=call.id, result={"end": end})))
        await reader.read()

    async with linked(play, tmp_path) as (link, _):
        end = await asyncio.wait_for(FarJobs(link).wait("job_1.big", lambda text: None), 60)
    assert end is not None and end.truncated and len(end.output) < 9 * 1024 * 1024
    assert (end.exit_status, end.stopped, end.duration, end.exceeded, end.left) == (None, False, 0.0, None, 0)


async def test_a_state_that_no_job_has_is_no_answer(tmp_path: object) -> None:
    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HELLO)
        while not isinstance(call := await frames.read(reader), Call):
            pass
        writer.write(frames.encode(End(id=call.id, result={"state": ["ended"]})))
        await reader.read()

    with pytest.raises(WorkerProtocolError):
        async with linked(play, tmp_path) as (link, _):
            await asyncio.wait_for(FarJobs(link).look("job_1.big"), 20)


_ids = st.integers(0, 2**53 - 1)
_json = st.dictionaries(st.text(max_size=5), st.integers(0, 9) | st.text(max_size=9), max_size=3)


@given(
    st.one_of(
        st.builds(Call, id=_ids, op=st.text(max_size=9), args=_json),
        st.builds(Data, id=_ids, offset=_ids, bytes=st.binary(max_size=99)),
        st.builds(End, id=_ids, result=_json),
        st.builds(lambda id, text: End(id=id, error=("tool", text)), _ids, st.text(max_size=99)),
        st.builds(Cancel, id=_ids),
        st.builds(Ping, n=_ids, answer=st.booleans()),
    )
)
def test_each_frame_is_read_as_it_was_written(frame: frames.Frame) -> None:
    raw = frames.encode(frame)
    assert frames.parse(raw[4:]) == frame and struct.unpack(">I", raw[:4])[0] == len(raw) - 4


@settings(max_examples=50)
@given(st.binary(max_size=200) | st.recursive(st.none() | st.integers() | st.text(), st.lists))
def test_any_other_bytes_are_refused(value: object) -> None:
    import orjson

    raw = value if isinstance(value, bytes) else orjson.dumps(value) if _fits(value) else b"1"
    with pytest.raises(WorkerProtocolError):
        frames.parse(raw)


def _fits(value: object) -> bool:
    import orjson

    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True


def test_what_is_kept_of_an_output_has_its_beginning_and_its_end() -> None:
    kept = Kept(100)
    for at in range(0, 1000, 7):
        kept.add(at, bytes(f"{at:07d}"[:7], "ascii"))
        kept.add(at, b"repeated")  # after a lost connection: nothing is kept twice
    text, is_cut = kept.text()
    assert is_cut and text.startswith("0000000") and "were cut here" in text and len(text) < 200


@pytest.mark.parametrize("address", ["-oProxyCommand=x", "a b", "x;y", "", "a@b@c", "$(x)", "a\nb"])
def test_an_address_is_a_host_and_nothing_else(address: str) -> None:
    from kheish.errors import Invalid

    with pytest.raises(Invalid):
        replace(Ssh("big"), address=address)
