"""The drivers: one explicit table, each imported when a route first needs it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib import import_module

from kheish.errors import Invalid
from kheish.runtime.drivers.base import Driver

#: the driver's name in a route → its module and class
DRIVERS: dict[str, tuple[str, str]] = {
    "openai": ("kheish.runtime.drivers.openai", "OpenAIDriver"),
    "litellm": ("kheish.runtime.drivers.litellm", "LiteLLMDriver"),
    "replay": ("kheish.runtime.drivers.replay", "ReplayDriver"),
    "scripted": ("kheish.runtime.drivers.scripted", "ScriptedDriver"),
}

#: the drivers that may run in driver processes; the others cost less than the way there
IN_PROCESSES = frozenset({"openai", "litellm"})

_open: dict[str, Driver] = {}
_elsewhere: set[str] = set()


async def get(name: str) -> Driver:
    """Return the driver of that name, one for the process until `close_all`. Raises Invalid for an unknown name."""
    if name not in _open:
        if name not in DRIVERS:
            raise Invalid(f"There is no driver {name!r}; choose one of {', '.join(sorted(DRIVERS))}.")
        make = await asyncio.to_thread(_load, name)
        _open.setdefault(name, make())  # two concurrent first users: the second gets the driver of the first
    return _open[name]


def _load(name: str) -> Callable[[], Driver]:
    module, attribute = DRIVERS[name]
    made: Callable[[], Driver] = getattr(import_module(module), attribute)
    return made


def loaded() -> frozenset[str]:
    """Return the names of the drivers that were used, here or in driver processes."""
    return frozenset(_open) | _elsewhere


def note_used(name: str) -> None:
    """Note that a driver process uses a driver."""
    _elsewhere.add(name)


async def close_all() -> None:
    """Close every driver that was used here; a later `get` makes a new one."""
    _elsewhere.clear()
    while _open:
        _, driver = _open.popitem()
        await driver.aclose()
