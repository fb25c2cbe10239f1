"""`kheish config show`: the settings in force."""

from __future__ import annotations

from kheish.cli.options import Settings, group, pass_settings
from kheish.cli.output import as_yaml, emit, plain, say


@group()
def config() -> None:
    """The settings in force."""


@config.command()
@pass_settings
def show(settings: Settings) -> None:
    """Show the settings in force: kheish.yaml, the environment and the defaults."""
    found = settings.client().config()
    emit(settings, found, ids=[], human=lambda: say(plain(as_yaml(found))))
