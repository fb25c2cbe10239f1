"""`kheish up [DIR]`: create a state root if it is missing, and serve it."""

from __future__ import annotations

from pathlib import Path

import click

from kheish.cli.init import wanted
from kheish.cli.options import Settings, command, pass_settings


@command()
@click.argument("folder", metavar="[DIR]", required=False)
@click.option("--bind", metavar="HOST:PORT", help="The address to listen on (127.0.0.1:4000; port 0: any free port).")
@click.option("--workspace", metavar="DIR", type=click.Path(path_type=Path), help="The default workspace.")
@pass_settings
def up(settings: Settings, folder: str | None, bind: str | None, workspace: Path | None) -> int:
    """Create a state root in DIR (default: ~/kheish-state) if it is missing, and serve it in the foreground."""
    from kheish.daemon import serve
    from kheish.store.git import template

    root = wanted(settings, folder)
    template.init(root)
    return serve.run(root, bind=bind, workspace=workspace)
