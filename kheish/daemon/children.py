"""Child processes of the daemon, and calls from other threads to its event loop."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kheish.store.pipes import Child


def child(module: str, root: Path, *words: str, **options: Any) -> Child:
    """Return a child process that runs a module of Kheish on the state root."""
    return Child([sys.executable, "-m", module, str(root), *words], **options)


def scribe(root: Path, filters: Mapping[str, Sequence[str]], **options: Any) -> Child:
    """Return a scribe, whose index has these filters."""
    return child("kheish.store.log.scribe", root, json.dumps(filters), **options)


def on_loop(loop: asyncio.AbstractEventLoop, function: Callable[..., None]) -> Callable[..., None]:
    """Return a wrapper of `function` for other threads; it does nothing once the loop is closed."""

    def call(*args: Any) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(function, *args)

    return call
