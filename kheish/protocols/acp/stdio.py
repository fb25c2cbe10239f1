"""`kheish acp`: the agent on stdin and stdout, for one editor."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import Any

from acp import run_agent, stdio_streams

from kheish.client.aio_connection import AsyncConnection
from kheish.protocols.access import Remote
from kheish.protocols.acp.agent import Kheish
from kheish.protocols.acp.wire import Wire

#: bytes of one message of the editor, which may embed files
_LIMIT = 64 * 1024 * 1024


def serve(url: str | None, state_root: str | None, session: str | None, workspace: str | None) -> None:
    """Serve one editor until it closes stdin. The daemon may restart meanwhile."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    asyncio.run(_serve(url, state_root, session, workspace))
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - the library has closed it, and the command line flushes it


async def _serve(url: str | None, state_root: str | None, session: str | None, workspace: str | None) -> None:
    wire = Wire(*await stdio_streams(limit=_LIMIT))
    async with AsyncConnection(url, None, state_root) as connection:
        agent: Any = Kheish(Remote(connection), wire, session, workspace)
        await run_agent(agent, wire, use_unstable_protocol=True)
