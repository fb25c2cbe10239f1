"""Resources: sessions, Flows and Playbooks as pages that a client reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

import mcp_types as types
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS

from kheish.client import requests
from kheish.errors import Forbidden, KheishError, Unreachable
from kheish.protocols import work as works
from kheish.protocols.access import Access
from kheish.protocols.mcp import tools

SCHEME = "kheish://"
_JSON, _YAML, _MARKDOWN = "application/json", "application/yaml", "text/markdown"
_PAGE, _RUNS = 50, 20
#: characters of a URI
_URI = 1000
#: the parts of the list, in their order; a cursor is `part:cursor`
_PARTS = ("playbooks", "sessions", "flows")

TEMPLATES = [
    types.ResourceTemplate(
        name="session", title="Session", uri_template=f"{SCHEME}sessions/{{session_id}}", mime_type=_JSON,
        description="A session, and its newest runs: their tasks and outputs.",
    ),
    types.ResourceTemplate(
        name="flow", title="Flow", uri_template=f"{SCHEME}flows/{{flow_id}}", mime_type=_JSON,
        description="A Flow, and its report.",
    ),
    types.ResourceTemplate(
        name="playbook", title="Playbook", uri_template=f"{SCHEME}playbooks/{{playbook}}", mime_type=_YAML,
        description="A Playbook's file.",
    ),
]  # fmt: skip


async def listed(access: Access, cursor: str | None) -> types.ListResourcesResult:
    """Return a page of the resources that the caller may list: Playbooks, then sessions, then Flows, newest first.

    Raises MCPError.
    """
    part, _, inner = (cursor or _PARTS[0]).partition(":")
    if part not in _PARTS:
        raise MCPError(code=INVALID_PARAMS, message="The cursor is not one of this list.")
    try:
        page = await access.send(_request(part, inner or None))
    except Forbidden:
        page = {"items": [], "next_cursor": None}  # a token that sees some sessions only lists these alone
    except KheishError as error:
        raise MCPError(code=INVALID_PARAMS, message=error.detail) from error
    following = _PARTS[_PARTS.index(part) + 1 :]
    next_cursor = f"{part}:{page['next_cursor']}" if page["next_cursor"] else (following[0] if following else None)
    return types.ListResourcesResult(resources=[_resource(part, one) for one in page["items"]], next_cursor=next_cursor)


def _request(part: str, cursor: str | None) -> Any:
    match part:
        case "playbooks":
            return requests.list_definitions("playbooks", limit=_PAGE, cursor=cursor)
        case "sessions":
            return requests.list_sessions(limit=_PAGE, cursor=cursor)
    return requests.list_flows(limit=_PAGE, cursor=cursor)


def _resource(part: str, one: Mapping[str, Any]) -> types.Resource:
    id = str(one[{"playbooks": "id", "sessions": "session_id", "flows": "flow_id"}[part]])
    return types.Resource(
        name=id,
        title=one.get("title") or id,
        uri=f"{SCHEME}{part}/{quote(id, safe='')}",
        mime_type=_YAML if part == "playbooks" else _JSON,
    )


def is_own(uri: str) -> bool:
    """Return whether a URI has the form of a resource of this server."""
    part, id = parts(uri)
    return uri.startswith(SCHEME) and part in _PARTS and bool(id) and "/" not in id and len(uri) <= _URI


def parts(uri: str) -> tuple[str, str]:
    """Return the kind and the id of a resource."""
    part, _, quoted = uri.removeprefix(SCHEME).partition("/")
    return part, unquote(quoted)


async def read(access: Access, uri: str) -> types.ReadResourceResult:
    """Return a resource. Raises MCPError."""
    part, id = parts(uri)
    if not is_own(uri):
        raise MCPError(code=INVALID_PARAMS, message="Resource not found", data={"uri": uri[:500]})
    try:
        contents = await _READERS[part](access, uri, id)
    except Unreachable as error:
        raise MCPError(code=types.INTERNAL_ERROR, message=error.detail) from error
    except KheishError as error:
        raise MCPError(code=INVALID_PARAMS, message=error.detail, data={"uri": uri, "code": error.code}) from error
    return types.ReadResourceResult(contents=contents)


async def _session(access: Access, uri: str, id: str) -> list[Any]:
    session = await access.send(requests.get_session(id))
    newest = await access.send(requests.list_runs(session=id, limit=_RUNS))
    runs = [{**works.run_doc(one), "request": one["request"]} for one in newest["items"]]
    return [_json(uri, {**tools.session_doc(session), "runs": runs})]


async def _flow(access: Access, uri: str, id: str) -> list[Any]:
    flow = await access.send(requests.get_flow(id))
    report = await access.send(requests.flow_report(id))
    return [_json(uri, works.flow_doc(flow)), _part(uri, _MARKDOWN, report)]


async def _playbook(access: Access, uri: str, id: str) -> list[Any]:
    source = await access.send(requests.get_definition_text("playbooks", id))
    return [_part(uri, _YAML, source.text)]


_READERS: Mapping[str, Any] = {"sessions": _session, "flows": _flow, "playbooks": _playbook}


def _json(uri: str, doc: Mapping[str, Any]) -> types.TextResourceContents:
    return _part(uri, _JSON, json.dumps(doc, ensure_ascii=False))


def _part(uri: str, kind: str, text: str) -> types.TextResourceContents:
    return types.TextResourceContents(uri=uri, mime_type=kind, text=text)
