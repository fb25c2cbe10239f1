"""`kheish acp`: serve an editor by the Agent Client Protocol."""

from __future__ import annotations

from pathlib import Path

import click

from kheish.cli.ids import Id
from kheish.cli.options import Settings, command, pass_settings


@command()
@click.option("--session", type=Id("session", makes=True), help="The session of the first conversation.")
@click.option("--workspace", metavar="DIR", help="The working folder of new sessions; without it, the editor's.")
@pass_settings
def acp(settings: Settings, session: str | None, workspace: str | None) -> None:
    """Serve an editor on stdin and stdout by the Agent Client Protocol."""
    from kheish.protocols.acp import stdio

    folder = str(Path(workspace).expanduser().absolute()) if workspace else None
    stdio.serve(settings.url, settings.state_root, session, folder)
