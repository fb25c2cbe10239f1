"""`kheish serve`: the daemon, in the foreground."""

from __future__ import annotations

from pathlib import Path

import click

from kheish.cli.options import Settings, command, pass_settings


@command()
@click.option("--bind", metavar="HOST:PORT", help="Where to listen (127.0.0.1:4000; port 0: a free one).")
@click.option("--workspace", metavar="DIR", type=click.Path(path_type=Path), help="Where tools act.")
@click.option("--allow-bypass", is_flag=True, help="Allow sessions in permission mode bypass.")
@pass_settings
def serve(settings: Settings, bind: str | None, workspace: Path | None, allow_bypass: bool) -> int:
    """Serve a state root in the foreground; prints one line when it is ready."""
    from kheish.daemon import serve as daemon

    return daemon.run(settings.root(), bind=bind, workspace=workspace, allow_bypass=allow_bypass)
