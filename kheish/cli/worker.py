"""`kheish worker`: the side of a worker's machine. A daemon starts it, by ssh; no user does."""

from __future__ import annotations

import click

from kheish.cli.options import Settings, command, pass_settings


@command()
@click.option("--stdio", is_flag=True, required=True, expose_value=False, help="Speak on standard input and output.")
@pass_settings
def worker(settings: Settings) -> None:
    """Run workspace tools here for a daemon on another machine. The daemon starts this by ssh."""
    from kheish.offline import worker as offline

    offline.serve()
