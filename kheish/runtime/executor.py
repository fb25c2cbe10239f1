"""Execution of steps. A step is a serialisable request and a result; journaling stays with the loop.

`Local` runs them in this process. `workers.placed.Placed` runs those of a session with a worker there, and hands all
others to `Local`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from math import isinf
from pathlib import Path
from typing import Any, Protocol

from kheish.beneath import pool
from kheish.domain.permissions.rules import SandboxFacts, ToolCall
from kheish.runtime import binding, locating
from kheish.runtime.binding import Facts
from kheish.runtime.drivers import described, registry
from kheish.runtime.drivers.base import Reply, Request
from kheish.runtime.driving.pool import Pool
from kheish.runtime.locating import Where
from kheish.runtime.tools.base import Context, Result, Suspended, Tool


class Executor(Protocol):
    """The interface that the loop uses."""

    async def complete(self, driver: str, request: Request, on_delta: Callable[[str], None]) -> Reply:
        """Run one model call. Raises drivers.base.ModelError."""
        ...

    async def window(self, request: Request) -> int | None:
        """Return the model's window in tokens as its server reports it; None if it does not."""
        ...

    async def plan(self, tool: Tool, arguments: Any, context: Context) -> Mapping[str, Any]:
        """Return the note of a call before it starts. Raises tools.base.ToolError."""
        ...

    async def call(self, tool: Tool, arguments: Any, context: Context) -> Result | Suspended:
        """Run one tool call. Raises tools.base.ToolError; TimeoutError after the tool's own limit."""
        ...

    async def preview(self, tool: Tool, arguments: Any, context: Context) -> str | None:
        """Return the diff that a call would make; None if it makes none. Raises tools.base.ToolError."""
        ...

    async def recover(self, tool: Tool, arguments: Any, context: Context) -> Result | Suspended | None:
        """Decide a call that has started and shows no end; None if its outcome is unknown. Raises ToolError."""
        ...

    async def locate(self, where: Where, call: ToolCall) -> tuple[ToolCall, Mapping[str, str]]:
        """Return the call with its resolved paths, and the paths that resolve elsewhere than written."""
        ...

    async def facts(self, where: Where, raw: Mapping[str, Any]) -> Facts:
        """Return the programs and files that a command line names."""
        ...

    def sandbox(self, worker: str | None) -> SandboxFacts | None:
        """Return how a worker confines commands, as far as it is known; None for this machine."""
        ...

    async def aclose(self) -> None:
        """Close connections, and end the processes of drivers."""
        ...


class Local:
    """An executor on this machine: tools in this process, model calls in the processes of a pool if there is one."""

    def __init__(self, pool: Pool | None = None) -> None:
        self._pool = pool

    async def complete(self, driver: str, request: Request, on_delta: Callable[[str], None]) -> Reply:
        """Run one model call by the named driver."""
        if self._pool is not None and self._pool.accepts(driver, request):
            return await self._pool.complete(driver, request, on_delta)
        instance = await registry.get(driver)
        return await instance.complete(request, on_delta)

    async def window(self, request: Request) -> int | None:
        """Ask the server for its model's window."""
        return await described.window(request)

    async def plan(self, tool: Tool, arguments: Any, context: Context) -> Mapping[str, Any]:
        """Plan one tool call."""
        return await tool.plan(arguments, context) if tool.plan is not None else {}

    async def call(self, tool: Tool, arguments: Any, context: Context) -> Result | Suspended:
        """Run one tool call."""
        async with asyncio.timeout(None if isinf(tool.timeout) else tool.timeout):
            return await tool.run(arguments, context)

    async def preview(self, tool: Tool, arguments: Any, context: Context) -> str | None:
        """Compute the diff of one call."""
        return await tool.preview(arguments, context) if tool.preview is not None else None

    async def recover(self, tool: Tool, arguments: Any, context: Context) -> Result | Suspended | None:
        """Ask the tool for the outcome."""
        return await tool.recover(arguments, context) if tool.recover is not None else None

    async def locate(self, where: Where, call: ToolCall) -> tuple[ToolCall, Mapping[str, str]]:
        """Resolve the paths, in a thread. Raises WorkspaceSlow."""
        return await pool.run(where.door, locating.located, where.door, call)

    async def facts(self, where: Where, raw: Mapping[str, Any]) -> Facts:
        """Read the files that a command line names, in a thread."""
        more = tuple(Path(path).expanduser() for path in where.state.definitions.config.sandbox.read_only)
        return await pool.run(where.door, binding.facts, where.door, raw, more)

    def sandbox(self, worker: str | None) -> SandboxFacts | None:
        """Return nothing: the daemon's own sandbox counts."""
        return None

    async def aclose(self) -> None:
        """Close the drivers and their processes."""
        if self._pool is not None:
            await self._pool.aclose()
        await registry.close_all()
