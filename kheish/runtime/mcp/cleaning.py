"""Cleaning of what a server lists, before the SDK reads it: a bad entry is left out, and the rest stays.

The SDK refuses a whole list for a single bad `inputSchema`. Everything here works on plain data of a bounded size, and
returns notes on what it left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

MOST_TOOLS = 1000
MOST_ENTRIES = 1000
_NAME, _URI = 128, 4096
_DESCRIPTION = 16 * 1024
_SCHEMA = 64 * 1024
_INSTRUCTIONS = 16 * 1024
_HINTS = ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")
_KNOWN_CONTENT = frozenset({"text", "image", "audio", "resource", "resource_link"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """An entry of a list that cannot be used, with the reason."""

    name: str
    why: str


@dataclass(slots=True)
class Notes:
    """The entries that were left out of a list."""

    left_out: list[LeftOut] = field(default_factory=list)

    def add(self, name: Any, why: str) -> None:
        """Note an entry."""
        shown = name if isinstance(name, str) and name else "(without a name)"
        self.left_out.append(LeftOut(name=shown[:_NAME], why=why))


def clean(method: str, result: dict[str, Any], notes: Notes) -> dict[str, Any]:
    """Return the result of a request as the SDK accepts it."""
    cleaner = _CLEANERS.get(method)
    return cleaner(result, notes) if cleaner is not None else result


# --- tools ------------------------------------------------------------------------------------------------------------


def _tools(result: dict[str, Any], notes: Notes) -> dict[str, Any]:
    return {**_page(result), "tools": list(_entries(result, "tools", _tool, notes, MOST_TOOLS))}


def _entries(
    result: Mapping[str, Any],
    key: str,
    read: Callable[[dict[str, Any]], dict[str, Any] | str],
    notes: Notes,
    most: int,
) -> Iterator[dict[str, Any]]:
    """Yield the usable entries of a list, each name once; `read` returns the reason for a bad one."""
    found = result.get(key)
    if not isinstance(found, list):
        return notes.add(key, "the server sent no list")
    count = 0
    for raw in found:
        if count == most:
            return notes.add(key, f"more than {most} are listed on a page")
        entry = read(raw) if isinstance(raw, dict) else "it is no object"
        if isinstance(entry, str):
            notes.add(raw.get("name", raw.get("uri")) if isinstance(raw, dict) else "", entry)
        else:
            count += 1
            yield entry
    return None


def _tool(raw: dict[str, Any]) -> dict[str, Any] | str:
    name = raw.get("name")
    if fault := _bad_name(name):
        return fault
    schema = raw.get("inputSchema")
    if not isinstance(schema, dict):
        return "inputSchema is missing" if schema is None else "inputSchema is no object"
    schema = schema if "type" in schema else {"type": "object", **schema}
    if schema["type"] != "object":
        return "inputSchema is not of type object"
    if (size := _size(schema)) is None or size > _SCHEMA:
        return f"inputSchema is larger than {_SCHEMA // 1024} KiB, or nested too deep"
    if isinstance(execution := raw.get("execution"), dict) and execution.get("taskSupport") == "required":
        return "it can only be called as a task of version 2025-11-25, which is not supported"
    tool: dict[str, Any] = {"name": name, "inputSchema": schema}
    if isinstance(raw.get("title"), str):
        tool["title"] = raw["title"][:_NAME]
    if isinstance(raw.get("description"), str):
        tool["description"] = raw["description"][:_DESCRIPTION]
    if isinstance(raw.get("annotations"), dict):
        hints = {key: value for key in _HINTS if isinstance(value := raw["annotations"].get(key), bool)}
        tool["annotations"] = hints
    return tool  # no outputSchema: the SDK would check results by its patterns, on the loop and without an end


def _bad_name(name: Any) -> str | None:
    if not isinstance(name, str) or not name:
        return "it has no name"
    if len(name) > _NAME:
        return f"its name is longer than {_NAME} characters"
    if not name.isprintable() or name != name.strip():
        return "its name has control characters, or blanks at its ends"
    return None


def _size(value: Any) -> int | None:
    """Return the bytes of a value as JSON; None if it is nested too deep."""
    try:
        return len(orjson.dumps(value))
    except (TypeError, orjson.JSONEncodeError, RecursionError):
        return None


# --- other lists ------------------------------------------------------------------------------------------------------


def _resource(raw: dict[str, Any]) -> dict[str, Any] | str:
    return _described(raw, "uri")


def _template(raw: dict[str, Any]) -> dict[str, Any] | str:
    return _described(raw, "uriTemplate")


def _described(raw: dict[str, Any], key: str) -> dict[str, Any] | str:
    uri = raw.get(key)
    if not isinstance(uri, str) or not 0 < len(uri) <= _URI or not uri.isprintable():
        return f"it has no usable {key}"
    name = raw.get("name")
    entry = {key: uri, "name": name[:_NAME] if isinstance(name, str) and name else uri[:_NAME]}
    return entry | _texts(raw, "description", "mimeType", "title")


def _prompt(raw: dict[str, Any]) -> dict[str, Any] | str:
    name = raw.get("name")
    if fault := _bad_name(name):
        return fault
    given = raw.get("arguments")
    arguments = [
        {"name": one["name"], "required": one.get("required") is True, **_texts(one, "description")}
        for one in (given if isinstance(given, list) else [])
        if isinstance(one, dict) and _bad_name(one.get("name")) is None
    ]
    return {"name": name, "arguments": arguments[:100], **_texts(raw, "description", "title")}


def _texts(raw: Mapping[str, Any], *keys: str) -> dict[str, str]:
    return {key: raw[key][:_DESCRIPTION] for key in keys if isinstance(raw.get(key), str)}


def _list_of(key: str, read: Callable[[dict[str, Any]], dict[str, Any] | str]) -> Callable[..., dict[str, Any]]:
    def cleaner(result: dict[str, Any], notes: Notes) -> dict[str, Any]:
        return {**_page(result), key: list(_entries(result, key, read, notes, MOST_ENTRIES))}

    return cleaner


def _page(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a page beside its entries."""
    page = {key: result[key] for key in ("resultType", "ttlMs", "cacheScope") if key in result}
    cursor = result.get("nextCursor")
    return page | ({"nextCursor": cursor} if isinstance(cursor, str) and cursor else {})


# --- results ----------------------------------------------------------------------------------------------------------


def _called(result: dict[str, Any], notes: Notes) -> dict[str, Any]:
    """Turn content of unknown types into text, so that the rest of a result is not lost with it."""
    if result.get("resultType", "complete") != "complete":
        return result
    content = result.get("content")
    if not isinstance(content, list):
        content = [] if content is None else [content]
    cleaned = {**result, "content": [_content(one) for one in content]}
    if not isinstance(cleaned.get("isError", False), bool):
        cleaned["isError"] = bool(cleaned["isError"])
    if "structuredContent" in cleaned and not isinstance(cleaned["structuredContent"], dict):
        cleaned["content"].append(_as_text(cleaned.pop("structuredContent")))
    return cleaned


def _content(one: Any) -> dict[str, Any]:
    """Return a block of content without its annotations; as text, if it is of no known form."""
    if not isinstance(one, dict) or one.get("type") not in _KNOWN_CONTENT:
        return _as_text(one)
    match one:
        case {"type": "text", "text": str(text)}:
            return {"type": "text", "text": text}
        case {"type": "image" | "audio" as kind, "data": str(data), "mimeType": str(mime)}:
            return {"type": kind, "data": data, "mimeType": mime}
        case {"type": "resource_link", "uri": str(uri)}:
            name = one.get("name")
            return {"type": "resource_link", "uri": uri, "name": name if isinstance(name, str) else uri,
                    **_texts(one, "mimeType", "description")}  # fmt: skip
        case {"type": "resource", "resource": {"uri": str(uri), "text": str(text)} as inner}:
            return {"type": "resource", "resource": {"uri": uri, "text": text, **_texts(inner, "mimeType")}}
        case {"type": "resource", "resource": {"uri": str(uri), "blob": str(blob)} as inner}:
            return {"type": "resource", "resource": {"uri": uri, "blob": blob, **_texts(inner, "mimeType")}}
    return _as_text(one)


def _as_text(value: Any) -> dict[str, Any]:
    try:
        text = orjson.dumps(value).decode()
    except (TypeError, orjson.JSONEncodeError, RecursionError):
        text = "(content that is nested too deep)"
    return {"type": "text", "text": text}


def _greeting(result: dict[str, Any], notes: Notes) -> dict[str, Any]:
    """Bound the instructions, and drop descriptions of the server that are of another form."""
    cleaned = dict(result)
    instructions = cleaned.pop("instructions", None)
    if isinstance(instructions, str) and instructions.strip():
        cleaned["instructions"] = instructions[:_INSTRUCTIONS]
    info = cleaned.get("serverInfo")
    if isinstance(info, dict):
        cleaned["serverInfo"] = {"name": str(info.get("name") or "")[:_NAME], "version": str(info.get("version") or "")}
    if not isinstance(cleaned.get("capabilities"), dict):
        cleaned["capabilities"] = {}
    return cleaned


_CLEANERS: Mapping[str, Callable[[dict[str, Any], Notes], dict[str, Any]]] = {
    "initialize": _greeting,
    "server/discover": _greeting,
    "tools/list": _tools,
    "tools/call": _called,
    "resources/list": _list_of("resources", _resource),
    "resources/templates/list": _list_of("resourceTemplates", _template),
    "prompts/list": _list_of("prompts", _prompt),
}
#: requests whose results are lists, which are cleaned in a thread
LISTS = frozenset({"tools/list", "resources/list", "resources/templates/list", "prompts/list"})
