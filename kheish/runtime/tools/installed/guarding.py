"""Protection of a run from the faults of a package's tool: its name, its errors, its results."""

from __future__ import annotations

import asyncio
import copy
import logging
import re
from collections.abc import Awaitable, Callable, Container
from typing import Any

from kheish.runtime.tools.base import Effect, Replay, Result, Suspended, Tool, ToolError

#: names that every model server accepts
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
#: names of tools of MCP servers
_OF_SERVERS = "mcp__"
log = logging.getLogger(__name__)
Hook = Callable[[Any, Any], Awaitable[Any]]


def refusal(tool: Tool, taken: Container[str]) -> str | None:
    """Return the reason why a tool cannot be offered, or None."""
    if not isinstance(tool.name, str) or not _NAME.fullmatch(tool.name):
        return f"{tool.name!r} is no name for a tool: use 1 to 64 of A-Z, a-z, 0-9, _ and -"
    if tool.name.startswith(_OF_SERVERS):
        return f"the name {tool.name!r} is for tools of MCP servers"
    if tool.name in taken:
        return f"there is a tool {tool.name!r} already"
    if tool.true_name not in ("", tool.name):
        return f"{tool.name!r} has another true_name, so that rules for another tool would match it"
    if tool.effect not in tuple(Effect) or tool.replay not in tuple(Replay):
        return f"{tool.name!r} has no effect or no replay class of kheish.runtime.tools.base"
    return None


def guarded(tool: Tool) -> Tool:
    """Return the tool with hooks whose defects are results for the model, instead of the end of the run."""
    made = copy.copy(tool)
    hooks: dict[str, Hook | None] = {
        "run": _reporting(tool, tool.run),
        "plan": _reporting(tool, tool.plan) if tool.plan is not None else None,
        "recover": _silent(tool, tool.recover) if tool.recover is not None else None,
        "preview": _silent(tool, tool.preview) if tool.preview is not None else None,
    }
    for name, hook in hooks.items():
        object.__setattr__(made, name, hook)
    return made


def _reporting(tool: Tool, hook: Hook) -> Hook:
    """Return a hook that raises ToolError for a defect."""

    async def call(arguments: Any, context: Any) -> Any:
        try:
            found = await hook(arguments, context)
        except (ToolError, TimeoutError):
            raise
        except asyncio.CancelledError as error:
            if _is_cancelled():
                raise
            raise ToolError(f"The tool {tool.name} failed: it was cancelled by its own code.") from error
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # the last two would end the daemon
            log.exception("the tool %s of a package failed", tool.name)
            raise ToolError(f"The tool {tool.name} failed: {type(error).__name__}: {error}") from error
        if hook is tool.run and not isinstance(found, Result | Suspended):
            raise ToolError(f"The tool {tool.name} failed: it returned {type(found).__name__}, not a Result.")
        return found

    return call


def _silent(tool: Tool, hook: Hook) -> Hook:
    """Return a hook that returns None for a defect: no preview, or an unknown outcome."""

    async def call(arguments: Any, context: Any) -> Any:
        try:
            return await hook(arguments, context)
        except asyncio.CancelledError:
            if _is_cancelled():
                raise
            return None
        except (Exception, SystemExit, KeyboardInterrupt):
            log.exception("a hook of the tool %s of a package failed", tool.name)
            return None

    return call


def _is_cancelled() -> bool:
    """Return whether the run is being cancelled, so that the error is not the tool's own."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
