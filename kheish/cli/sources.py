"""`kheish sources`: manage sources of observations; rotate and revoke their upload tokens."""

from __future__ import annotations

import click

from kheish.cli.definitions import commands
from kheish.cli.options import Settings, pass_settings
from kheish.cli.output import emit, say

sources = commands("sources", "source", "Manage sources of observations; rotate and revoke their upload tokens.")


@sources.command("rotate-token")
@click.argument("name")
@click.option("--grace", metavar="TIME", help="The time for which the token before it is still valid (1h).")
@pass_settings
def rotate_token(settings: Settings, name: str, grace: str | None) -> None:
    """Create the upload token of a source, and print it; it is not shown again."""
    made = settings.client().sources.rotate_token(name, grace=grace)

    def human() -> None:
        say(made["token"])
        if made["previous_until"] is not None:
            click.echo(f"The token before it is valid until {made['previous_until']}.", err=True)

    emit(settings, made, ids=[made["token"]], human=human)


@sources.command("revoke-token")
@click.argument("name")
@pass_settings
def revoke_token(settings: Settings, name: str) -> None:
    """Revoke the upload tokens of a source at once."""
    settings.client().sources.revoke_token(name)
    emit(settings, {}, ids=[name], human=lambda: say(f"The tokens of {name} are revoked."))
