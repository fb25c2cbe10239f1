"""`kheish logs`: the newest lines of the daemon's log, for users without access to its stderr."""

from __future__ import annotations

import click

from kheish.cli.options import Settings, command, page_options, pass_settings
from kheish.cli.output import emit, plain, say, when

LEVELS = ["debug", "info", "warning", "error", "critical"]


@command()
@click.option("--level", type=click.Choice(LEVELS), help="Only lines of this level or above.")
@page_options
@pass_settings
def logs(settings: Settings, level: str | None, limit: int | None, cursor: str | None) -> None:
    """Show the newest log lines of the running daemon, oldest first."""
    page = settings.client().logs(level=level, limit=limit, cursor=cursor)

    def human() -> None:
        if not page["items"]:
            click.echo("The daemon has logged nothing since its start.", err=True)
        for line in reversed(page["items"]):
            say(plain(f"{when(line['at'])} {line['level'].upper()} {line['name']}: {line['text']}"))
        if page["next_cursor"]:
            click.echo(f"Older lines: --cursor {page['next_cursor']}", err=True)

    emit(settings, page, ids=[str(line["number"]) for line in page["items"]], human=human)
