"""Import of hooks from the files of other programs: `.claude/settings.json`, a plugin's `hooks/hooks.json`,
`.codex/hooks.json`. Each handler becomes a file; the names keep their order."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kheish.client import mcp_import

_PLUGIN = re.compile(r"\$\{?CLAUDE_PLUGIN_ROOT\b\}?")
#: fields of handlers that are taken, or mean nothing here
_KNOWN = frozenset({
    "allowedEnvVars", "args", "async", "command", "headers", "if", "input", "model", "prompt", "server",
    "statusMessage", "timeout", "tool", "type", "url",
})  # fmt: skip
#: fields of handlers that are left out if they have another type
_TYPES: Mapping[str, type] = {"args": list, "async": bool, "headers": dict, "if": str, "input": dict}
_LONGEST = 86400  # seconds
_VARIABLE = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?\Z")
_ANY_VARIABLE = re.compile(r"\$\{?[A-Za-z_]")


@dataclass(slots=True)
class Imported(mcp_import.Imported):
    """A hook to create: its file, the secrets to set before, and notes for the user; `event` is its public name."""

    event: str = ""
    command: str = field(default="")


def read(text: str, *, stem: str, plugin_root: str | None = None) -> list[Imported]:
    """Return the hooks of a file, in its order. `stem` begins their names. Raises mcp_import.Unreadable."""
    try:
        data = json.loads(mcp_import.without_comments(text))
    except (ValueError, RecursionError) as error:
        raise mcp_import.Unreadable(f"it is no JSON: {error}") from error
    known = data.get("hooks") if isinstance(data, dict) else None
    if not isinstance(known, dict):
        raise mcp_import.Unreadable("it has no hooks")
    found, seen = [], set[str]()
    is_off = data.get("disableAllHooks") is True
    for number, (event, matcher, handler) in enumerate(_handlers(known), 1):
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", event).replace("_", "-").lower()
        one = Imported(id=mcp_import.legal_id(f"{stem}-{number:02}-{name}", seen), event=event)
        _import(one, event, matcher, handler, plugin_root)
        if is_off:
            one.file["disabled"] = True
        found.append(one)
    return found


def stem_of(path: str) -> str:
    """Return the beginning of names for the hooks of a file, by its absolute path: `claude`, `codex`, or a plugin's
    folder."""
    parts = [part for part in path.split("/") if part]
    folders = [part for part in parts[:-1] if part != "hooks"]
    return folders[-1].lstrip(".").lower() if folders else "imported"


def _handlers(known: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield each handler with its event and matcher; one that is no object as it is."""
    for event, groups in known.items():
        for group in groups if isinstance(groups, list) else [groups]:
            inner = group.get("hooks") if isinstance(group, dict) else None
            if not isinstance(inner, list):
                yield str(event), None, group
                continue
            for handler in inner:
                yield str(event), group.get("matcher"), handler


def _import(one: Imported, event: str, matcher: Any, handler: Any, plugin_root: str | None) -> None:
    if not isinstance(handler, dict) or (matcher is not None and not isinstance(matcher, str)):
        one.refusal = "it is no handler with a matcher"
        return
    one.file = {"events": [event]}
    if matcher not in (None, "", "*"):
        one.file["matcher"] = matcher
    _executor(one, handler, plugin_root)
    if isinstance(handler.get("if"), str):
        one.file["if"] = handler["if"]
    _timeout(one, handler.get("timeout"))
    if handler.get("async") is True:
        one.file["observe"] = True
        one.notes.append("it ran in the background (async); here it observes, and the run waits for it")
    wrong = {name for name, kind in _TYPES.items() if not isinstance(handler.get(name, kind()), kind)}
    if unknown := sorted((handler.keys() - _KNOWN) | wrong):
        one.notes.append(f"not taken: {', '.join(unknown)}")


def _timeout(one: Imported, seconds: Any) -> None:
    if seconds is None:
        return
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        one.notes.append(f"not taken: the timeout {seconds!r}, which is no number of seconds above 0")
        return
    if seconds > _LONGEST:
        one.notes.append(f"its timeout is {_LONGEST} s, the most, instead of {seconds:g} s")
    one.file["timeout"] = f"{min(seconds, _LONGEST):g}s"


def _executor(one: Imported, handler: Mapping[str, Any], plugin_root: str | None) -> None:
    match handler.get("type", "command"):
        case "command" if isinstance(handler.get("command"), str):
            _command(one, handler, plugin_root)
        case "http" if isinstance(handler.get("url"), str):
            _http(one, handler)
        case "prompt" if isinstance(handler.get("prompt"), str):
            one.file["prompt"] = {"text": handler["prompt"]}
            if handler.get("model"):
                one.notes.append(f"the model {handler['model']} is not taken; it asks the run's own")
        case "mcp_tool" if isinstance(handler.get("server"), str) and isinstance(handler.get("tool"), str):
            given = handler.get("input") if isinstance(handler.get("input"), dict) else {}
            one.file["mcp_tool"] = {"server": handler["server"], "tool": handler["tool"], "input": given}
        case kind:
            one.refusal = f"handlers of type {kind!r} are not known here, or it lacks a field"


def _command(one: Imported, handler: Mapping[str, Any], plugin_root: str | None) -> None:
    command, args = handler["command"], handler.get("args")
    words = [command, *(str(arg) for arg in args)] if isinstance(args, list) else None
    if any(_PLUGIN.search(word) for word in words or [command]):
        if plugin_root is None:
            one.refusal = "its command names CLAUDE_PLUGIN_ROOT: pass --plugin-root DIR"
            return
        one.file["plugin_root"] = plugin_root
    if words is not None:  # words without a shell, which would fill in the variable
        words = [_PLUGIN.sub(lambda _: plugin_root or "", word) for word in words]
    one.file["command"] = words or command
    one.command = " ".join(words) if words else command
    if re.search(r"CLAUDE_PROJECT_DIR|(?:^|[\s\"'])\.{0,2}/?\.?claude/", command):
        one.notes.append("it runs a file of the workspace, which agents can change; move it out of their reach")


def _http(one: Imported, handler: Mapping[str, Any]) -> None:
    one.file["http"] = {"url": handler["url"]}
    one.command = f"POST {handler['url']}"
    given = handler.get("headers") if isinstance(handler.get("headers"), dict) else {}
    assert isinstance(given, dict)
    headers: dict[str, Any] = {}
    for key, value in given.items():
        text = str(value)
        if (whole := _VARIABLE.match(text)) is not None:
            headers[str(key)] = {"slot": f"env:{whole[1]}"}
        elif _ANY_VARIABLE.search(text):
            one.refusal = f"its header {key} has a variable within a text; put the whole value into a slot"
            return
        else:
            headers[str(key)] = mcp_import.value_of(one, str(key), text)
    if headers:
        one.file["http"]["headers"] = headers
