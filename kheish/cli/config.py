"""`kheish config`: the effective settings, and kheish.yaml: an editor, its history, and earlier versions."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from kheish.cli import top_files
from kheish.cli.options import Settings, group, pass_settings
from kheish.cli.output import as_yaml, emit, plain, say

if TYPE_CHECKING:
    from kheish.client.call import Text
    from kheish.client.shapes import Commit, Page


class _File(top_files.Calls):
    path = "kheish.yaml"

    def text(self) -> Text:
        return self.client.config_text()

    def put(self, content: str, if_match: str | None, if_none_match: str | None = None) -> Mapping[str, Any]:
        return self.client.put_config(content, if_match=if_match, if_none_match=if_none_match)

    def history(self, limit: int | None, cursor: str | None) -> Page[Commit]:
        return self.client.config_history(limit=limit, cursor=cursor)

    def restore(self, rev: str) -> Mapping[str, Any]:
        return self.client.restore_config(rev)


@group()
def config() -> None:
    """Show the effective settings; edit and restore kheish.yaml."""


@config.command()
@pass_settings
def show(settings: Settings) -> None:
    """Show the effective settings: kheish.yaml, the environment and the defaults, without options of `kheish serve`."""
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


top_files.add(config, _File, edits=False)
