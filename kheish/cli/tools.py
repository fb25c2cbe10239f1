"""`kheish tools`: list the tools of agents, with arguments and effects."""

from __future__ import annotations

from typing import Any

import click

from kheish.cli.options import Settings, command, pass_settings
from kheish.cli.output import Column, emit, paint, plain, say, table
from kheish.errors import NotFound

_COLUMNS: list[Column] = [
    ("TOOL", "name"),
    ("EFFECT", "effect"),
    ("ARGUMENTS", lambda tool: _names(tool["arguments"])),
]


def _names(arguments: list[dict[str, Any]]) -> str:
    """Return the names of a tool's own arguments; optional ones end in `?`."""
    own = [one for one in arguments if "[" not in one["name"] and "." not in one["name"]]
    return ", ".join(one["name"] + ("" if one["required"] else "?") for one in own)


@command()
@click.argument("name", required=False)
@pass_settings
def tools(settings: Settings, name: str | None) -> None:
    """List the tools of agents, or show one with its arguments. Needs no daemon."""
    from kheish.offline import toolbook

    known = toolbook.tools()
    if name is None:
        return emit(settings, known, ids=[tool["name"] for tool in known], human=lambda: table(known, _COLUMNS))
    found = next((tool for tool in known if tool["name"] == name), None)
    if found is None:
        raise NotFound(f"There is no tool {name!r}; `kheish tools` lists them.")

    def human() -> None:
        say(f"{paint(found['name'], bold=True)}  ({found['effect']}; after a restart: {found['replay']})")
        say(plain(found["description"]))
        for one in found["arguments"]:
            need = (
                "required" if one["required"] else "optional" if one["default"] is None else f"default {one['default']}"
            )
            about = f"\n      {one['description']}" if one["description"] else ""
            say(plain(f"  {one['name']}: {one['type']}, {need}{about}"))

    return emit(settings, found, ids=[found["name"]], human=human)
