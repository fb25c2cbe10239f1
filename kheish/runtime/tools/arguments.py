"""Parsing of a model's tool arguments, with errors that the model can act on."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from kheish.runtime import judging
from kheish.runtime.tools.base import Tool, ToolError
from kheish.runtime.tools.parsing import InvalidArguments, steps_of


async def parsed(tool: Tool, raw: Any) -> Any:
    """Return the arguments of a call, without blocking the loop for a confined child. Raises as parse_arguments."""
    if tool.blocks:
        return await judging.run(parse_arguments, tool, raw)
    return parse_arguments(tool, raw)


def parse_arguments(tool: Tool, raw: Any) -> Any:
    """Return the arguments of a call. Raises ToolError that names every mistake."""
    if not isinstance(raw, dict):
        raise ToolError(f"The arguments of {tool.name} must be a JSON object, not {type(raw).__name__}.")
    try:
        return tool.parse(raw)
    except InvalidArguments as error:
        lines = [f"- {'.'.join(steps_of(fault.path)) or 'arguments'}: {fault.message}" for fault in error.faults]
        raise ToolError(
            f"The arguments of {tool.name} cannot be used; nothing was done. Mend these and call it again:\n"
            + "\n".join(lines)
        ) from None


def unknown_tool(name: str, known: Iterable[str]) -> str:
    """Return the message to a model that called an unknown tool."""
    names = sorted(known)
    near = get_close_matches(name, names, n=3, cutoff=0.7)
    if near:
        return f"There is no tool {name!r}. Did you mean {' or '.join(near)}?"
    return f"There is no tool {name!r}. The tools are: {', '.join(names) or 'none'}."
