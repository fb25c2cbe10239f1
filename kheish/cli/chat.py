"""`kheish chat [SESSION]`: a conversation with an agent on the terminal, a run for each thing that is said."""

from __future__ import annotations

from typing import Any

import click

from kheish.cli import asking, following
from kheish.cli.options import Settings, command, pass_settings
from kheish.cli.output import paint, say
from kheish.cli.run import MODES, ensure


@command()
@click.argument("session", required=False)
@click.option("--route", help="The route to a model.")
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
    session = ensure(client, session, workspace, permission_mode)
    say(paint(f"Session {session}; an empty line leaves it, and `kheish chat {session}` goes on.", dim=True))
    active = client.sessions.get(session)["active_run_id"]
    if active:
        following.follow(settings, client, client.runs.get(active))
    chosen: Any = {"route": route} if route else {}
    while text := _said():
        following.follow(settings, client, client.runs.start(session, text, **chosen))
    return 0


def _said() -> str:
    try:
        return str(click.prompt(paint(">", bold=True), default="", show_default=False, prompt_suffix=" ")).strip()
    except click.Abort:
        say("")
        return ""
