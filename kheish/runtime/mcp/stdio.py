"""The transport to a server process: one message a line, over its standard input and output."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
from mcp.shared.message import SessionMessage
from mcp_types import INTERNAL_ERROR, ErrorData, JSONRPCError, jsonrpc_message_adapter
from pydantic import ValidationError

from kheish.jobs import served
from kheish.jobs.served import Served, ServedSpec
from kheish.runtime.mcp import bounding
from kheish.runtime.mcp.wire import TOO_LARGE, Wire

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

_CHUNK = 64 * 1024
_SHOWN = 200
#: lines that are no messages, after which the output of a server is hardly the protocol
_MOST_BANNERS = 1000


@asynccontextmanager
async def connect(spec: ServedSpec, wire: Wire, limit: int) -> AsyncIterator[tuple[Any, Any]]:
    """Start a server and yield its streams; it is ended with all of its descendants at the exit. Raises OSError."""
    process = await served.start(spec)
    to_sdk, read_stream = anyio.create_memory_object_stream[Any](0)
    write_stream, from_sdk = anyio.create_memory_object_stream[SessionMessage](0)
    try:
        async with anyio.create_task_group() as tasks, read_stream, write_stream, from_sdk:
            tasks.start_soon(_read, process, to_sdk, wire, limit)
            tasks.start_soon(_write, process, from_sdk, wire)
            try:
                yield read_stream, write_stream
            finally:
                tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await process.close()


async def _read(process: Served, stream: MemoryObjectSendStream[Any], wire: Wire, limit: int) -> None:
    """Pass on the messages of the server until it closes its output, or sends too large a one."""
    buffer, banners = bytearray(), 0
    async with stream:
        while data := await process.reader.read(_CHUNK):
            buffer += data
            *lines, rest = buffer.split(b"\n")
            if max(len(rest), *map(len, lines), 0) > limit:
                wire.fail(f"it sent a message of more than {limit} bytes (max_message)", TOO_LARGE)
                return
            buffer = rest
            for line in lines:
                if await bounding.refuses(bytes(line), wire):
                    return
                message = parse(bytes(line))
                if message is None:
                    banners += _is_banner(bytes(line), wire)
                else:
                    await stream.send(SessionMessage(message))
            if banners > _MOST_BANNERS:
                wire.fail(f"more than {_MOST_BANNERS} lines of its output are no messages")
                return
        await _note_end(process, wire)


async def _note_end(process: Served, wire: Wire) -> None:
    """Note why the server closed its output, with the end of its standard error."""
    try:
        async with asyncio.timeout(0.5):
            await process.process.wait()
    except TimeoutError:
        pass
    errors = (await process.last_errors()).strip()
    last = errors.splitlines()[-1][-_SHOWN:] if errors else ""
    wire.fail(process.describe_end() + (f"; its last words: {last}" if last else ""))


def parse(line: bytes) -> Any:
    """Return the message in a line; None if the line is none.

    Halves of characters are replaced, and an answer that cannot be understood becomes an error, so that the request
    that it answers ends.
    """
    if not line.lstrip().startswith(b"{"):
        return None
    try:
        return jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValidationError:
        pass
    try:
        found = json.loads(json.dumps(json.loads(line), ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    try:
        return jsonrpc_message_adapter.validate_python(found, by_name=False)
    except ValidationError:
        pass
    id = found.get("id")
    if isinstance(id, bool) or not isinstance(id, int | str) or "method" in found:
        return None
    error = ErrorData(code=INTERNAL_ERROR, message="the answer is no message of the protocol")
    return JSONRPCError(jsonrpc="2.0", id=id, error=error)


def _is_banner(line: bytes, wire: Wire) -> bool:
    """Return whether a line that is no message has any text, and report it."""
    text = line.decode("utf-8", "replace").strip()
    if text:
        wire.on_banner(text[:_SHOWN])
    return bool(text)


async def _write(process: Served, stream: MemoryObjectReceiveStream[SessionMessage], wire: Wire) -> None:
    """Pass on the messages of the SDK."""
    async for item in stream:
        text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
        try:
            process.writer.write(text.encode("utf-8", "replace") + b"\n")
            await process.writer.drain()
        except (ConnectionError, RuntimeError):  # it has ended; its output says so
            return
