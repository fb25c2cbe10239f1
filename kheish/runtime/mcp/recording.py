"""Debug capture of MCP: what a call asked of a server and what it answered, and the messages of both."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from kheish.runtime.debug import capture
from kheish.runtime.debug.capture import Recorder
from kheish.runtime.debug.files import name_of
from kheish.runtime.mcp import transcript

T = TypeVar("T")


async def send(
    recorder: Recorder | None,
    name: tuple[str, ...],
    request: Mapping[str, Any],
    step: Callable[..., Awaitable[T]],
    *arguments: Any,
) -> T:
    """Take the step, and capture the request and its outcome if there is a recorder. `name` is that of the call."""
    if recorder is None:
        return await step(*arguments)
    await recorder.keep(name_of("mcp", *name, "request"), capture.plain(request))
    try:
        outcome = await step(*arguments)
    except Exception as error:
        await recorder.keep(name_of("mcp", *name, "response"), capture.plain({"error": str(error)}))
        raise
    await recorder.keep(name_of("mcp", *name, "response"), capture.plain(outcome))
    return outcome


async def transcribed(recorder: Recorder | None, name: tuple[str, ...], work: Awaitable[T]) -> T:
    """Await a call, and capture its messages with servers, in the order of the wire, if there is a recorder."""
    if recorder is None:
        return await work
    with transcript.opened() as messages:
        try:
            return await work
        finally:
            if messages.lines:
                content = b"".join(messages.lines)
                key = name_of("mcp", *name, "messages")
                await recorder.keep(key, content, are_events=True, size=messages.size)
