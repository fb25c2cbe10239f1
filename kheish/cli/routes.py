"""`kheish routes`: manage routes to models, and test them."""

from __future__ import annotations

from typing import Any

import click

from kheish.cli.definitions import commands
from kheish.cli.ids import Name
from kheish.cli.options import Settings, pass_settings
from kheish.cli.output import Column, as_yaml, emit, plain, say, table

routes = commands("routes", "route", "Manage routes to models: list, show, edit, put, validate, remove, test.")

COLUMNS: list[Column] = [
    ("ABILITY", "ability"),
    ("WORKS", lambda one: "yes" if one["works"] else "no"),
    ("TIME", lambda one: f"{one['seconds']:.2f} s"),
    ("FIRST TEXT", lambda one: f"{one['first_text']:.2f} s" if one["first_text"] is not None else ""),
    ("TOKENS", lambda one: f"{one['input_tokens']} + {one['output_tokens']}"),
    ("COST", lambda one: f"${one['cost_usd']:.5f}" if one["cost_usd"] is not None else ""),
    ("DETAIL", lambda one: one["detail"] or ""),
]


@routes.command()
@click.argument("name", type=Name("routes"))
@pass_settings
def test(settings: Settings, name: str) -> int:
    """Try a route with one small call per ability: text, streaming, tools, vision; and read its context window."""
    done = settings.client().routes.test(name)
    emit(settings, done, ids=[name], human=lambda: _print(done))
    return 0 if done["tried"][0]["works"] else 1


def _print(done: Any) -> None:
    table(done["tried"], COLUMNS)
    window = done["context_window"]
    say(f"Context window: {window} tokens" if window is not None else "Context window: the server states none")
    if done["capabilities"]:
        say(plain(f"\nWrite into routes/{done['id']}.yaml:\n"))
        say(as_yaml({"capabilities": done["capabilities"]}).rstrip())
    elif done["tried"][0]["works"]:
        say(plain(f"routes/{done['id']}.yaml says the same."))
