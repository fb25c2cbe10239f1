"""An MCP server with the SDK, over stdio or (with a port) streamable HTTP: both eras, by whoever connects."""

from __future__ import annotations

import sys
from typing import Annotated

import anyio
from mcp.server import MCPServer
from mcp.server.mcpserver import Context, Elicit, Resolve
from pydantic import BaseModel

server = MCPServer("sdk", instructions="Say please.")


class Size(BaseModel):
    size: int


async def size() -> Elicit[Size]:
    return Elicit("How large?", Size)


@server.tool()
async def order(given: Annotated[Size, Resolve(size)]) -> str:
    """Order something."""
    return f"ordered size {given.size}"


def late() -> str:
    """Answer late."""
    return "here I am"


@server.tool()
async def grow(ctx: Context) -> str:
    """Add a tool."""
    server.add_tool(late)
    await ctx.notify_tools_changed()
    return "grown"


@server.tool()
async def crawl(ctx: Context) -> str:
    """Report progress."""
    for step in range(3):
        await ctx.report_progress(step, 3, f"step {step}")
        await anyio.sleep(0.1)
    return "arrived"


if len(sys.argv) > 1:
    server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
else:
    server.run("stdio")
