"""What a model sent, as a tool's arguments, or as words that tell the model what to mend."""

from __future__ import annotations

import copy
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
        return _validated(tool.arguments, raw)
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


def _validated(model: type[Arguments], raw: dict[str, Any]) -> Arguments:
    """Return the arguments; a null that is wrong where it stands counts as left out, as models mean it. Where a value
    is needed there, the first error says so. Raises ValidationError."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        places = [item["loc"] for item in error.errors(include_url=False, include_context=False) if _is_null(item)]
        if not places:
            raise
        try:
            return model.model_validate(_without(raw, places))
        except ValidationError as other:
            is_needed = any(item["type"] == "missing" and item["loc"] in places for item in other.errors())
            raise (error if is_needed else other) from None


def _is_null(item: Any) -> bool:
    return item["input"] is None and item["type"] not in ("missing", "extra_forbidden")


def _without(raw: dict[str, Any], places: Iterable[tuple[int | str, ...]]) -> dict[str, Any]:
    """Return a copy without the members at these places."""
    made = copy.deepcopy(raw)
    for *keys, name in places:
        holder: Any = made
        for key in keys:
            if isinstance(holder, dict) and key in holder:
                holder = holder[key]
            elif isinstance(holder, list) and isinstance(key, int) and key < len(holder):
                holder = holder[key]  # any other step is the label of a union
        if isinstance(holder, dict) and holder.get(name, 0) is None:
            del holder[name]
    return made


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
