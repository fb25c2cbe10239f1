"""`kheish sessions`: list, show, create, end, interrupt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kheish.cli.options import Settings, group, page_options, pass_settings
from kheish.cli.output import Column, details, emit, listing, say, when
from kheish.cli.run import MODES

COLUMNS: list[Column] = [
    ("SESSION", "session_id"),
    ("STATUS", "status"),
    ("QUEUED", "queued_runs"),
    ("CREATED", lambda session: when(session["created_at"])),
    ("WORKSPACE", "workspace"),
    ("TITLE", "title"),
]


@group()
def sessions() -> None:
    """List, show, create, end and interrupt sessions."""


@sessions.command("list")
@click.option("--status", type=click.Choice(["idle", "busy", "ended"]), help="Only those with this status.")
@page_options
@pass_settings
def list_(settings: Settings, status: str | None, limit: int | None, cursor: str | None) -> None:
    """List sessions, newest first."""
    page = settings.client().sessions.list(status=status, limit=limit, cursor=cursor)
    listing(settings, page, "session_id", COLUMNS, 'There are no sessions; `kheish run SESSION "task"` makes one.')


@sessions.command()
@click.argument("session")
@pass_settings
def show(settings: Settings, session: str) -> None:
    """Show one session."""
    _show(settings, settings.client().sessions.get(session))


@sessions.command()
@click.argument("session", required=False)
@click.option("--title", help="What people see.")
@click.option("--workspace", metavar="DIR", help="The folder that the agent works in.")
@click.option("--route", help="The route to a model.")
@click.option("--persona", help="The persona, kept as it is now.")
@click.option("--permission-mode", type=click.Choice(MODES), help="What is decided where no rule matches.")
@click.option("--while-waiting", type=click.Choice(["hold", "park"]), help="park: later runs go ahead meanwhile.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label; may be repeated.")
@pass_settings
def create(settings: Settings, /, session: str | None, labels: tuple[str, ...], **given: str | None) -> None:
    """Make a session, with a name of its own where none is given."""
    wanted: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if workspace := given["workspace"]:
        wanted["workspace"] = str(Path(workspace).expanduser().absolute())
    if labels:
        wanted["labels"] = dict(_label(one) for one in labels)
    _show(settings, settings.client().sessions.create(session, **wanted))


@sessions.command()
@click.argument("session")
@click.option("--force", is_flag=True, help="Interrupt what runs, instead of refusing.")
@pass_settings
def end(settings: Settings, session: str, force: bool) -> None:
    """End a session: it takes no new input."""
    ended = settings.client().sessions.end(session, force=force)
    emit(settings, ended, ids=[session], human=lambda: say(f"{session} is {ended['status']}."))


@sessions.command()
@click.argument("session")
@pass_settings
def interrupt(settings: Settings, session: str) -> None:
    """Stop the session's active run at the next safe point."""
    left = settings.client().sessions.interrupt(session)
    emit(settings, left, ids=[session], human=lambda: say(f"{session} is {left['status']}."))


def _show(settings: Settings, session: Any) -> None:
    emit(settings, session, ids=[session["session_id"]], human=lambda: details(session))


def _label(text: str) -> tuple[str, str]:
    key, found, value = text.partition("=")
    if not found:
        raise click.UsageError(f"--label {text!r} is not KEY=VALUE.")
    return key, value
