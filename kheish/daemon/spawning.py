"""Background work that nothing awaits: kept from the garbage collector, and its failures are logged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

log = logging.getLogger(__name__)

_tasks: set[asyncio.Task[None]] = set()


def spawn(work: Coroutine[Any, Any, None]) -> None:
    """Start work in the background."""
    task = asyncio.get_running_loop().create_task(work)
    _tasks.add(task)  # the loop itself keeps no strong reference
    task.add_done_callback(_ended)


def _ended(task: asyncio.Task[None]) -> None:
    """Log at once what a task raised that is awaited nowhere: the collector would do so later, or never."""
    _tasks.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("background work failed", exc_info=error)
