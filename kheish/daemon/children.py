"""Child processes of the daemon, and calls from other threads to its event loop."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kheish.store.pipes import Child


def child(module: str, root: Path, **options: Any) -> Child:
    """Return a child process that runs a module of Kheish on the state root."""
    return Child([sys.executable, "-m", module, str(root)], **options)


def on_loop(loop: asyncio.AbstractEventLoop, function: Callable[..., None]) -> Callable[..., None]:
    """Return a wrapper of `function` for other threads; it does nothing once the loop is closed."""

    def call(*args: Any) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(function, *args)

    return call
