"""`kheish login`, `kheish logout`: log browsers in as the calling user, and out."""

from __future__ import annotations

import click

from kheish.cli.options import Settings, command, pass_settings
from kheish.cli.output import emit, say, when


@command()
@click.option("--open", "is_opened", is_flag=True, help="Open the link in a browser on this machine.")
@pass_settings
def login(settings: Settings, is_opened: bool) -> None:
    """Print a single-use link, valid for a minute, that logs a browser in as you; the login ends with your token."""
    made = settings.client().login.link()
    if is_opened:
        import webbrowser

        is_opened = webbrowser.open(made["url"])

    def human() -> None:
        say(made["url"])
        hint = "It is open in a browser" if is_opened else "Open it in a browser"
        click.echo(f"{hint}; it is valid once, until {when(made['expires_at'])}.", err=True)

    emit(settings, made, ids=[made["url"]], human=human)


@command()
@pass_settings
def logout(settings: Settings) -> None:
    """Log out all browsers that were logged in with your token."""
    settings.client().login.out()
    emit(settings, {"logged_out": True}, ids=[], human=lambda: say("Logged out of all browsers."))
