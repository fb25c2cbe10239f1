"""Execution of steps. A step is a serialisable request and a result; journaling stays with the loop.

`Local` runs them in this process. Another engine (a cluster) would be another class with the same methods.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import isinf
from typing import Any, Protocol

from kheish.runtime.drivers import described, registry
from kheish.runtime.drivers.base import Reply, Request
from kheish.runtime.driving.pool import Pool
from kheish.runtime.tools.base import Context, Result, Suspended, Tool


class Executor(Protocol):
    """The interface that the loop uses."""

    async def complete(self, driver: str, request: Request, on_delta: Callable[[str], None]) -> Reply:
        """Run one model call. Raises drivers.base.ModelError."""
        ...

    async def window(self, request: Request) -> int | None:
        """Return the model's window in tokens as its server reports it; None if it does not."""
        ...

    async def call(self, tool: Tool, arguments: Any, context: Context) -> Result | Suspended:
        """Run one tool call. Raises tools.base.ToolError; TimeoutError after the tool's own limit."""
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

    async def call(self, tool: Tool, arguments: Any, context: Context) -> Result | Suspended:
        """Run one tool call."""
        async with asyncio.timeout(None if isinf(tool.timeout) else tool.timeout):
            return await tool.run(arguments, context)

    async def aclose(self) -> None:
        """Close the drivers and their processes."""
        if self._pool is not None:
            await self._pool.aclose()
        await registry.close_all()
