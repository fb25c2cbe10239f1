"""`kheish doctor`: look for what is wrong with this machine and this state root."""

from __future__ import annotations

from kheish.cli.options import Settings, command, pass_settings


@command()
@pass_settings
def doctor(settings: Settings) -> int:
    """Look for what is wrong with this machine and state root; needs no daemon."""
    from kheish.daemon import doctor as checks

    return checks.run(settings.root())
