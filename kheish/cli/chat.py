"""`kheish chat [SESSION]`: a conversation with an agent on the terminal, with one run per message."""

from __future__ import annotations

import readline
from typing import TYPE_CHECKING, Any

import click

from kheish.cli import asking
from kheish.cli.follow import follow
from kheish.cli.followed import DETACHED
from kheish.cli.ids import Id, Name
from kheish.cli.options import Settings, command, pass_settings
from kheish.cli.output import paint, plain, report, say
from kheish.cli.run import MODES, ensure
from kheish.cli.steering import SteeredRun, Steering
from kheish.errors import KheishError

if TYPE_CHECKING:
    from kheish.client import Kheish, Run


@command()
@click.argument("session", required=False, type=Id("session", makes=True))
@click.option("--route", type=Name("routes"), help="The route to a model.")
@click.option("--workspace", metavar="DIR", help="The working folder of a new session.")
@click.option("--permission-mode", type=click.Choice(MODES), help="The permission mode of a new session.")
@pass_settings
def chat(
    settings: Settings, session: str | None, route: str | None, workspace: str | None, permission_mode: str | None
) -> int:
    """Talk with the agent of SESSION (default: a new session). An empty line or Ctrl-D leaves the chat.

    A message that is sent during a run reaches the agent at its next turn. Esc or Ctrl-C stops the run, a second Ctrl-C
    leaves the chat. Approvals and questions are asked in place, and no earlier input answers them. /help lists the
    commands.

    With NO_COLOR, KHEISH_PLAIN=1 or TERM=dumb, the chat is plain lines, and Ctrl-C detaches from a run, which
    continues.
    """
    if not asking.can_ask() or settings.output != "table" or settings.quiet:
        raise click.UsageError("A chat needs a terminal; otherwise use: kheish run SESSION TEXT --follow.")
    client = settings.client()
    session = ensure(client, session, workspace, permission_mode, route)
    chosen: Any = {"route": route} if route else {}
    if asking.can_draw():
        from kheish.cli.terminal import chatting

        return chatting.chat(client, session, chosen)
    say(paint(f"Session {session}; an empty line exits, and `kheish chat {session}` resumes it.", dim=True))
    active = client.sessions.get(session)["active_run_id"]
    unsent = _follow(settings, client, client.runs.get(active)) if active else ""
    while unsent is not None and (text := _read_message(unsent)):
        try:
            unsent, run = "", client.runs.start(session, text, **chosen)
        except KheishError as error:  # keep the text: the next prompt starts with it
            unsent = text
            report(error, settings)
        else:
            unsent = _follow(settings, client, run)
    return 0


def _follow(settings: Settings, client: Kheish, run: Run) -> str | None:
    """Follow a run, and the runs that messages got which came too late for it. Return a line that was not sent (empty:
    none); None if the user leaves."""
    while True:
        steering = Steering(client, run.run_id)
        with steering:
            code = follow(settings, client, SteeredRun(run, steering), prompting=steering.paused)
        later = None if code == DETACHED else steering.run_after()
        if later is None or steering.unsent:
            return None if steering.leaves else steering.unsent
        run = client.runs.get(later)


def _read_message(unsent: str) -> str:
    """Return the user's input. The prompt starts with `unsent`, so that the user can edit or resend it."""
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
