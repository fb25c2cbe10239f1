"""`kheish doctor`: check this machine and this state root for problems."""

from __future__ import annotations

import click

from kheish.cli.options import Settings, command, pass_settings


@command()
@click.option("--scan-history", is_flag=True, help="Instead, search all files and git objects for values of secrets.")
@pass_settings
def doctor(settings: Settings, scan_history: bool) -> int:
    """Check this machine and state root for problems; needs no daemon."""
    from kheish.offline.doctor import doctor as checks

    return checks.run(settings.root(), scan=scan_history)
