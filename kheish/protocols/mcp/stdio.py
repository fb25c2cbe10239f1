"""`kheish mcp serve`: the server on stdin and stdout, as a thin client of the daemon."""

from __future__ import annotations

import asyncio
import logging
import sys

from mcp.server.stdio import stdio_server

from kheish.client import discovery
from kheish.client.aio_connection import AsyncConnection
from kheish.errors import Unreachable
from kheish.protocols.access import Remote
from kheish.protocols.mcp.server import build


def serve(url: str | None, token: str | None, state_root: str | None) -> None:
    """Serve one client until it closes stdin. The daemon may restart meanwhile; it need not run yet."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    try:
        discovery.find(url, token, state_root)
    except Unreachable as error:  # clients show stderr to their user; the tools work once a daemon serves
        sys.stderr.write(f"kheish mcp serve: {error.detail}\n")
    asyncio.run(_serve(url, token, state_root))


async def _serve(url: str | None, token: str | None, state_root: str | None) -> None:
    async with AsyncConnection(url, token, state_root) as connection:
        access = Remote(connection)
        server = build(lambda _: access)
        async with stdio_server() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())
