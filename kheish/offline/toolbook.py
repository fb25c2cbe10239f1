"""Descriptions of the tools for `kheish tools` and `docs/reference/tools.md`; they need no running daemon."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kheish.offline import model_fields
from kheish.runtime.mcp.tools import Common
from kheish.runtime.tools import registry
from kheish.runtime.tools.base import Effect, Replay, Tool
from kheish.runtime.tools.installed import packages

#: what a tool may change, and what the mode `default` does with a call that no rule is about
EFFECTS: Mapping[Effect, str] = {
    Effect.READ: "reads only: runs without asking",
    Effect.WRITE: "changes files of the workspace: asks",
    Effect.EFFECT: "has effects elsewhere: asks",
    Effect.COORDINATION: "changes Kheish's own data: runs without asking",
}
#: what a restart does with a call that began and has no result
REPLAYS: Mapping[Replay, str] = {
    Replay.SAFE: "runs again",
    Replay.BY_DIGEST: "the digests of its files show whether it happened",
    Replay.UNSAFE: "its job shows it, or a user is asked",
}


def tools() -> list[dict[str, Any]]:
    """Return name, description, effect, replay, network, timeout (seconds) and arguments of each tool, by name.

    Tools of installed packages come with those that are built in.
    """
    found: dict[str, Tool] = registry.builtin(_unused)
    found |= {tool.name: tool for tool in Common().make()}
    found |= packages.tools_of(packages.read(packages.find(), found))
    return [_view(found[name]) for name in sorted(found)]


def _unused() -> Any:
    raise AssertionError("nothing runs here")


def _view(tool: Tool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "effect": tool.effect.value,
        "replay": tool.replay.value,
        "network": tool.network,
        "timeout": tool.timeout,
        "arguments": [
            {
                "name": ".".join(row.path),
                "type": row.type,
                "required": row.default == "required",
                "default": row.default.strip("`") if row.default not in ("", "required") else None,
                "description": row.about,
            }
            for row in model_fields.schema_rows(tool.schema)
        ],
    }


def page() -> Iterator[str]:
    """Yield the lines of the reference's page."""
    yield "# Tools"
    yield ""
    yield "The tools that an agent can call. A tool's effect determines whether a call asks in the permission"
    yield "mode `default` ([permissions](../permissions.md)); the replay class is what a restart does with a call that"
    yield "started and has no result ([recovery](../recovery.md)). `kheish tools` prints this, with the tools of"
    yield "installed packages."
    for tool in tools():
        yield from _section(tool)


def _section(tool: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", f"## {tool['name']}", "", tool["description"], "")
    yield f"- Effect `{tool['effect']}`: {EFFECTS[Effect(tool['effect'])]}."
    yield f"- Replay `{tool['replay']}`: {REPLAYS[Replay(tool['replay'])]}."
    if tool["network"]:
        yield "- It uses the network."
    if tool["arguments"]:
        yield from ("", "| argument | type | default | description |", "| --- | --- | --- | --- |")
    for one in tool["arguments"]:
        default = "required" if one["required"] else "" if one["default"] is None else f"`{one['default']}`"
        cells = (f"`{one['name']}`", one["type"], default, one["description"])
        yield "| " + " | ".join(" ".join(str(cell).split()).replace("|", "\\|") for cell in cells) + " |"
