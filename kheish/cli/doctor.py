"""`kheish doctor`: look for what is wrong with this machine and this state root."""

from __future__ import annotations

import click

from kheish.cli.options import Settings, command, pass_settings


@command()
@click.option("--scan-history", is_flag=True, help="Instead, look for values of secrets in all files and git objects.")
@pass_settings
def doctor(settings: Settings, scan_history: bool) -> int:
    """Look for what is wrong with this machine and state root; needs no daemon."""
    from kheish.offline import doctor as checks

    return checks.run(settings.root(), scan=scan_history)
