"""`kheish acp`: the agent on stdin and stdout, for one editor."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import Any

from acp import run_agent

from kheish.client.aio_connection import AsyncConnection
from kheish.protocols.access import Remote
from kheish.protocols.acp.agent import Kheish

#: bytes of one message of the editor, which may embed files
_LIMIT = 64 * 1024 * 1024


def serve(url: str | None, state_root: str | None, session: str | None, workspace: str | None) -> None:
    """Serve one editor until it closes stdin. The daemon may restart meanwhile."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    asyncio.run(_serve(url, state_root, session, workspace))
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - the library has closed it, and the command line flushes it


async def _serve(url: str | None, state_root: str | None, session: str | None, workspace: str | None) -> None:
    async with AsyncConnection(url, None, state_root) as connection:
        agent: Any = Kheish(Remote(connection), session, workspace)
        await run_agent(agent, stdio_buffer_limit_bytes=_LIMIT, use_unstable_protocol=True)
