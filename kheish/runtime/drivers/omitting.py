"""Omission of request fields that a server refuses."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

_INDEX = re.compile(r"\[[0-9]*\]|(?<=\.)[0-9]+(?=\.|$)|/[0-9]+(?=/|$)")
#: fields that every request needs
_NEEDED = frozenset({
    "model", "messages", "stream", "role", "content", "tool_calls", "tool_call_id", "id", "type", "function",
    "arguments", "messages.role", "messages.content", "messages.tool_calls", "messages.tool_call_id",
    "messages.tool_calls.id", "messages.tool_calls.type", "messages.tool_calls.function",
    "messages.tool_calls.function.name", "messages.tool_calls.function.arguments", "tools.type", "tools.function",
    "tools.function.name",
})  # fmt: skip


def path(field: str) -> str:
    """Return a field in the format of `omit`: without the numbers of list items, joined by dots."""
    plain = _INDEX.sub("", field.strip().removeprefix("body.").removeprefix("$."))
    return ".".join(part for part in re.split(r"[./]", plain) if part)


def without(body: dict[str, Any], omit: Iterable[str]) -> dict[str, Any]:
    """Return the body without the fields; required fields remain."""
    for field in omit:
        if field in _NEEDED:
            continue
        if "." in field:
            body = _drop_path(body, field.split("."))
        elif field in body:
            body = {key: value for key, value in body.items() if key != field}
        else:
            body = {
                key: _drop_name(value, field) if key in ("messages", "tools") else value for key, value in body.items()
            }
    return body


def _drop_path(value: Any, parts: list[str]) -> Any:
    """Return the value without the field at the path, in each item of the lists on its way."""
    if isinstance(value, list):
        return [_drop_path(item, parts) for item in value]
    if not isinstance(value, dict) or parts[0] not in value:
        return value
    if len(parts) == 1:
        return {key: item for key, item in value.items() if key != parts[0]}
    return {**value, parts[0]: _drop_path(value[parts[0]], parts[1:])}


def _drop_name(value: Any, name: str) -> Any:
    """Return the value without a field that a server named without its place, except among names of arguments."""
    match value:
        case list():
            return [_drop_name(item, name) for item in value]
        case dict():
            return {
                key: {own: _drop_name(part, name) for own, part in item.items()}
                if key == "properties" and isinstance(item, dict)
                else _drop_name(item, name)
                for key, item in value.items()
                if key != name
            }
    return value
