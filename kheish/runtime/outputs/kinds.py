"""The kinds of targets by name: those of Kheish itself, and those of installed packages (entry point `kheish.outputs`).

A package's module has one function, `async def send(job, way) -> Sent`; see docs/outputs.md.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from kheish.runtime.outputs.base import Passing, Sender

_GROUP = "kheish.outputs"
_OWN = frozenset({"http", "slack", "telegram", "email", "file", "command", "apprise"})
#: senders that were imported
_KNOWN: dict[str, Any] = {}
#: deliveries at once to one target that keeps no order
AT_ONCE: Mapping[str, int] = {"http": 16, "slack": 1, "telegram": 1, "email": 4, "file": 1, "command": 4, "apprise": 2}


async def sender(kind: str) -> Sender:
    """Return the sender of a kind, which is imported at its first use. Raises Passing for an unknown one: its package
    may be installed later."""
    if kind not in _KNOWN:
        _KNOWN[kind] = await asyncio.to_thread(_load, kind)
    found: Sender = _KNOWN[kind]
    return found


async def lacking(kind: str) -> str | None:
    """Return the reason why no delivery of a kind can be sent, and what to do; None if there is none."""
    if kind == "apprise":
        is_there = await asyncio.to_thread(importlib.util.find_spec, "apprise")
        return None if is_there else "the library apprise is not installed: pip install 'kheish[apprise]'"
    try:
        await sender(kind)
    except Passing as error:
        return str(error)
    return None


def _load(kind: str) -> Any:
    if kind in _OWN:
        return importlib.import_module(f"kheish.runtime.outputs.{kind}")
    for found in entry_points(group=_GROUP):
        if found.name == kind:
            return _checked(kind, found)
    raise Passing(f"there is no kind of output {kind!r}: install the package that provides it, then restart the daemon")


def _checked(kind: str, point: EntryPoint) -> Any:
    """Return what a package provides. Raises Passing."""
    try:
        loaded = point.load()
    except (Exception, SystemExit) as error:  # third-party code: it must not stop the daemon
        why = f"{type(error).__name__}: {error}"
        raise Passing(f"the package of the kind {kind!r} cannot be loaded: {why}") from error
    if not inspect.iscoroutinefunction(getattr(loaded, "send", None)):
        raise Passing(f"the package of the kind {kind!r} has no `async def send(job, way)` in {point.value}")
    return loaded
