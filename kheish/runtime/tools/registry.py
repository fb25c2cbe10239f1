"""The tools: the built-in ones, and users' own from the entry point group `kheish.tools`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from kheish.runtime.agents.worktrees import Worktrees
from kheish.runtime.tools import (
    agents,
    background,
    edit,
    evidence,
    files,
    goals,
    interact,
    mailbox,
    patch,
    planning,
    schedules,
    search,
    shell,
    tasks,
    web,
)  # fmt: skip
from kheish.runtime.tools.base import Tool
from kheish.runtime.tools.memory import files as memory
from kheish.runtime.tools.memory import search as memory_search

GROUP = "kheish.tools"


@dataclass(frozen=True, slots=True)
class Failure:
    """An entry point without a usable tool."""

    entry_point: str
    message: str


def builtin(
    sandbox_settings: Callable[[], shell.SandboxSettings],
    network_allowed: Callable[[], Sequence[str]] = tuple,
    *,
    worktrees: Worktrees | None = None,
    allow_bypass: bool = False,
    definitions: Callable[[], schedules.Files | None] = lambda: None,
) -> dict[str, Tool]:
    """Return the built-in tools, by name. `sandbox_settings` is called at each shell call, `network_allowed` (see
    `auth.netguard`) at each fetch. `allow_bypass`: the daemon permits the mode bypass. `definitions` returns the writer
    of users' files.
    """
    return {
        tool.name: tool
        for tool in (
            *files.TOOLS,
            *search.make(settings=sandbox_settings),
            *edit.TOOLS,
            *patch.TOOLS,
            shell.make(sandbox_settings),
            *background.make(sandbox_settings),
            *interact.TOOLS,
            *agents.make(worktrees, allow_bypass=allow_bypass),
            *mailbox.TOOLS,
            *tasks.TOOLS,
            *goals.TOOLS,
            *evidence.TOOLS,
            *memory.TOOLS,
            *memory_search.TOOLS,
            *planning.TOOLS,
            *schedules.make(definitions),
            *web.make(network_allowed),
        )
    }


def installed(taken: Iterable[str]) -> tuple[dict[str, Tool], list[Failure]]:
    """Return users' own tools, by name, and the failures. It imports their packages: call it in a thread.

    An entry point names a Tool, an iterable of Tools, or a function without arguments that returns one of these. A name
    that is `taken` stays with its owner.
    """
    return load(sorted(entry_points(group=GROUP), key=lambda point: point.name), taken)


def load(points: Iterable[EntryPoint], taken: Iterable[str]) -> tuple[dict[str, Tool], list[Failure]]:
    """Load the given entry points as `installed` does."""
    known = set(taken)
    tools: dict[str, Tool] = {}
    failures: list[Failure] = []
    for point in points:
        try:
            loaded = _tools(point.load())
        except Exception as error:  # noqa: BLE001 - third-party code: one bad package must not stop the daemon
            failures.append(Failure(point.name, f"{point.value}: {type(error).__name__}: {error}"))
            continue
        for tool in loaded:
            if tool.name in known:
                failures.append(Failure(point.name, f"{point.value}: there is a tool {tool.name!r} already"))
            else:
                known.add(tool.name)
                tools[tool.name] = tool
    return tools, failures


def _tools(value: Any) -> list[Tool]:
    if callable(value):
        value = value()
    tools = [value] if isinstance(value, Tool) else list(value)
    for tool in tools:
        if not isinstance(tool, Tool):
            raise TypeError(f"{tool!r} is not a kheish.runtime.tools.base.Tool")
    return tools
