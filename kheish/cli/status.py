"""`kheish status`: show the activity and health of the daemon."""

from __future__ import annotations

from kheish.cli.options import Settings, command, pass_settings
from kheish.cli.output import details, emit


@command()
@pass_settings
def status(settings: Settings) -> None:
    """Show the activity and health of the daemon."""
    found = settings.client().status()
    emit(settings, found, ids=[], human=lambda: details(found))
