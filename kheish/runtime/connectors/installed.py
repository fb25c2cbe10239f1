"""Kinds of connectors of installed packages: found by their entry points, imported once, in a thread. A package is
third-party code in the daemon's process; no fault of it stops the daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from kheish.domain.connectors.arrival import Arrival, Click, Ignored, Moved, Parsed
from kheish.domain.connectors.definition import KINDS
from kheish.errors import ConnectorNotReady, KheishError
from kheish.runtime.connectors.base import GROUP, ConnectorKind, Request

G = TypeVar("G")
R = TypeVar("R")
#: seconds that all packages may take to be imported, and a package may take for a request
_IMPORTING, _RECEIVING = 20.0, 30.0


@dataclass(frozen=True, slots=True)
class Problem:
    """A package that is left out, with the reason."""

    entry_point: str
    why: str


_kinds: dict[str, ConnectorKind] = {}


def get(name: str) -> ConnectorKind | None:
    """Return the kind of an installed package; None without one."""
    return _kinds.get(name)


def find() -> list[EntryPoint]:
    """Return the entry points of the installed packages, by name. Blocks on disk."""
    return sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value))


def read(points: Iterable[EntryPoint]) -> tuple[dict[str, ConnectorKind], list[Problem]]:
    """Import packages; a name that is taken stays with its owner."""
    kinds: dict[str, ConnectorKind] = {}
    problems: list[Problem] = []
    for point in points:
        try:
            kind = point.load()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - third-party code: it must not stop the daemon
            problems.append(Problem(point.name, f"{point.value}: {type(error).__name__}: {error}"))
            continue
        if not isinstance(kind, ConnectorKind):
            problems.append(Problem(point.name, f"{point.value} is no kheish.runtime.connectors.base.ConnectorKind"))
        elif kind.name in KINDS or kind.name in kinds:
            problems.append(Problem(point.name, f"{point.value}: the kind {kind.name!r} is taken"))
        else:
            kinds[kind.name] = kind
    return kinds, problems


async def load() -> list[Problem]:
    """Import the installed packages, once for the process; return those that are left out."""
    try:
        points = await asyncio.to_thread(find)
        if not points:
            return []
        kinds, problems = await asyncio.wait_for(asyncio.to_thread(read, points), _IMPORTING)
    except TimeoutError:
        return [Problem(GROUP, f"not imported within {_IMPORTING:g} s")]
    _kinds.update(kinds)
    return problems


async def contained(function: Callable[[G], Awaitable[R]], given: G) -> R:
    """Return what a package's function returns. An exit that would end the daemon is an ordinary failure: in a task, no
    handler around it would keep it from the event loop."""
    try:
        return await function(given)
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError(f"{type(error).__name__}: {error}") from error


async def guarded(kind: ConnectorKind, request: Request) -> Parsed:
    """Return what a package made of a request; its defects are errors of the connector. Raises KheishError."""
    try:
        assert kind.receive is not None
        parsed = await asyncio.wait_for(contained(kind.receive, request), _RECEIVING)
    except KheishError:
        raise
    except TimeoutError as error:
        raise ConnectorNotReady(f"The kind {kind.name!r} did not read the request within {_RECEIVING:g} s.") from error
    except Exception as error:
        raise ConnectorNotReady(f"The kind {kind.name!r} failed: {type(error).__name__}: {error}") from error
    if not isinstance(parsed, Arrival | Click | Ignored | Moved):
        raise ConnectorNotReady(f"The kind {kind.name!r} returned {type(parsed).__name__}, which is no arrival.")
    return parsed
