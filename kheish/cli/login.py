"""`kheish login`, `kheish logout`: let a browser in as whoever runs this, and out again."""

from __future__ import annotations

import click

from kheish.cli.options import Settings, command, pass_settings
from kheish.cli.output import emit, say, when


@command()
@click.option("--open", "is_opened", is_flag=True, help="Open the link in a browser of this machine.")
@pass_settings
def login(settings: Settings, is_opened: bool) -> None:
    """Print a link that logs one browser in, once, within a minute; the login is yours, and ends with your token."""
    made = settings.client().login.link()
    if is_opened:
        import webbrowser

        is_opened = webbrowser.open(made["url"])

    def human() -> None:
        say(made["url"])
        said = "It is open in a browser" if is_opened else "Open it in a browser"
        click.echo(f"{said}; it counts once, until {when(made['expires_at'])}.", err=True)

    emit(settings, made, ids=[made["url"]], human=human)


@command()
@pass_settings
def logout(settings: Settings) -> None:
    """Log all browsers out that were let in by your token."""
    settings.client().login.out()
    emit(settings, {"logged_out": True}, ids=[], human=lambda: say("Logged out everywhere."))
