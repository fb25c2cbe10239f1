"""What a model sent, as a tool's arguments, or as words that tell the model what to mend."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from kheish.runtime.tools.base import Arguments, Tool, ToolError


def parse_arguments(tool: Tool, raw: Any) -> Arguments:
    """Check `raw` against the tool's arguments. Raises ToolError that names every mistake."""
    if not isinstance(raw, dict):
        raise ToolError(f"The arguments of {tool.name} must be a JSON object, not {type(raw).__name__}.")
    try:
        return tool.arguments.model_validate(raw)
    except ValidationError as error:
        known = list(tool.arguments.model_fields)
        lines = [
            _mistake(item["type"], item["loc"], item["msg"], known)
            for item in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise ToolError(
            f"The arguments of {tool.name} cannot be used; nothing was done. Mend these and call it again:\n"
            + "\n".join(lines)
        ) from None


def unknown_tool(name: str, known: Iterable[str]) -> str:
    """What to tell a model that called a tool that is not there."""
    names = sorted(known)
    near = get_close_matches(name, names, n=3, cutoff=0.7)
    if near:
        return f"There is no tool {name!r}. Did you mean {' or '.join(near)}?"
    return f"There is no tool {name!r}. The tools are: {', '.join(names) or 'none'}."


def _mistake(kind: str, where: tuple[int | str, ...], message: str, known: list[str]) -> str:
    path = ".".join(str(step) for step in where) or "arguments"
    if kind == "missing":
        return f"- {path}: is missing"
    if kind != "extra_forbidden":
        return f"- {path}: {message[:1].lower()}{message[1:]}"
    near = get_close_matches(str(where[-1]), known, n=1, cutoff=0.5) if len(where) == 1 else []
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"- {path}: there is no such argument{hint}"
