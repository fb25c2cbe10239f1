"""The frames between the daemon and a worker: a length of four bytes, and a JSON object of at most that many.

Both sides treat the other as untrusted: a frame is bounded before it is read, a large one is parsed off the loop, and
each field is checked.

    hello  {version, boot_id, capabilities}     first, from both; the daemon's names its state root as `home`
    call   {id, op, args}                       from the daemon
    data   {id, offset, bytes}                  a part of a call's stream; `offset` counts from the stream's first byte
    end    {id, result} or {id, error: {kind, message}}
    cancel {id}                                 gives up a call; a job's command is ended by the call `stop`
    ping   {n}, answered by {n, answer: true}
"""

from __future__ import annotations

import asyncio
import binascii
import struct
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from kheish.errors import WorkerProtocolError

VERSION = 1
#: printed before the first frame: what a login shell prints before it is skipped
MAGIC = b"kheish-worker/1\n"
#: bytes of a frame, of a stream's part in one, and of what may come before MAGIC
LONGEST, PART, PREAMBLE = 8 * 1024 * 1024, 64 * 1024, 64 * 1024
_BIG = 64 * 1024  # bytes; larger ones are parsed in a thread
_HEAD = struct.Struct(">I")


class Reader(Protocol):
    """The readable half of a stream; `asyncio.StreamReader` has it."""

    async def readexactly(self, n: int) -> bytes:
        """Return n bytes. Raises asyncio.IncompleteReadError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """The first frame of each side."""

    boot_id: str
    version: int = VERSION
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    home: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request of the daemon."""

    id: int
    op: str
    args: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """A part of a call's stream."""

    id: int
    offset: int
    bytes: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The end of a call: its result, or its error as kind and message."""

    id: int
    result: Mapping[str, Any] = field(default_factory=dict)
    error: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """The daemon gives up a call."""

    id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """A sign of life, which is answered."""

    n: int
    answer: bool = False


Frame = Hello | Call | Data | End | Cancel | Ping


def encode(frame: Frame) -> bytes:
    """Return the bytes of a frame. Raises WorkerProtocolError for one that is too long."""
    body = orjson.dumps(_document(frame))
    if len(body) > LONGEST:
        raise WorkerProtocolError(
            f"A message of {len(body)} bytes is too long for a worker; at most {LONGEST} are sent."
        )
    return _HEAD.pack(len(body)) + body


def _document(frame: Frame) -> dict[str, Any]:
    match frame:
        case Hello(version=version, boot_id=boot, capabilities=able, home=home):
            return {"type": "hello", "version": version, "boot_id": boot, "capabilities": dict(able), "home": home}
        case Call(id=id, op=op, args=args):
            return {"type": "call", "id": id, "op": op, "args": dict(args)}
        case Data(id=id, offset=offset, bytes=data):
            return {"type": "data", "id": id, "offset": offset, "bytes": b64encode(data).decode()}
        case End(id=id, error=None, result=result):
            return {"type": "end", "id": id, "result": dict(result)}
        case End(id=id, error=(kind, message)):
            return {"type": "end", "id": id, "error": {"kind": kind, "message": message}}
        case Cancel(id=id):
            return {"type": "cancel", "id": id}
        case Ping(n=n, answer=answer):
            return {"type": "ping", "n": n, "answer": answer}
    raise AssertionError(frame)


async def read(reader: Reader) -> Frame:
    """Return the next frame. Raises WorkerProtocolError; EOFError (IncompleteReadError) at the end of the stream."""
    (length,) = _HEAD.unpack(await reader.readexactly(_HEAD.size))
    if length > LONGEST:
        raise WorkerProtocolError(
            f"The other side announced a message of {length} bytes; at most {LONGEST} are accepted."
        )
    body = await reader.readexactly(length)
    return await asyncio.to_thread(parse, body) if length > _BIG else parse(body)


async def skip_preamble(reader: Reader) -> bytes:
    """Read up to MAGIC, and return what came before it. Raises WorkerProtocolError if it does not come soon."""
    before = bytearray()
    while not before.endswith(MAGIC):
        if len(before) > PREAMBLE:
            shown = bytes(before[:200]).decode("utf-8", "replace")
            raise WorkerProtocolError(f"The other side is no `kheish worker`: it wrote {shown!r}.")
        try:
            before += await reader.readexactly(1)
        except asyncio.IncompleteReadError:
            shown = bytes(before[-200:]).decode("utf-8", "replace")
            raise WorkerProtocolError(f"The other side ended before it was a worker; it wrote {shown!r}.") from None
    return bytes(before[: -len(MAGIC)])


def parse(body: bytes) -> Frame:
    """Return the frame in these bytes. Raises WorkerProtocolError."""
    try:
        document = orjson.loads(body)
        if not isinstance(document, dict):
            raise TypeError("no object")
        return _frame(document)
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise WorkerProtocolError(f"The other side sent what is no frame ({str(error)[:200]}).") from None


def _frame(document: Mapping[str, Any]) -> Frame:
    match document["type"]:
        case "hello":
            capabilities = _typed(document["capabilities"], dict)
            boot, home = _typed(document["boot_id"], str), _typed(document.get("home", ""), str)
            return Hello(version=_number(document["version"]), boot_id=boot[:128], capabilities=capabilities, home=home)
        case "call":
            args: Mapping[str, Any] = _typed(document["args"], dict)
            return Call(id=_number(document["id"]), op=_typed(document["op"], str), args=args)
        case "data":
            data = b64decode(_typed(document["bytes"], str), validate=True)
            if len(data) > PART:
                raise ValueError("a part of a stream is too long")
            return Data(id=_number(document["id"]), offset=_number(document["offset"]), bytes=data)
        case "end":
            return _end(document)
        case "cancel":
            return Cancel(id=_number(document["id"]))
        case "ping":
            return Ping(n=_number(document["n"]), answer=document.get("answer") is True)
    raise ValueError("unknown type")


def _end(document: Mapping[str, Any]) -> End:
    id, error = _number(document["id"]), document.get("error")
    if error is None:
        return End(id=id, result=_typed(document["result"], dict))
    given: Mapping[str, Any] = _typed(error, dict)
    return End(id=id, error=(_typed(given["kind"], str)[:64], _typed(given["message"], str)[:20_000]))


def _typed(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"a field is no {kind.__name__}")
    return value


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise ValueError("a field is no number")
    return value
