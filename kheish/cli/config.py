"""`kheish config`: the effective settings, and an editor for kheish.yaml."""

from __future__ import annotations

import sys

import click

from kheish.cli.options import Settings, group, pass_settings
from kheish.cli.output import as_yaml, emit, plain, say


@group()
def config() -> None:
    """Show the effective settings; edit kheish.yaml."""


@config.command()
@pass_settings
def show(settings: Settings) -> None:
    """Show the effective settings: kheish.yaml, the environment and the defaults."""
    found = settings.client().config()
    emit(settings, found, ids=[], human=lambda: say(plain(as_yaml(found))))


@config.command()
@pass_settings
def edit(settings: Settings) -> None:
    """Edit kheish.yaml in your editor (EDITOR). Only a valid file is saved; needs no daemon."""
    from kheish.authoring import checking, sources
    from kheish.errors import Conflict, Invalid
    from kheish.store import files
    from kheish.store.git import root_format

    root_format.open_root(root := settings.root())
    path = root / "kheish.yaml"
    before = text = path.read_text() if path.exists() else ""
    while True:
        changed = click.edit(text, extension=".yaml")
        if changed is None or changed == before:
            return click.echo("No changes.", err=True)
        there = {**sources.read_all(root), path.name: sources.Source(path.name, changed.encode())}
        wrong = checking.check(there, {}).errors(path.name)
        if not wrong:
            break
        lines = [f"  line {one.line}, column {one.column}: {one.message}" for one in wrong]
        click.echo(plain("\n".join(["kheish.yaml is not valid.", *lines])), err=True)
        if not sys.stdin.isatty() or not click.confirm("Edit again?", default=True, err=True):
            raise Invalid("No changes were saved.")
        text = changed
    if (path.read_text() if path.exists() else "") != before:
        raise Conflict("Another process changed kheish.yaml in the meantime; review it, and edit it again.")
    files.atomic_write(path, changed.encode(), fsync=True)
    return say("kheish.yaml is saved; a running daemon applies it within a second.")
