"""Import of MCP servers from the files of other programs: `mcpServers` (Claude Desktop, Claude Code, Cursor), and
`servers` (VS Code). Values that look like secrets become slots, so that no file of the state root has them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_NAME = re.compile(
    r"(?:^|[_-])(?:api|access|auth|secret|private)?[_-]?(?:keys?|token|secret|password|passwd|pwd|pat|credentials?|auth|"
    r"authorization|bearer|dsn|cookie)(?:$|[_-])",
    re.IGNORECASE,
)
_VALUE = re.compile(
    r"\b(?:sk|pk|rk|ghp|gho|ghs|ghu|glpat|xox[abpros]|npm|pypi|hf|AKIA|AIza|github_pat|ntn|lin_api|figd|tvly|fc)"
    r"[-_]?[A-Za-z0-9_-]{12,}|\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}|://[^/\s:@]+:[^/\s@]+@|"
    r"^(?=[^\s/]*[0-9])(?=[^\s/]*[A-Za-z])[A-Za-z0-9+/_=.-]{32,}$"
)
_ENV = re.compile(r"\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-[^}]*)?\}\Z")
_INPUT = re.compile(r"\$\{input:([^}]+)\}")
_OTHER = re.compile(r"\$\{[^}]*\}")
_BEARER = re.compile(r"bearer\s+(.+)\Z", re.IGNORECASE | re.DOTALL)
_COMMENT = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_COMMA = re.compile(r'("(?:\\.|[^"\\])*")|,(?=\s*[}\]])', re.DOTALL)
#: fields of other programs that have no meaning here
_IGNORED = frozenset({"alwaysAllow", "autoApprove", "description", "gallery", "name", "timeout", "version"})
_KNOWN = frozenset({
    "args", "command", "cwd", "disabled", "enabled", "env", "envFile", "headers", "serverUrl", "type", "url",
})  # fmt: skip


@dataclass(slots=True)
class Imported:
    """A server to create: its file, the secrets to set before, and notes for the user. `refusal` is the reason why it
    cannot be taken; `open_slots` are slots that the user has to set."""

    id: str
    file: dict[str, Any] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    open_slots: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refusal: str | None = None


class Unreadable(ValueError):
    """An error for a file that has no servers."""


def read(text: str) -> list[Imported]:
    """Return the servers of a file. Raises Unreadable."""
    try:
        data = json.loads(without_comments(text))
    except ValueError as error:
        raise Unreadable(f"it is no JSON: {error}") from error
    servers = _servers(data)
    if servers is None:
        raise Unreadable("it has neither mcpServers nor servers")
    seen: set[str] = set()
    return [_import(name, one, seen) for name, one in servers.items()]


def without_comments(text: str) -> str:
    """Return JSON without comments and commas before brackets."""
    plain = _COMMENT.sub(lambda match: match[1] or " ", text.removeprefix("\ufeff"))
    return _COMMA.sub(lambda match: match[1] or "", plain)


def _servers(data: Any) -> Mapping[str, Any] | None:
    """Return the servers: at the top, or in `mcp` (the settings of VS Code)."""
    for holder in (data, data.get("mcp") if isinstance(data, dict) else None):
        if isinstance(holder, dict):
            for key in ("mcpServers", "servers"):
                if isinstance(holder.get(key), dict):
                    return holder[key]  # type: ignore[no-any-return]  # checked
    return None


def _import(name: str, given: Any, seen: set[str]) -> Imported:
    one = Imported(legal_id(name, seen))
    if not isinstance(given, dict):
        one.refusal = "it is no object"
    elif isinstance(given.get("command"), str):
        _command(one, given)
    elif isinstance(given.get("url") or given.get("serverUrl"), str):
        _url(one, given)
    else:
        one.refusal = "it has neither a command nor a URL"
    if isinstance(given, dict):
        if unknown := sorted(given.keys() - _KNOWN - _IGNORED):
            one.notes.append(f"not taken: {', '.join(unknown)}")
        if given.get("disabled") is True or given.get("enabled") is False:
            one.file["disabled"] = True
    return one


def legal_id(name: str, seen: set[str]) -> str:
    """Return a legal id that nothing else of the file has."""
    plain = re.sub(r"[^a-z0-9.-]+", "-", name.lower()).strip(".-") or "server"
    plain = re.sub(r"\.{2,}", ".", plain)[:100]
    found, number = plain, 2
    while found in seen:
        found, number = f"{plain}-{number}", number + 1
    seen.add(found)
    return found


def _command(one: Imported, given: Mapping[str, Any]) -> None:
    args = [str(arg) for arg in given.get("args") or ()]
    for at, arg in enumerate(args):
        before = args[at - 1] if at else ""
        if _VALUE.search(arg) or (before.startswith("-") and _NAME.search(before.lstrip("-")) and arg[:1] != "-"):
            one.refusal = f"its argument {at + 1} looks like a secret, which other users could see: pass it by env"
            return
        if _OTHER.search(arg):
            one.refusal = f"its argument {at + 1} has a placeholder ({arg}); write the value into the file"
            return
    one.file = {"command": str(given["command"]), "args": args, "sandbox": "off"}
    if isinstance(given.get("cwd"), str):
        one.file["cwd"] = given["cwd"]
    env = given.get("env") if isinstance(given.get("env"), dict) else {}
    assert isinstance(env, dict)
    values = {str(key): value_of(one, str(key), str(value)) for key, value in env.items() if value is not None}
    if values:
        one.file["env"] = values
    if given.get("envFile"):
        one.notes.append(f"its envFile ({given['envFile']}) is not read; add its variables to env")


def _url(one: Imported, given: Mapping[str, Any]) -> None:
    url = str(given.get("url") or given.get("serverUrl"))
    if given.get("type") == "sse" or url.rstrip("/").endswith("/sse"):
        one.refusal = "it uses the old HTTP+SSE transport; import it with its URL for streamable HTTP (often …/mcp)"
        return
    if _VALUE.search(url) or _OTHER.search(url):
        one.refusal = "its URL has a secret or a placeholder; write the file by hand"
        return
    one.file = {"url": url}
    headers: dict[str, Any] = {}
    for key, value in _texts(given.get("headers")):
        bearer = _BEARER.match(value) if key.lower() == "authorization" else None
        if bearer is not None:
            found = value_of(one, "token", bearer[1].strip(), is_secret=True)
            one.file["auth"] = {"bearer": found["slot"]}
        elif key.lower() == "authorization":
            one.refusal = "its header Authorization is no bearer token"
        else:
            headers[key] = value_of(one, key, value)
    if headers:
        one.file["headers"] = headers


def _texts(given: Any) -> Iterator[tuple[str, str]]:
    for key, value in given.items() if isinstance(given, dict) else ():
        yield str(key), str(value)


def value_of(one: Imported, name: str, value: str, *, is_secret: bool = False) -> Any:
    """Return the value of a variable or a header as a file has it."""
    is_secret = is_secret or bool(_NAME.search(name))
    if (env := _ENV.match(value)) is not None:
        return {"slot": f"env:{env[1]}"} if is_secret else {"variable": env[1]}
    slot = f"{one.id}.{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-') or 'secret'}"
    if _INPUT.search(value) or (is_secret and _OTHER.search(value)):
        one.open_slots.append(slot)
        return {"slot": slot}
    if is_secret or _VALUE.search(value):
        if not value:
            one.open_slots.append(slot)
        else:
            one.secrets[slot] = value
        return {"slot": slot}
    return value
