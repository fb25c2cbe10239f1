"""The packages of a process: found by their entry points, imported once, in a thread, within a deadline.

A package is third-party code in the daemon's process: a user who installs it trusts it with all that the daemon may do.
No fault of a package stops the daemon: it is reported, and the package's tools are missing.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from kheish.runtime.tools.base import Tool
from kheish.runtime.tools.installed import guarding

GROUP = "kheish.tools"
#: seconds that all packages may take to be imported
SECONDS = 20.0


@dataclass(slots=True)
class Package:
    """An entry point, its tools, and the reasons why it, or some of its tools, are left out."""

    entry_point: str
    value: str
    tools: list[Tool] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def problem(self) -> str | None:
        """All reasons in one text; None for a package without fault."""
        return "; ".join(self.problems) or None

    def view(self) -> dict[str, Any]:
        """Return it as the API shows it."""
        return {
            "entry_point": self.entry_point,
            "tools": [tool.name for tool in self.tools],
            "problem": self.problem,
        }


_loaded: tuple[Package, ...] = ()


def loaded() -> tuple[Package, ...]:
    """Return the packages of this process; none before `load`."""
    return _loaded


def tools_of(packages: Iterable[Package]) -> dict[str, Tool]:
    """Return the tools of packages, by name."""
    return {tool.name: tool for package in packages for tool in package.tools}


def find() -> list[EntryPoint]:
    """Return the entry points of the installed packages, by name. Blocks on disk."""
    return sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value))


def read(points: Iterable[EntryPoint], taken: Iterable[str]) -> tuple[Package, ...]:
    """Import packages. A name that is `taken`, or that another package has, stays with its owner.

    An entry point names a Tool, an iterable of Tools, or a function without arguments that returns one of these.
    """
    known, packages = set(taken), []
    for point in points:
        package = Package(point.name, point.value)
        packages.append(package)
        try:
            offered = _tools(point.load())
        except (Exception, SystemExit) as error:  # noqa: BLE001 - third-party code: it must not stop the daemon
            package.problems.append(f"{point.value}: {type(error).__name__}: {error}")
            continue
        for tool in offered:
            if (why := guarding.refusal(tool, known)) is not None:
                package.problems.append(f"{point.value}: {why}")
            else:
                known.add(tool.name)
                package.tools.append(guarding.guarded(tool))
    return tuple(packages)


async def load(taken: Mapping[str, Tool]) -> tuple[Package, ...]:
    """Import the installed packages, once for the process, and return them."""
    global _loaded
    points = await asyncio.to_thread(find)
    _loaded = await _within(points, taken) if points else ()
    return _loaded


async def _within(points: Sequence[EntryPoint], taken: Mapping[str, Tool]) -> tuple[Package, ...]:
    """Import packages within the deadline; later, nothing of them is used."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[tuple[Package, ...]] = loop.create_future()

    def finish(packages: tuple[Package, ...]) -> None:
        if not outcome.done():
            outcome.set_result(packages)

    # A daemon thread: an import that never ends must not hold the process at its stop.
    threading.Thread(
        target=lambda: loop.call_soon_threadsafe(finish, read(points, list(taken))), name="packages", daemon=True
    ).start()
    try:
        return await asyncio.wait_for(outcome, SECONDS)
    except TimeoutError:
        why = f"not imported within {SECONDS:g} s, this one or another; no tool of any package is there"
        return tuple(Package(point.name, point.value, problems=[why]) for point in points)


def _tools(value: Any) -> list[Tool]:
    if callable(value) and not isinstance(value, Tool):
        value = value()
    tools = [value] if isinstance(value, Tool) else list(value)
    for tool in tools:
        if not isinstance(tool, Tool):
            raise TypeError(f"{tool!r} is not a kheish.runtime.tools.base.Tool")
    return tools
