"""`kheish chat [SESSION]`: a conversation with an agent on the terminal, a run for each thing that is said."""

from __future__ import annotations

import readline
from typing import Any

import click

from kheish.cli import asking, following
from kheish.cli.ids import Id
from kheish.cli.options import Settings, command, pass_settings
from kheish.cli.output import paint, plain, report, say
from kheish.cli.run import MODES, ensure
from kheish.errors import KheishError


@command()
@click.argument("session", required=False, type=Id("session", makes=True))
@click.option("--route", type=Id("route"), help="The route to a model.")
@click.option("--workspace", metavar="DIR", help="The folder a new session works in.")
@click.option("--permission-mode", type=click.Choice(MODES), help="What a new session may do without asking.")
@pass_settings
def chat(
    settings: Settings, session: str | None, route: str | None, workspace: str | None, permission_mode: str | None
) -> int:
    """Talk with the agent of SESSION (a new one where none is named); an empty line or Ctrl-D leaves.

    What the agent asks is asked in place. Ctrl-C leaves a run alone, which goes on.
    """
    if not asking.can_ask() or settings.output != "table" or settings.quiet:
        raise click.UsageError("A chat is for a terminal; elsewhere: kheish run SESSION TEXT --follow.")
    client = settings.client()
    session = ensure(client, session, workspace, permission_mode, route)
    say(paint(f"Session {session}; an empty line leaves it, and `kheish chat {session}` goes on.", dim=True))
    active = client.sessions.get(session)["active_run_id"]
    if active:
        following.follow(settings, client, client.runs.get(active))
    chosen: Any = {"route": route} if route else {}
    unsent = ""
    while text := _read_message(unsent):
        try:
            unsent, run = "", client.runs.start(session, text, **chosen)
        except KheishError as error:  # what was typed must not be lost: it stands at the prompt again
            unsent = text
            report(error, settings)
        else:
            following.follow(settings, client, run)
    return 0


def _read_message(unsent: str) -> str:
    """Return what the user types; `unsent` stands there already, to be sent again or changed."""
    readline.set_startup_hook((lambda: readline.insert_text(unsent)) if unsent else None)
    try:
        return str(click.prompt(paint(">", bold=True), default="", show_default=False, prompt_suffix=" ")).strip()
    except click.Abort:
        say("")
        if unsent:
            say(plain(f"Not sent: {unsent}"))
        return ""
    finally:
        readline.set_startup_hook(None)
