"""`kheish status`: what the daemon does, and how it is."""

from __future__ import annotations

from kheish.cli.options import Settings, command, pass_settings
from kheish.cli.output import details, emit


@command()
@pass_settings
def status(settings: Settings) -> None:
    """What the daemon does, and how it is."""
    found = settings.client().status()
    emit(settings, found, ids=[], human=lambda: details(found))
