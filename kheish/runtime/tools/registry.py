"""The built-in tools. Those of installed packages are in `installed`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kheish.runtime.agents.worktrees import Worktrees
from kheish.runtime.assets import tool as assets
from kheish.runtime.tools import (
    agents,
    background,
    channels,
    edit,
    evidence,
    files,
    goals,
    interact,
    mailbox,
    patch,
    planning,
    projects,
    schedules,
    search,
    shell,
    skills,
    tasks,
    web,
)  # fmt: skip
from kheish.runtime.tools.base import Tool
from kheish.runtime.tools.memory import files as memory, search as memory_search


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
            *channels.TOOLS,
            *assets.TOOLS,
            *evidence.TOOLS,
            *memory.TOOLS,
            *memory_search.TOOLS,
            *planning.TOOLS,
            *projects.TOOLS,
            *schedules.make(definitions),
            *skills.TOOLS,
            *web.make(network_allowed),
        )
    }
