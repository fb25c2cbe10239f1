"""`kheish init [DIR]`: create a state root; needs no daemon."""

from __future__ import annotations

import os
from pathlib import Path

import click

from kheish.cli.options import Settings, command, pass_settings
from kheish.cli.output import emit, say


@command()
@click.argument("folder", metavar="[DIR]", required=False)
@pass_settings
def init(settings: Settings, folder: str | None) -> None:
    """Create a state root in DIR (default: ~/kheish-state)."""
    from kheish.store.git import template

    root = wanted(settings, folder)
    template.init(root)
    emit(
        settings,
        {"state_root": str(root)},
        ids=[str(root)],
        human=lambda: say(f"{root} is ready; serve it with `kheish serve --state-root {root}`."),
    )


def wanted(settings: Settings, folder: str | None) -> Path:
    """Return the path of the state root to create. Unlike other commands, do not search the parent folders.

    Raise UsageError if the options name a remote daemon, or two folders."""
    if settings.url:
        raise click.UsageError("A state root is created on this machine; --url names a remote daemon.")
    if folder and settings.state_root and Path(folder).resolve() != Path(settings.state_root).expanduser().resolve():
        raise click.UsageError("DIR and --state-root name two folders; give one of them.")
    named = folder or settings.state_root or os.environ.get("KHEISH_STATE_ROOT")
    return Path(named).expanduser().absolute() if named else Path.home() / "kheish-state"
