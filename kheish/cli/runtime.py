"""`kheish runtime`: show what agents run with."""

from __future__ import annotations

from typing import Any

from kheish.cli.options import Settings, group, pass_settings
from kheish.cli.output import Column, emit, paint, say, table


@group()
def runtime() -> None:
    """Show routes, drivers, MCP servers, hooks, skills, packages of tools, and slots by name."""


@runtime.command()
@pass_settings
def get(settings: Settings) -> None:
    """Show the condition of everything that agents run with. No value of a slot is shown."""
    found: Any = settings.client().runtime()
    parts: tuple[tuple[str, tuple[Column, ...]], ...] = (
        ("routes", (("ROUTE", "id"), ("DRIVER", "driver"), ("MODEL", "model"), ("SERVER", "server"),
                    ("STATUS", "status"), ("REASON", "reason"))),
        ("drivers", (("DRIVER", "name"), ("LOADED", lambda one: "yes" if one["loaded"] else "no"))),
        ("mcp", (("SERVER", "id"), ("STATE", "state"), ("VERSION", "version"), ("TOOLS", "tools"),
                 ("ERROR", "last_error"))),
        ("hooks", (("HOOK", str),)),
        ("skills", (("SKILL", "name"), ("SOURCE", "source"))),
        ("packages", (("PACKAGE", "entry_point"), ("TOOLS", lambda one: ", ".join(one["tools"])),
                      ("PROBLEM", "problem"))),
        ("slots", (("SLOT", "slot"), ("FOR", "audience"), ("STATUS", "status"), ("REASON", "reason"))),
    )  # fmt: skip

    def human() -> None:
        for name, columns in parts:
            if rows := found.get(name):
                say(paint(name, bold=True))
                table(rows, columns)
                say()

    emit(settings, found, ids=[one["id"] for one in found["routes"]], human=human)
