"""What a worker reports about its machine."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kheish import resources
from kheish.jobs import probing
from kheish.store.git import command

_SECONDS = 10.0


async def about(root: Path) -> Mapping[str, Any]:
    """Return versions, sandbox, clock and space."""
    probe = await probing.probe_async()
    found = {"sandbox": probe.available, "sandbox_why": probe.why, "kheish": resources.version()}
    return {**found, **await asyncio.to_thread(_read, root), "time": time.time()}


def _read(root: Path) -> Mapping[str, Any]:
    root.mkdir(0o700, parents=True, exist_ok=True)
    return {"git": _git(), "folder": str(root), "free_bytes": shutil.disk_usage(root).free}


def _git() -> str | None:
    try:
        done = command.run(None, ["version"], timeout=_SECONDS)
    except OSError:
        return None
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else None


async def weigh(args: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the length of what came, to measure the way."""
    return {"length": len(str(args["bytes"]))}
