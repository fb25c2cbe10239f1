"""Debug capture of the calls of MCP tools: what was asked of a server, and what it answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from kheish.runtime.debug import capture
from kheish.runtime.debug.capture import Recorder
from kheish.runtime.debug.files import name_of

T = TypeVar("T")


async def send(
    recorder: Recorder | None,
    call_id: str,
    request: Mapping[str, Any],
    step: Callable[..., Awaitable[T]],
    *arguments: Any,
) -> T:
    """Take the step, and capture the request and its outcome if there is a recorder."""
    if recorder is None:
        return await step(*arguments)
    name = ("mcp", call_id)
    await recorder.keep(name_of(*name, "request"), capture.plain(request))
    try:
        outcome = await step(*arguments)
    except Exception as error:
        await recorder.keep(name_of(*name, "response"), capture.plain({"error": str(error)}))
        raise
    await recorder.keep(name_of(*name, "response"), capture.plain(outcome))
    return outcome
